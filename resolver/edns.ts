/** What stands in an OPT record (RFC 6891): read from a query, written to a response. */
import { TYPE } from '../node/core/rdata.ts'

/** Option codes: RFC 7873, 7828, 8914. */
export const OPTION = { COOKIE: 10, KEEPALIVE: 11, EDE: 15 } as const

/** RFC 8914 section 4. */
export const EDE = {
  OTHER: 0,
  STALE: 3,
  BLOCKED: 15,
  STALE_NXDOMAIN: 19,
  NOT_AUTHORITATIVE: 20,
  NOT_SUPPORTED: 21,
  NO_AUTHORITY: 22,
  NETWORK: 23,
} as const

/** An extended DNS error: what a person reads in dig's output. */
export interface ExtendedError {
  code: number
  text: string
}

export interface Edns {
  payload: number
  version: number
  dnssecOk: boolean
  /** The data of the first cookie option: 8 bytes of the client, and maybe 8 to 32 of a server. */
  cookie?: Buffer
  /** Bytes in the keepalive option; what a client sends has none. */
  keepalive?: number
}

/** An extended error explains, it does not lecture. Bytes. */
const MAX_EDE_TEXT = 120
/** The fixed part of an OPT record, and the head of an option. Bytes. */
export const OPT_BYTES = 11
const OPTION_HEAD = 4

/** The OPT whose owner (the root) ends at `at` and whose data ends at `end`. Undefined when it is malformed. */
export function readEdns(packet: Buffer, at: number, end: number): Edns | undefined {
  const edns: Edns = {
    payload: packet.readUInt16BE(at + 2),
    version: packet[at + 5] as number,
    dnssecOk: ((packet[at + 6] as number) & 0x80) !== 0,
  }
  let next = at + 10
  while (next + OPTION_HEAD <= end) {
    const code = packet.readUInt16BE(next)
    const start = next + OPTION_HEAD
    next = start + packet.readUInt16BE(next + 2)
    if (next > end) return undefined
    if (code === OPTION.COOKIE && edns.cookie === undefined) {
      const length = next - start
      // RFC 7873 section 5.2.2.
      if (length !== 8 && (length < 16 || length > 40)) return undefined
      edns.cookie = packet.subarray(start, next)
    } else if (code === OPTION.KEEPALIVE) edns.keepalive = next - start
  }
  return next === end ? edns : undefined
}

export function option(code: number, data: Uint8Array): Buffer {
  const out = Buffer.alloc(OPTION_HEAD + data.length)
  out.writeUInt16BE(code, 0)
  out.writeUInt16BE(data.length, 2)
  out.set(data, OPTION_HEAD)
  return out
}

/** The extended error, its text cut to what belongs in a datagram. */
export function extendedError(code: number, text: string): ExtendedError {
  return {
    code,
    text: Buffer.from(text)
      .subarray(0, MAX_EDE_TEXT)
      .toString('utf8')
      .replace(/\uFFFD+$/, ''),
  }
}

export function edeBytes(ede: ExtendedError | undefined): number {
  return ede ? OPTION_HEAD + 2 + Buffer.byteLength(ede.text) : 0
}

/** Writes an OPT up to the end of `out`: `options` as they are, then the extended error. DO is echoed (RFC 3225). */
export function writeOpt(
  out: Buffer,
  at: number,
  head: { payload: number; extendedRcode: number; dnssecOk: boolean },
  options: Buffer,
  ede: ExtendedError | undefined,
): void {
  out.fill(0, at, at + OPT_BYTES)
  out.writeUInt16BE(TYPE.OPT, at + 1)
  out.writeUInt16BE(head.payload, at + 3)
  out[at + 5] = head.extendedRcode
  if (head.dnssecOk) out[at + 7] = 0x80
  out.writeUInt16BE(out.length - at - OPT_BYTES, at + 9)
  out.set(options, at + OPT_BYTES)
  if (!ede) return
  const start = at + OPT_BYTES + options.length
  out.writeUInt16BE(OPTION.EDE, start)
  out.writeUInt16BE(out.length - start - OPTION_HEAD, start + 2)
  out.writeUInt16BE(ede.code, start + 4)
  out.write(ede.text, start + 6)
}
