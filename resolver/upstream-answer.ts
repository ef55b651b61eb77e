/**
 * What another resolver said, made into an answer of ours: its records byte for byte, without what was between it and us (the
 * OPT, the additional records), and how long it holds.
 */
import { DnsWriter, HEADER_BYTES, type Rr, rdataParts, readName, readRecords } from '../node/core/dns.ts'
import { P2pnsError } from '../node/core/errors.ts'
import { TYPE } from '../node/core/rdata.ts'
import { soa, UNKNOWN_NAME_TTL } from './answer.ts'
import { OPTION } from './edns.ts'
import { hidden, type MayBePrivate, showsPrivate, withoutPrivate } from './rebinding.ts'
import type { Question } from './upstream.ts'
import { type ExtendedError, extendedError, FLAG_QR, FLAG_RA, RCODE, type Template } from './wire.ts'

export interface Received {
  rcode: number
  template: Template
  /** Seconds for which it may be repeated; 0: not at all. */
  lifetime: number
}

/** Seconds that anything, and that "there is none", is believed at most (RFC 8767 section 4, RFC 2308 section 5). */
const MAX_TTL = 86_400
const MAX_NEGATIVE_TTL = 3_600
/** Records with all their names written out, in bytes. */
const MAX_EXPANDED = 262_144

interface RecordAt {
  name: string
  at: number
  type: number
  /** Offset of the TTL; the data's length stands behind it. */
  ttlAt: number
  end: number
}

/** Throws `malformed` for what cannot be an answer of a resolver. `response` must hold the question. */
export function readResponse(question: Question, response: Buffer, mayBePrivate: MayBePrivate): Received {
  const { wire: asked } = question
  const flags = response[3] as number
  const counts = [response.readUInt16BE(6), response.readUInt16BE(8), response.readUInt16BE(10)] as const
  let at = HEADER_BYTES + asked.length
  const read = (count: number): RecordAt[] =>
    Array.from({ length: count }, () => {
      const record = recordAt(response, at)
      at = record.end
      return record
    })
  const answers = read(counts[0])
  const authority = read(counts[1])
  const kept = at
  const opt = optOf(response, read(counts[2]))
  const rcode = (flags & 0x0f) | (opt.extendedRcode << 4)
  const soa = authority.some(({ type }) => type === TYPE.SOA)
  const refers = rcode === RCODE.NOERROR && answers.length === 0 && !soa
  if (refers && question.recursion && (flags & FLAG_RA) === 0) throw new P2pnsError('malformed', 'It is no resolver')

  const type = asked.readUInt16BE(asked.length - 4)
  const found = answers.some((record) => record.type === type || type === TYPE.ANY)
  const wire = Buffer.concat([
    head(rcode, counts[0], counts[1]),
    asked,
    response.subarray(HEADER_BYTES + asked.length, kept),
  ])
  const { name } = readName(response, HEADER_BYTES)
  for (const record of answers) unmixOwner(wire, record, name, asked)
  const ttls = [...answers, ...authority].map((record) => limitTtl(wire, record, found))
  for (const record of [...answers, ...authority]) checkKept(wire, record)
  const known = rcode === RCODE.NOERROR || rcode === RCODE.NXDOMAIN
  const lifetime = known && (found || soa) ? Math.min(...ttls) : 0
  const template: Template = {
    wire,
    ttls: [...answers, ...authority].map(({ ttlAt }) => ttlAt),
    ends: answers.map((record, i) => (sameSet(record, answers[i + 1]) ? Infinity : record.end)),
    ede: opt.ede,
  }
  return shield(name, { rcode, template, lifetime }, answers, mayBePrivate)
}

/** An answer without records, made here. */
export function emptyAnswer(question: Question, rcode: number, ede: ExtendedError): Received {
  const wire = Buffer.concat([head(rcode, 0, 0), question.wire])
  return { rcode, template: { wire, ttls: [], ends: [], ede }, lifetime: 0 }
}

/** That there is no such name, said here; `question` is its own zone. */
export function noSuchName(question: Question, ede: ExtendedError): Received {
  const { name } = readName(question.wire, 0)
  const template = written(RCODE.NXDOMAIN, question.wire, [], [soa(name, 0n, UNKNOWN_NAME_TTL)])
  return { rcode: RCODE.NXDOMAIN, template: { ...template, ede }, lifetime: UNKNOWN_NAME_TTL }
}

/** RCODEs above 15 need an OPT that a template does not have; none of them is an answer. */
function head(rcode: number, answers: number, authority: number): Buffer {
  const out = Buffer.alloc(HEADER_BYTES)
  out[2] = FLAG_QR
  out[3] = FLAG_RA | (rcode > 0x0f ? RCODE.SERVFAIL : rcode)
  out.writeUInt16BE(1, 4)
  out.writeUInt16BE(answers, 6)
  out.writeUInt16BE(authority, 8)
  return out
}

function recordAt(message: Buffer, at: number): RecordAt {
  const { name, end: fixed } = readName(message, at)
  if (fixed + 10 > message.length) throw new P2pnsError('malformed', 'a DNS record runs past the end of its message')
  const end = fixed + 10 + message.readUInt16BE(fixed + 8)
  if (end > message.length) throw new P2pnsError('malformed', 'a DNS record runs past the end of its message')
  return { name, at, type: message.readUInt16BE(fixed), ttlAt: fixed + 4, end }
}

/**
 * What is handed on must still be readable as it is handed on, with other TTLs and without the rest; and our answer has an OPT of its own,
 * or none (RFC 6891 section 6.1.1).
 */
function checkKept(wire: Buffer, { type, at, ttlAt, end }: RecordAt): void {
  if (type === TYPE.OPT) throw new P2pnsError('malformed', 'an OPT stands among the answers')
  readName(wire, at)
  rdataParts(type, wire, ttlAt + 6, end)
}

/** The extended error and the upper bits of the RCODE (RFC 6891 section 6.1.3, RFC 8914). */
function optOf(message: Buffer, additional: RecordAt[]): { extendedRcode: number; ede: ExtendedError | undefined } {
  const opt = additional.find(({ type }) => type === TYPE.OPT)
  if (!opt) return { extendedRcode: 0, ede: undefined }
  let ede: ExtendedError | undefined
  for (let at = opt.ttlAt + 6; at + 4 <= opt.end; at += 4 + message.readUInt16BE(at + 2)) {
    const end = Math.min(at + 4 + message.readUInt16BE(at + 2), opt.end)
    if (message.readUInt16BE(at) !== OPTION.EDE || end < at + 6) continue
    ede ??= extendedError(message.readUInt16BE(at + 4), message.toString('utf8', at + 6, end))
  }
  return { extendedRcode: message[opt.ttlAt] as number, ede }
}

/** The case that was made up for the question goes no further, also where the owner is not a pointer to it. */
function unmixOwner(wire: Buffer, { name, at, ttlAt }: RecordAt, asked: string, question: Buffer): void {
  const length = question.length - 4
  if (name === asked && ttlAt - 4 - at === length) question.copy(wire, at, 0, length)
}

/**
 * Writes the TTL as it counts, and answers it: a highest bit is none (RFC 2181 section 8), an SOA that stands for what is
 * missing holds no longer than its minimum (RFC 2308 section 5).
 */
function limitTtl(wire: Buffer, { type, ttlAt, end }: RecordAt, found: boolean): number {
  const given = wire.readUInt32BE(ttlAt)
  let ttl = given > 0x7fffffff ? 0 : Math.min(given, MAX_TTL)
  if (type === TYPE.SOA && !found && end - ttlAt >= 6 + 20) {
    ttl = Math.min(ttl, wire.readUInt32BE(end - 4), MAX_NEGATIVE_TTL)
  }
  wire.writeUInt32BE(ttl, ttlAt)
  return ttl
}

function sameSet(record: RecordAt, next: RecordAt | undefined): boolean {
  return next?.type === record.type && next.name === record.name
}

/** Leaves out private addresses. Then the message is written anew, since names may point into what is gone. */
function shield(name: string, received: Received, answers: RecordAt[], mayBePrivate: MayBePrivate): Received {
  const { wire } = received.template
  const shows = ({ type, ttlAt, end }: RecordAt): boolean =>
    showsPrivate({ type, rdata: wire.subarray(ttlAt + 6, end) })
  if (!answers.some(shows) || mayBePrivate(name)) return received
  const start = readName(wire, HEADER_BYTES).end + 4
  const { rrs, end } = readRecords(wire, start, answers.length, MAX_EXPANDED)
  const left = withoutPrivate(rrs)
  const { rrs: below } = readRecords(wire, end, wire.readUInt16BE(8), MAX_EXPANDED)
  const template = written(received.rcode, wire.subarray(HEADER_BYTES, start), left, below)
  return { ...received, template: { ...template, ede: hidden(name) } }
}

function written(rcode: number, question: Buffer, answers: Rr[], authority: Rr[]): Omit<Template, 'ede'> {
  const writer = new DnsWriter(Buffer.concat([head(rcode, answers.length, authority.length), question]))
  const ttls: number[] = []
  const ends = answers.map((rr, i) => {
    ttls.push(writer.record(rr))
    const next = answers[i + 1]
    return next?.type === rr.type && next.name === rr.name ? Infinity : writer.length
  })
  for (const rr of authority) ttls.push(writer.record(rr))
  return { wire: writer.bytes(), ttls, ends }
}
