/** From a question and the zones it leads to, to an answer (RFC 1034 section 4.3.2). Pure but for the zones it is handed. */
import { DnsWriter, HEADER_BYTES, nameToWire, type Rr, rdataParts } from '../node/core/dns.ts'
import { concat } from '../node/core/encoding.ts'
import { isError, P2pnsError } from '../node/core/errors.ts'
import { isOurs, type Name, parseName, SUFFIX } from '../node/core/name.ts'
import { clampTtl, TYPE } from '../node/core/rdata.ts'
import { lookupInZone, rrUnder, type Zone } from '../node/core/zone.ts'
import { hidden, type MayBePrivate, withoutPrivate } from './rebinding.ts'
import { specialName } from './special.ts'
import {
  canonicalQuestion,
  EDE,
  type ExtendedError,
  extendedError,
  FLAG_AA,
  FLAG_QR,
  FLAG_RA,
  type Query,
  RCODE,
  type Template,
} from './wire.ts'

export interface FoundZone {
  zone: Zone
  /** When this zone must be looked up again, in ms. */
  expiresAt: number
  /** True when it is too old and could not be refreshed. */
  stale: boolean
  /** Its key is this machine's own, so it may lead into the network of whoever asks. Default: it is somebody else's. */
  own?: boolean
}

/**
 * The zone of an apex such as `alice.p2p`. Throws `name_not_found` or `name_invalid` when there is none, and any other
 * P2pnsError when that could not be found out.
 */
export type ZoneLookup = (apex: string, options: { signal: AbortSignal }) => Promise<FoundZone>

/** The zone of an apex as far as it is known without asking anybody. Rejects when nothing is known. */
export type KnownZone = (apex: string) => Promise<FoundZone>

export interface Answer {
  rcode: number
  answers: Rr[]
  authority: Rr[]
  ede: ExtendedError | undefined
  /** Seconds for which it may be repeated; 0: not at all. */
  lifetime: number
}

/**
 * An answer so far; `next` is the name that the last of `answers` is an alias of. `own`: nobody else has a say in where it leads.
 */
export type Step = Answer & { next?: string; own?: boolean }

/** What others answer for a name that is neither ours nor special; `next` as in a step. */
export type AskOutside = (name: string, type: number) => Promise<Step>

/** How long "there is no such name" holds, in seconds: short, since the name may be registered meanwhile. */
export const UNKNOWN_NAME_TTL = 30
/** The same for a name or a type that is missing in a known zone. */
const MISSING_TTL = 300
/** How long a failure is repeated without asking again (RFC 9520 section 3.2: at least one second). */
const FAILURE_TTL = 1
/** Aliases followed for one question. */
const MAX_ALIASES = 8

/** What a stale answer's TTLs are, in seconds, and for how long it stands in for a fresh one (RFC 8767 section 4). */
const STALE_TTL = 30

/** Names that exist although nobody can own them, because names stand below them (RFC 8020). */
const PARENTS = new Set([SUFFIX, `pet.${SUFFIX}`])

/**
 * Answers the question for `name` (lower-case, ours or special) and `type`, following aliases: among our names, and to
 * others with `outside`; without it they end there.
 * Private addresses are left out unless the name may have them, or all that leads to them is this machine's own.
 * `now` is in ms. Never throws: what goes wrong becomes NXDOMAIN, or SERVFAIL with an extended error (RFC 8914).
 */
export async function answerQuestion(
  name: string,
  type: number,
  lookup: (apex: string) => Promise<FoundZone>,
  now: () => number,
  outside?: AskOutside,
  mayBePrivate: MayBePrivate = () => true,
): Promise<Answer> {
  const answer: Answer = { rcode: RCODE.NOERROR, answers: [], authority: [], ede: undefined, lifetime: Infinity }
  let next: string | undefined = name
  let own = true
  const zones = new Map<string, Promise<FoundZone>>()
  const lookupOnce = (apex: string): Promise<FoundZone> => {
    const zone = zones.get(apex) ?? lookup(apex)
    zones.set(apex, zone)
    return zone
  }
  const inside: AskOutside = (name, type) => takeStep(name, type, lookupOnce, now)
  try {
    for (let aliases = 0; next !== undefined; aliases++) {
      if (aliases > MAX_ALIASES)
        throw new P2pnsError('malformed', `${name} leads through more than ${MAX_ALIASES} aliases`)
      const ask: AskOutside | undefined = isOurs(next) || specialName(next) ? inside : outside
      if (!ask) break
      const step: Step = await ask(next, type)
      own &&= step.own === true
      const shown = own || mayBePrivate(name) ? step.answers : withoutPrivate(step.answers)
      const left = step.answers.filter((rr) => !shown.includes(rr))
      answer.rcode = step.rcode
      answer.answers.push(...shown)
      answer.authority = step.authority
      answer.ede = left.length > 0 ? hidden(name) : (answer.ede ?? step.ede)
      answer.lifetime = Math.min(answer.lifetime, step.lifetime, ...left.map((rr) => rr.ttl))
      next = step.next
    }
  } catch (error) {
    return failure(error)
  }
  return limitTtls(answer)
}

/** No TTL outlives the zone it came from, and the answer as a whole ends with its first record. */
function limitTtls(answer: Answer): Answer {
  const limit = (rr: Rr): Rr => ({ ...rr, ttl: Math.min(rr.ttl, answer.lifetime) })
  const answers = answer.answers.map(limit)
  const authority = answer.authority.map(limit)
  return {
    ...answer,
    answers,
    authority,
    lifetime: Math.min(answer.lifetime, ...[...answers, ...authority].map((rr) => rr.ttl)),
  }
}

async function takeStep(
  name: string,
  type: number,
  lookup: (apex: string) => Promise<FoundZone>,
  now: () => number,
): Promise<Step> {
  if (!isOurs(name)) return stepInSpecial(name, type)
  const alt = name.endsWith('.alt') ? '.alt' : ''
  const plain = name.slice(0, name.length - alt.length)
  if (PARENTS.has(plain)) return missing(RCODE.NOERROR, soa(name, 0n, UNKNOWN_NAME_TTL), type === TYPE.SOA)
  let parsed: Name
  let found: FoundZone
  try {
    parsed = parseName(plain)
    found = await lookup(parsed.apex)
  } catch (error) {
    if (!isError(error, 'name_not_found', 'name_invalid')) throw error
    return missing(RCODE.NXDOMAIN, soa(SUFFIX + alt, 0n, UNKNOWN_NAME_TTL), false)
  }
  const step = stepInZone(found.zone, parsed.labels.join('.'), type, parsed.apex + alt)
  const lifetime = Math.max(0, Math.floor((found.expiresAt - now()) / 1000))
  const { own = false } = found
  if (!found.stale) return { ...step, own, lifetime }
  const code = step.rcode === RCODE.NXDOMAIN ? EDE.STALE_NXDOMAIN : EDE.STALE
  const ede = extendedError(code, `${parsed.apex} could not be refreshed`)
  return { ...step, own, ede, lifetime: Math.max(lifetime, STALE_TTL) }
}

/** Every zone here is complete, so what is not in it does not exist. */
function stepInSpecial(name: string, type: number): Step {
  const special = specialName(name)
  const found = special?.rrs.filter((rr) => rr.type === type) ?? []
  if (found.length > 0) return { ...records(found), own: true }
  const asked = special?.exists === true && name === special.apex && type === TYPE.SOA
  const rcode = special?.exists ? RCODE.NOERROR : RCODE.NXDOMAIN
  return missing(rcode, soa(special?.apex ?? name, 0n, UNKNOWN_NAME_TTL), asked)
}

function stepInZone(zone: Zone, owner: string, type: number, apex: string): Step {
  const { status, rrs } = lookupInZone(zone, owner, type)
  if (status === 'nxdomain') return missing(RCODE.NXDOMAIN, soa(apex, zone.seq, MISSING_TTL), false)
  if (status === 'nodata') {
    return missing(RCODE.NOERROR, soa(apex, zone.seq, MISSING_TTL), owner === '' && type === TYPE.SOA)
  }
  const chosen = type === TYPE.ANY ? smallestSet(rrs) : rrs
  const step = records(rrSet(chosen).map((rr) => rrUnder(zone, { ...rr, ttl: clampTtl(rr.ttl) }, apex)))
  const [alias] = step.answers
  if (status !== 'cname' || alias === undefined) return step
  return { ...step, next: String(rdataParts(alias.type, alias.rdata, 0, alias.rdata.length)[0]) }
}

/** The same data twice is one record, and all of a set have one TTL, the lowest (RFC 2181 sections 5 and 5.2). */
function rrSet(rrs: Rr[]): Rr[] {
  const ttl = Math.min(...rrs.map((rr) => rr.ttl))
  const byData = new Map(rrs.map((rr) => [Buffer.from(rr.rdata).toString('latin1'), { ...rr, ttl }]))
  return [...byData.values()]
}

/** ANY gets one set of records, the one least worth reflecting at somebody (RFC 8482 section 4.1). */
function smallestSet(rrs: Rr[]): Rr[] {
  const sizeOf = (set: Rr[]): number => set.reduce((sum, rr) => sum + rr.rdata.length, 0)
  const sets = [...Map.groupBy(rrs, (rr) => rr.type).values()]
  return sets.sort((a, b) => sizeOf(a) - sizeOf(b))[0] ?? []
}

function records(answers: Rr[]): Step {
  return { rcode: RCODE.NOERROR, answers, authority: [], ede: undefined, lifetime: Infinity }
}

/** Nothing of that name or type: the SOA says for how long (RFC 2308), or is itself what was asked for. */
function missing(rcode: number, record: Rr, asked: boolean): Step {
  const [answers, authority] = asked ? [[record], []] : [[], [record]]
  return { rcode, answers, authority, ede: undefined, lifetime: Infinity }
}

/** The SOA that every zone has, though no zone record carries one; `ttl` is also the negative TTL. */
export function soa(apex: string, seq: bigint, ttl: number): Rr {
  const numbers = Buffer.alloc(20)
  const [refresh, retry, expire] = [3600, 600, 172_800]
  const serial = Number((seq / 1_000_000n) & 0xffff_ffffn)
  for (const [i, value] of [serial, refresh, retry, expire, ttl].entries()) numbers.writeUInt32BE(value, i * 4)
  return { name: apex, type: TYPE.SOA, ttl, rdata: concat(nameToWire(apex), nameToWire(`hostmaster.${apex}`), numbers) }
}

/** SERVFAIL, and why: the network could not be asked, or what it gave could not be believed. */
export function failure(error: unknown): Answer {
  const what = isError(error) ? error.what : 'internal error'
  let code: number = EDE.OTHER
  if (isError(error, 'no_introducer', 'network_unreachable', 'peer_unreachable')) code = EDE.NO_AUTHORITY
  if (isError(error, 'timed_out')) code = EDE.NETWORK
  return { rcode: RCODE.SERVFAIL, answers: [], authority: [], ede: extendedError(code, what), lifetime: FAILURE_TTL }
}

/**
 * The answer in wire form. AA, because it is what the owner signed; RA, because the whole search is done here. Names
 * compress against the question, so that they follow the case of each asker.
 */
export function toTemplate(query: Query, answer: Answer): Template {
  const head = Buffer.concat([Buffer.alloc(HEADER_BYTES), canonicalQuestion(query)])
  head[2] = FLAG_QR | (answer.rcode === RCODE.SERVFAIL ? 0 : FLAG_AA)
  head[3] = FLAG_RA | answer.rcode
  head[5] = 1
  head.writeUInt16BE(answer.answers.length, 6)
  head.writeUInt16BE(answer.authority.length, 8)
  const writer = new DnsWriter(head)
  const ttls: number[] = []
  const ends: number[] = []
  for (const [i, rr] of answer.answers.entries()) {
    ttls.push(writer.record(rr))
    const next = answer.answers[i + 1]
    ends.push(next?.type === rr.type && next.name === rr.name ? Infinity : writer.length)
  }
  for (const rr of answer.authority) ttls.push(writer.record(rr))
  return { wire: writer.bytes(), ttls, ends, ede: answer.ede }
}
