/**
 * The life of a query, whatever transport it came by:
 *
 *     read ─ not a query ──────────── dropped
 *       ├── malformed, other opcode ─ FORMERR, NOTIMP
 *       ├── EDNS above 0 ──────────── BADVERS
 *       ├── cookie of another ─────── BADCOOKIE, when told so
 *       ├── cached ────────────────── answered at once
 *       ├── other class, AXFR ─────── REFUSED
 *       ├── special (localhost) ───── answered here
 *       ├── below p2p or alt ─ zones ─ known or looked up: answer, NXDOMAIN, or SERVFAIL with the reason
 *       └── other name ────────────── upstream, or REFUSED
 */
import { LRUCache } from 'lru-cache'
import { CLASS_IN, HEADER_BYTES } from '../node/core/dns.ts'
import { isError } from '../node/core/errors.ts'
import { isOurs } from '../node/core/name.ts'
import { TYPE } from '../node/core/rdata.ts'
import {
  type AskOutside,
  answerQuestion,
  type FoundZone,
  type KnownZone,
  toTemplate,
  type ZoneLookup,
} from './answer.ts'
import { AnswerCache } from './cache.ts'
import { Cookies } from './cookies.ts'
import { EDE, extendedError, OPTION, option } from './edns.ts'
import { Lookups } from './lookups.ts'
import { askThrough, type Forwarder } from './outside.ts'
import { type MayBePrivate, shielded } from './rebinding.ts'
import { specialName } from './special.ts'
import {
  errorAnswer,
  fill,
  headerAnswer,
  labelsOf,
  MAX_TCP_PAYLOAD,
  type Query,
  RCODE,
  readQuery,
  type Template,
  udpLimit,
} from './wire.ts'

export type Transport = 'udp' | 'tcp'

/** Called once, in the same tick when the answer is known; after `stop()` maybe never. */
export type Reply = (response: Buffer) => void

/** Since the start. */
export interface ResolverStats {
  queries: number
  /** Answered from the cache. */
  hits: number
  /** Zones that were looked up. */
  lookups: number
  forwarded: number
  /** Questions that ended in SERVFAIL. */
  failures: number
  /** Packets that deserved no answer. */
  dropped: number
}

/** TKEY, TSIG, IXFR, AXFR, MAILB, MAILA: not for a resolver of single names (RFC 6895 section 3.1). */
const FIRST_META_TYPE = 249
const LAST_META_TYPE = 254
/** How long a connection may be silent (tcp.ts), in the units of RFC 7828: 100 ms. */
const KEEPALIVE = Buffer.from([0, 100])
const NO_OPTIONS: Buffer = Buffer.alloc(0)
/** Names that nobody has: what stands below them needs no lookup either (RFC 8020). How many, and for how long in ms. */
const MAX_MISSING = 5_000
const MISSING_TIME = 30_000

export interface ResponderOptions {
  lookup: ZoneLookup
  known: KnownZone | undefined
  upstream: Forwarder | undefined
  /** Which names may lead into a private network. Default: all. */
  mayBePrivate?: MayBePrivate
  /** Over UDP a wrong server cookie gets BADCOOKIE (RFC 7873 section 5.2.3). Default: it gets an answer and a right one. */
  requireCookies?: boolean
  /** ms. */
  lookupTimeout: number
  /** ms since 1970. */
  now: () => number
}

/** A query, how it came, and the EDNS options that its answer has besides. */
interface Asked {
  query: Query
  transport: Transport
  address: string
  options: Buffer
}

export class Responder {
  readonly stats: ResolverStats = { queries: 0, hits: 0, lookups: 0, forwarded: 0, failures: 0, dropped: 0 }
  /** Another cache may keep what this one keeps: `lifetime` seconds from now. */
  onKnown: ((packet: Buffer, template: Template, lifetime: number) => void) | undefined
  onClear: () => void = () => undefined
  readonly #options: ResponderOptions
  readonly #cache: AnswerCache
  readonly #lookups: Lookups
  readonly #cookies: Cookies
  readonly #outside: AskOutside | undefined
  /** The error for an apex that nobody has, and until when it holds. */
  readonly #missing = new LRUCache<string, { error: unknown; until: number }>({ max: MAX_MISSING })
  readonly #stopped = new AbortController()
  /** Grows when the cache is cleared: what was asked for before is not kept any more. */
  #generation = 0

  constructor(options: ResponderOptions) {
    this.#options = options
    this.#cache = new AnswerCache(options.now)
    this.#cookies = new Cookies(options.now)
    this.#outside = options.upstream && askThrough(options.upstream)
    this.#lookups = new Lookups({
      lookup: (...asked) => {
        this.stats.lookups++
        return options.lookup(...asked)
      },
      timeout: options.lookupTimeout,
      stopped: this.#stopped.signal,
    })
  }

  /** Answers a packet from the host at `address` through `reply`. False when the packet deserves no answer, and `reply` will not be called. */
  handle(packet: Buffer, transport: Transport, address: string, reply: Reply): boolean {
    const query = readQuery(packet)
    if ('drop' in query) {
      if (query.drop) this.stats.dropped++
      else reply(headerAnswer(packet, query.rcode))
      return !query.drop
    }
    this.stats.queries++
    const asked: Asked = { query, transport, address, options: this.#optionsFor(query, transport, address) }
    const refusal = this.#refusal(asked)
    const cached = refusal || query.class !== CLASS_IN ? undefined : this.#cache.get(query)
    if (refusal) reply(refusal)
    else if (cached) {
      this.stats.hits++
      this.onKnown?.(packet, cached, Math.floor((cached.expiresAt - this.#options.now()) / 1000))
      reply(fill(query, cached, limitOf(asked), asked.options))
    } else this.#handleUncached(asked, reply)
    return true
  }

  /** What EDNS alone decides. */
  #refusal({ query, transport, address, options }: Asked): Buffer | undefined {
    const { edns } = query
    if (!edns) return undefined
    if (edns.version > 0) return errorAnswer(query, RCODE.BADVERS)
    // RFC 7828 section 3.2.1: only a server says how long.
    if (transport === 'tcp' && edns.keepalive) return errorAnswer(query, RCODE.FORMERR, undefined, options)
    const strict = this.#options.requireCookies === true && transport === 'udp'
    if (strict && edns.cookie && !this.#cookies.holds(edns.cookie, address)) {
      return errorAnswer(query, RCODE.BADCOOKIE, undefined, options)
    }
    return query.end === HEADER_BYTES ? errorAnswer(query, RCODE.NOERROR, undefined, options) : undefined
  }

  #optionsFor({ edns }: Query, transport: Transport, address: string): Buffer {
    if (edns?.cookie === undefined && edns?.keepalive === undefined) return NO_OPTIONS
    const cookie = edns.cookie && option(OPTION.COOKIE, this.#cookies.answer(edns.cookie, address))
    const keepalive = edns.keepalive === 0 && transport === 'tcp' && option(OPTION.KEEPALIVE, KEEPALIVE)
    return Buffer.concat([cookie || NO_OPTIONS, keepalive || NO_OPTIONS])
  }

  #handleUncached(asked: Asked, reply: Reply): void {
    const { query, transport, options } = asked
    const refuse = (rcode: number, code: number, text: string): void =>
      reply(errorAnswer(query, rcode, extendedError(code, text), options))
    // It is no type of data (RFC 6891 section 6.1.1).
    if (query.type === TYPE.OPT) return reply(errorAnswer(query, RCODE.FORMERR, undefined, options))
    const meta = query.type >= FIRST_META_TYPE && query.type <= LAST_META_TYPE
    if (query.class !== CLASS_IN) return refuse(RCODE.REFUSED, EDE.NOT_SUPPORTED, 'only class IN')
    if (meta) return refuse(RCODE.REFUSED, EDE.NOT_SUPPORTED, 'no transfers, no transactions')
    const name = nameOf(query)
    if (isOurs(name) || specialName(name)) void this.#answer(asked, name, reply)
    else if (this.#options.upstream) {
      this.stats.forwarded++
      this.#options.upstream.forward(query, transport, reply, asked)
    } else refuse(RCODE.REFUSED, EDE.NOT_AUTHORITATIVE, 'no upstream is set for other names')
  }

  clear(): void {
    this.#generation++
    this.#lookups.clear()
    this.#missing.clear()
    this.#cache.clear()
    this.onClear()
  }

  stop(): void {
    this.#stopped.abort()
  }

  async #answer(asked: Asked, name: string, reply: Reply): Promise<void> {
    const { query, address } = asked
    const generation = this.#generation
    const find = (apex: string): Promise<FoundZone> => this.#zone(apex, address)
    const found = await answerQuestion(name, query.type, find, this.#options.now, this.#outside)
    const answer = shielded(name, found, this.#options.mayBePrivate)
    if (this.#stopped.signal.aborted) return
    if (answer.rcode === RCODE.SERVFAIL) this.stats.failures++
    const template = toTemplate(query, answer)
    if (generation === this.#generation) {
      this.#cache.set(query, template, answer.lifetime)
      this.onKnown?.(query.packet, template, answer.lifetime)
    }
    reply(fill(query, template, limitOf(asked), asked.options))
  }

  /** What is known needs no lookup while it is fresh, and stands in for one that does not come to its end (RFC 8767). */
  async #zone(apex: string, address: string): Promise<FoundZone> {
    const known = await this.#options.known?.(apex).catch(() => undefined)
    if (known !== undefined && !known.stale) return known
    const missing = this.#missing.get(apex)
    if (missing && this.#options.now() < missing.until) throw missing.error
    const generation = this.#generation
    try {
      return await this.#lookups.find(apex, address)
    } catch (error) {
      if (isError(error, 'name_not_found') && generation === this.#generation) {
        this.#missing.set(apex, { error, until: this.#options.now() + MISSING_TIME })
      }
      if (known !== undefined && isError(error, 'timed_out')) return known
      throw error
    }
  }
}

function limitOf({ query, transport }: Asked): number {
  return transport === 'udp' ? udpLimit(query) : MAX_TCP_PAYLOAD
}

/** As text; a label with a dot or worse in it is written with escapes, and so mistaken for nothing else. */
function nameOf(query: Query): string {
  const escaped = (char: string): string => `\\${String(char.charCodeAt(0)).padStart(3, '0')}`
  return labelsOf(query)
    .map((label) => label.replace(/[^a-z0-9_-]/g, escaped))
    .join('.')
}
