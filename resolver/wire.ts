/**
 * Reads what a query asks, and no more: header, question, OPT (RFC 1035 section 4.1, RFC 6891). Names stay bytes, so that
 * the question is echoed exactly as it came, in the asker's case (which some use as a nonce).
 */
import { HEADER_BYTES, MAX_NAME_BYTES } from '../node/core/dns.ts'
import { TYPE } from '../node/core/rdata.ts'
import { EDE, type Edns, type ExtendedError, edeBytes, OPT_BYTES, readEdns, writeOpt } from './edns.ts'

export { EDE, type ExtendedError, extendedError } from './edns.ts'

/** RFC 1035 section 4.1.1; those above 15 need an OPT (RFC 6891 section 6.1.3, RFC 7873 section 8). */
export const RCODE = {
  NOERROR: 0,
  FORMERR: 1,
  SERVFAIL: 2,
  NXDOMAIN: 3,
  NOTIMP: 4,
  REFUSED: 5,
  BADVERS: 16,
  BADCOOKIE: 23,
} as const

/** The third header byte. */
export const FLAG_QR = 0x80
export const FLAG_AA = 0x04
export const FLAG_TC = 0x02
const OPCODE_MASK = 0x78
const FLAG_RD = 0x01
/** The fourth. */
export const FLAG_RA = 0x80
const FLAG_CD = 0x10

const MIN_UDP_PAYLOAD = 512
/** What fits an IPv6 packet of the smallest MTU (DNS flag day 2020); a larger answer goes over TCP. */
const MAX_UDP_PAYLOAD = 1232
export const MAX_TCP_PAYLOAD = 65_535
const NO_OPTIONS: Buffer = Buffer.alloc(0)

export interface Query {
  packet: Buffer
  /** 32 bits, the same for all spellings of the name and one type (FNV-1a). */
  hash: number
  /** Where the question ends; right after the header for a query that only wants a cookie (RFC 7873 section 5.4). */
  end: number
  /** Both 0 without a question. */
  type: number
  class: number
  /** Present when the query holds an OPT. */
  edns: Edns | undefined
}

/** A query that cannot be read: dropped without an answer, or answered with `rcode`. */
export type Unreadable = { drop: true } | { drop: false; rcode: number }

const DROP: Unreadable = { drop: true }
const FORMERR: Unreadable = { drop: false, rcode: RCODE.FORMERR }
const NOTIMP: Unreadable = { drop: false, rcode: RCODE.NOTIMP }

const FNV_OFFSET = 0x811c9dc5
const FNV_PRIME = 0x01000193

/** ASCII only (RFC 4343). Label lengths stay as they are, being less than any letter. */
function lower(byte: number): number {
  return byte >= 0x41 && byte <= 0x5a ? byte + 0x20 : byte
}

/**
 * Responses and fragments of a header are dropped, so that two servers never answer each other; another opcode is NOTIMP;
 * anything but one well-formed question, at most one OPT and whole records is FORMERR.
 */
export function readQuery(packet: Buffer): Query | Unreadable {
  if (packet.length < HEADER_BYTES) return DROP
  const flags = packet[2] as number
  if (flags & FLAG_QR) return DROP
  if (flags & OPCODE_MASK) return NOTIMP
  const questions = packet.readUInt16BE(4)
  // RFC 9619 section 4.
  if (questions > 1 || packet.readUInt32BE(6) !== 0) return FORMERR
  if (questions === 0) {
    const query: Query = { packet, end: HEADER_BYTES, hash: 0, type: 0, class: 0, edns: undefined }
    return readAdditional(query, packet) && query.edns?.cookie ? query : FORMERR
  }

  let at = HEADER_BYTES
  let hash = FNV_OFFSET
  for (;;) {
    const length = packet[at]
    // No pointer can be right here: nothing stands before the first name.
    if (length === undefined || length > 63) return FORMERR
    const end = at + length + 1
    if (end >= packet.length || end - HEADER_BYTES > MAX_NAME_BYTES) return FORMERR
    while (at < end) hash = Math.imul(hash ^ lower(packet[at++] as number), FNV_PRIME)
    if (length === 0) break
  }
  if (at + 4 > packet.length) return FORMERR
  const type = packet.readUInt16BE(at)
  hash = Math.imul(hash ^ type, FNV_PRIME)
  const query: Query = { packet, end: at + 4, hash, type, class: packet.readUInt16BE(at + 2), edns: undefined }
  return readAdditional(query, packet) ? query : FORMERR
}

/** The question of `query` in lower case; type and class as they are. */
export function canonicalQuestion(query: Query): Buffer {
  const question = Buffer.from(query.packet.subarray(HEADER_BYTES, query.end))
  for (let i = 0; i < question.length - 4; i++) question[i] = lower(question[i] as number)
  return question
}

/** Whether `query` asks what stands in `wire`, a message with a canonical question. */
export function asksFor(query: Query, wire: Buffer): boolean {
  const { packet, end } = query
  if (wire.length < end) return false
  for (let at = end - 1; at >= end - 4; at--) if (packet[at] !== wire[at]) return false
  for (let at = end - 5; at >= HEADER_BYTES; at--) if (lower(packet[at] as number) !== wire[at]) return false
  return true
}

/** Walks the additional records, which must fill the packet, and takes the OPT out of them. */
function readAdditional(query: Query, packet: Buffer): boolean {
  let at = query.end
  for (let left = packet.readUInt16BE(10); left > 0; left--) {
    const owner = at
    while (at < packet.length && (packet[at] as number) > 0 && (packet[at] as number) < 64)
      at += 1 + (packet[at] as number)
    const last = packet[at] ?? 0
    if (last > 0 && last < 0xc0) return false
    at += last === 0 ? 1 : 2
    const data = at + 10
    if (data > packet.length) return false
    const end = data + packet.readUInt16BE(at + 8)
    if (end > packet.length) return false
    if (packet.readUInt16BE(at) === TYPE.OPT) {
      if (query.edns || packet[owner] !== 0) return false
      query.edns = readEdns(packet, at, end)
      if (!query.edns) return false
    }
    at = end
  }
  return at === packet.length
}

/** The labels of the asked name, leftmost first; lower-case, one char per byte. */
export function labelsOf(query: Query): string[] {
  const question = canonicalQuestion(query)
  const labels: string[] = []
  for (let at = 0, length = question[0] as number; length > 0; length = question[at] as number) {
    labels.push(question.toString('latin1', at + 1, at + 1 + length))
    at += 1 + length
  }
  return labels
}

/** How many bytes an answer over UDP may have. */
export function udpLimit(query: Query): number {
  return Math.min(Math.max(query.edns?.payload ?? 0, MIN_UDP_PAYLOAD), MAX_UDP_PAYLOAD)
}

/** An answer as it is kept: everything but what belongs to one query (id, case, RD, CD, OPT). */
export interface Template {
  /** Header, canonical question and records. */
  wire: Buffer
  /** Where each answer record ends, for a truncated answer; Infinity for one that more of its RRset follow. */
  ends: number[]
  ede: ExtendedError | undefined
  /** Offsets of the TTL fields in `wire`. */
  ttls: number[]
}

export function rcodeOf({ wire }: Template): number {
  return (wire[3] as number) & 0x0f
}

/** Whether it is past its time (RFC 8767 section 5). */
export function isStale({ ede }: Template): boolean {
  return ede?.code === EDE.STALE || ede?.code === EDE.STALE_NXDOMAIN
}

/** To be kept: with memory of its own. A small Buffer is else a piece of 64 KiB (`Buffer.poolSize`), and keeps all of that. */
export function owned(template: Template): Template {
  const wire = Buffer.alloc(template.wire.length)
  wire.set(template.wire)
  return { ...template, wire }
}

/**
 * The response to `query` made from `template`, in at most `limit` bytes: what does not fit is left out by whole RRsets
 * and TC set (RFC 2181 section 9); the extended error goes first, since nobody needs it to resolve a name. `options`
 * go into the OPT, for who sent one. It stands at the start of `room`, which holds `limit` bytes, where there is one.
 */
export function fill(query: Query, template: Template, limit: number, options = NO_OPTIONS, room?: Buffer): Buffer {
  const { wire, ends } = template
  const bare = query.edns ? OPT_BYTES + options.length : 0
  const ede = query.edns && wire.length + bare + edeBytes(template.ede) <= limit ? template.ede : undefined
  const opt = bare + edeBytes(ede)
  const whole = wire.length + opt <= limit
  const kept = whole ? ends.length : ends.findLastIndex((end) => end + opt <= limit) + 1
  const length = whole ? wire.length : kept > 0 ? (ends[kept - 1] as number) : query.end
  const out = room ? room.subarray(0, length + opt) : Buffer.allocUnsafe(length + opt)
  out.set(whole ? wire : wire.subarray(0, length))
  for (let at = HEADER_BYTES; at < query.end; at++) out[at] = query.packet[at] as number
  echo(query.packet, out)
  if (!whole) {
    out[2] = (out[2] as number) | FLAG_TC
    out.writeUInt16BE(kept, 6)
    out.writeUInt16BE(0, 8)
  }
  return withOpt(query, out, length, 0, options, ede)
}

/** RFC 6891 section 6.1.2. */
function withOpt(
  query: Query,
  out: Buffer,
  at: number,
  extendedRcode: number,
  options: Buffer,
  ede: ExtendedError | undefined,
): Buffer {
  if (!query.edns) return out
  const { dnssecOk } = query.edns
  writeOpt(out, at, { payload: MAX_UDP_PAYLOAD, extendedRcode, dnssecOk }, options, ede)
  out.writeUInt16BE(1, 10)
  return out
}

/** Id, RD and CD come from the asker. */
function echo(packet: Buffer, out: Buffer): void {
  out[0] = packet[0] as number
  out[1] = packet[1] as number
  out[2] = (out[2] as number) | ((packet[2] as number) & FLAG_RD)
  out[3] = (out[3] as number) | ((packet[3] as number) & FLAG_CD)
}

/** An answer without records: an error, with the question echoed. */
export function errorAnswer(query: Query, rcode: number, ede?: ExtendedError, options = NO_OPTIONS): Buffer {
  const out = Buffer.alloc(query.end + (query.edns ? OPT_BYTES + options.length + edeBytes(ede) : 0))
  query.packet.copy(out, 0, 0, query.end)
  out.fill(0, 2, 4).fill(0, 6, HEADER_BYTES)
  out[2] = FLAG_QR
  out[3] = (rcode & 0x0f) | (rcode === RCODE.REFUSED ? 0 : FLAG_RA)
  echo(query.packet, out)
  return withOpt(query, out, query.end, rcode >> 4, options, ede)
}

/** The answer to a query that could not be read: a header, with the id and opcode that it had. */
export function headerAnswer(packet: Buffer, rcode: number): Buffer {
  const out = Buffer.alloc(HEADER_BYTES)
  out[2] = FLAG_QR | ((packet[2] as number) & OPCODE_MASK)
  out[3] = rcode
  echo(packet, out)
  return out
}
