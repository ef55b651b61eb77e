/** Aliases that lead from our names to others: what the upstream says of them, as a step of an answer. */
import { HEADER_BYTES, nameToWire, type Rr, rdataParts, readName, readRecords } from '../node/core/dns.ts'
import { P2pnsError } from '../node/core/errors.ts'
import { isOurs } from '../node/core/name.ts'
import { TYPE } from '../node/core/rdata.ts'
import type { AskOutside, Step } from './answer.ts'
import { specialName } from './special.ts'
import type { Source } from './tally.ts'
import { fill, MAX_TCP_PAYLOAD, type Query, RCODE, readQuery, type Template } from './wire.ts'

export interface Forwarded {
  template: Template
  source: Source
  /** Seconds for which it may be repeated without asking here again; 0: not at all. */
  lifetime: number
}

/** What others are asked through. */
export interface Forwarder {
  /** What they say to `query`, which the host at `address` asks; at once when that is known. Never rejects, but may never end after a stop. */
  forward(query: Query, address: string): Forwarded | Promise<Forwarded>
}

const REST = { ede: undefined, lifetime: Infinity }
/** All questions of ours count as those of one client. */
const NOBODY = ''
const RECURSION_DESIRED = 0x0100
/** Records with all their names written out, in bytes. */
const MAX_EXPANDED = 131_072

/** Asks as over TCP, so that nothing comes back truncated. */
export function askThrough(upstream: Forwarder): AskOutside {
  return async (name, type) => {
    const query = readQuery(questionFor(name, type))
    if ('drop' in query) throw new P2pnsError('malformed', `${name.slice(0, 80)} cannot be asked for`)
    const { template } = await upstream.forward(query, NOBODY)
    return stepFrom(name, type, fill(query, template, MAX_TCP_PAYLOAD))
  }
}

function questionFor(name: string, type: number): Buffer {
  const head = Buffer.alloc(HEADER_BYTES)
  head.writeUInt16BE(RECURSION_DESIRED, 2)
  head.writeUInt16BE(1, 4)
  return Buffer.concat([head, nameToWire(name), Buffer.from([type >> 8, type & 0xff, 0, 1])])
}

/** Only what follows from `name` counts, link by link (RFC 2181 section 5.4.1); the rest nobody asked for. */
export function stepFrom(name: string, type: number, response: Buffer): Step {
  const rcode = (response[3] as number) & 0x0f
  if (rcode !== RCODE.NOERROR && rcode !== RCODE.NXDOMAIN) {
    throw new P2pnsError('timed_out', `The upstream resolver could not find ${name.slice(0, 80)}`)
  }
  const start = readName(response, HEADER_BYTES).end + 4
  const { rrs, end } = readRecords(response, start, response.readUInt16BE(6), MAX_EXPANDED)
  const { rrs: below } = readRecords(response, end, response.readUInt16BE(8), MAX_EXPANDED)
  const answers: Rr[] = []
  const byName = Map.groupBy(rrs, (rr) => rr.name)
  const seen = new Set<string>()
  for (let at = name; !seen.has(at); ) {
    seen.add(at)
    const here: Rr[] = byName.get(at) ?? []
    const found = here.filter((rr) => rr.type === type)
    if (found.length > 0) return { rcode, answers: [...answers, ...found], authority: [], ...REST }
    const alias = here.find((rr) => rr.type === TYPE.CNAME)
    if (alias === undefined) break
    answers.push(alias)
    at = String(rdataParts(alias.type, alias.rdata, 0, alias.rdata.length)[0])
    if (isOurs(at) || specialName(at)) return { rcode: RCODE.NOERROR, answers, authority: [], ...REST, next: at }
  }
  const authority = below.filter((rr) => rr.type === TYPE.SOA)
  // Without an SOA it must not be kept (RFC 2308 section 5).
  return { rcode, answers, authority, ede: undefined, lifetime: authority.length > 0 ? Infinity : 0 }
}
