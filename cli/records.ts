/** The record options of `p2pns register`, as records in presentation form (RFC 1035 section 5.1). */
import type { RecordInput } from '../node/contract.ts'
import { P2pnsError } from '../node/core/errors.ts'

export interface RecordOptions {
  a?: string[]
  aaaa?: string[]
  txt?: string[]
  srv?: string[]
  record?: string[]
  ttl?: number
}

/** `say "hi"` as `"say \\"hi\\""`, so that no character of the text means anything else. */
function quoteText(text: string): string {
  return `"${text.replace(/["\\]/g, '\\$&')}"`
}

/** `_http._tcp 0 0 8080 alice.p2p`: label, priority, weight, port, target (RFC 2782). */
function parseSrv(text: string): RecordInput {
  const [label, ...data] = text.trim().split(/\s+/)
  if (label === undefined || data.length !== 4) {
    throw new P2pnsError('usage', `--srv "${text}" is not "_SERVICE._PROTOCOL PRIORITY WEIGHT PORT TARGET"`)
  }
  return { type: 'SRV', data: data.join(' '), label }
}

/** `MX 10 mail.alice.p2p`: the type, then its data as a zone file has it. */
function parseGeneric(text: string): RecordInput {
  const match = /^\s*([A-Za-z][A-Za-z0-9]*)\s+(\S.*?)\s*$/.exec(text)
  if (!match?.[1] || !match[2]) throw new P2pnsError('usage', `--record "${text}" is not "TYPE DATA"`)
  return { type: match[1].toUpperCase(), data: match[2] }
}

/** All records that the options name; whether the data fits its type is for the node to say. */
export function recordsOf(options: RecordOptions): RecordInput[] {
  const records: RecordInput[] = [
    ...(options.a ?? []).map((data) => ({ type: 'A', data })),
    ...(options.aaaa ?? []).map((data) => ({ type: 'AAAA', data })),
    ...(options.txt ?? []).map((text) => ({ type: 'TXT', data: quoteText(text) })),
    ...(options.srv ?? []).map(parseSrv),
    ...(options.record ?? []).map(parseGeneric),
  ]
  const { ttl } = options
  return ttl === undefined ? records : records.map((record) => ({ ...record, ttl }))
}
