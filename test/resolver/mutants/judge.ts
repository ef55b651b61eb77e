/**
 * What must hold between a packet, whatever became of it, and the answer to it (docs/spec/resolver.md, The life of a query). It reads
 * the packet with a reader of its own, which knows nothing of the one that is tested.
 */
import { readReply } from '../conformance/packet.ts'
import type { Transport } from '../conformance/run.ts'

const HEADER = 12
const OPT = 41
const COOKIE = 10
const FORMERR = 1
const NOTIMP = 4
const BADVERS = 16

export type Kind = 'silence' | 'header' | 'message'

/** What a good reader sees in a packet. */
export interface Seen {
  /** What may come back: nothing, a header with `rcode`, or the question with whatever there is to say. */
  kind: Kind
  rcode: number
  /** Where the question ends. */
  end: number
  /** Of the OPT, when there is one. */
  payload: number | undefined
  version: number
}

const silence: Seen = { kind: 'silence', rcode: 0, end: 0, payload: undefined, version: 0 }
const header = (rcode: number): Seen => ({ kind: 'header', rcode, end: 0, payload: undefined, version: 0 })

export function see(packet: Buffer): Seen {
  if (packet.length < HEADER || (packet[2] as number) >= 0x80) return silence
  if (((packet[2] as number) >> 3) % 16 !== 0) return header(NOTIMP)
  return seeWhole(packet) ?? header(FORMERR)
}

/** Undefined when it is malformed. */
function seeWhole(packet: Buffer): Seen | undefined {
  const [questions, answers, authority, additional] = [4, 6, 8, 10].map((at) => packet.readUInt16BE(at)) as [
    number,
    number,
    number,
    number,
  ]
  if (questions > 1 || answers > 0 || authority > 0) return undefined
  const seen: Seen = { kind: 'message', rcode: 0, end: HEADER, payload: undefined, version: 0 }
  if (questions === 1) {
    const name = nameEnd(packet, HEADER)
    if (name === undefined || name.pointer || name.end - HEADER > 255 || name.end + 4 > packet.length) return undefined
    seen.end = name.end + 4
  }
  let at = seen.end
  let cookie = false
  for (let i = 0; i < additional; i++) {
    const name = nameEnd(packet, at)
    if (name === undefined || name.end + 10 > packet.length) return undefined
    const data = name.end + 10
    const end = data + packet.readUInt16BE(data - 2)
    if (end > packet.length) return undefined
    if (packet.readUInt16BE(name.end) === OPT) {
      const options = optionsIn(packet, data, end)
      if (seen.payload !== undefined || name.end !== at + 1 || options === undefined) return undefined
      seen.payload = packet.readUInt16BE(name.end + 2)
      seen.version = packet[name.end + 5] as number
      const first = options.find(([code]) => code === COOKIE)
      // RFC 7873 section 5.2.2.
      if (first && first[1] !== 8 && (first[1] < 16 || first[1] > 40)) return undefined
      cookie = first !== undefined
    }
    at = end
  }
  return at === packet.length && (questions === 1 || cookie) ? seen : undefined
}

function nameEnd(packet: Buffer, at: number): { end: number; pointer: boolean } | undefined {
  while (at < packet.length) {
    const length = packet[at] as number
    if (length === 0) return { end: at + 1, pointer: false }
    if (length >= 0xc0) return { end: at + 2, pointer: true }
    if (length > 63) return undefined
    at += length + 1
  }
  return undefined
}

/** Code and length of each. */
function optionsIn(packet: Buffer, at: number, end: number): [number, number][] | undefined {
  const options: [number, number][] = []
  while (at < end) {
    if (at + 4 > end) return undefined
    const length = packet.readUInt16BE(at + 2)
    options.push([packet.readUInt16BE(at), length])
    at += 4 + length
  }
  return at === end ? options : undefined
}

/** The rcode of `response`, the answer to `packet`; or, in words, why it cannot be that. */
export function judged(packet: Buffer, seen: Seen, transport: Transport, response: Buffer): number | string {
  if (seen.kind === 'silence') return 'it deserved no answer'
  if (response.length < HEADER) return 'the answer is no message'
  if (response.readUInt16BE(0) !== packet.readUInt16BE(0)) return 'the id is not echoed'
  const [asked, flags] = [packet[2] as number, response[2] as number]
  if (flags < 0x80 || (flags & 0x79) !== (asked & 0x79)) return 'QR, opcode or RD are wrong'
  if (((response[3] as number) & 0x70) !== ((packet[3] as number) & 0x10)) return 'Z, AD or CD are wrong'
  if (seen.kind === 'header') return judgedHeader(seen, response)
  if (response.length < seen.end || response.compare(packet, HEADER, seen.end, HEADER, seen.end) !== 0) {
    return 'the question is not echoed byte for byte'
  }
  if (response.readUInt16BE(4) !== packet.readUInt16BE(4)) return 'the number of questions is not echoed'
  const limit = Math.min(Math.max(seen.payload ?? 0, 512), 1232)
  if (transport === 'udp' && response.length > limit) return `${response.length} bytes over UDP, not ${limit}`
  try {
    const { opt, rcode } = readReply(response)
    if ((opt === undefined) !== (seen.payload === undefined)) return 'an OPT for none, or none for one'
    if (opt && (opt.version !== 0 || (opt.flags & 0x7fff) !== 0)) return 'the OPT is odd'
    if ((rcode === BADVERS) !== seen.version > 0) return 'BADVERS is for another version, and for nothing else'
    return rcode
  } catch (error) {
    return `the answer cannot be read: ${String(error)}`
  }
}

function judgedHeader({ rcode }: Seen, response: Buffer): number | string {
  if (response.length !== HEADER || response.subarray(4).some((byte) => byte !== 0)) return 'more than a header'
  return ((response[3] as number) & 0x0f) === rcode ? rcode : `a header, but not with rcode ${rcode}`
}
