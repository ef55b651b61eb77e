/**
 * The life of a query, whatever transport it came by:
 *
 *     read ─ not a query ──────────── dropped
 *       ├── malformed, other opcode ─ FORMERR, NOTIMP
 *       ├── EDNS above 0 ──────────── BADVERS
 *       ├── other class, AXFR ─────── REFUSED
 *       ├── cached ────────────────── answered at once
 *       ├── below p2p or alt ─ zones ─ known or looked up: answer, NXDOMAIN, or SERVFAIL with the reason
 *       └── other name ────────────── upstream, or REFUSED
 */
import { CLASS_IN } from '../node/core/dns.ts'
import { isError } from '../node/core/errors.ts'
import { SUFFIX } from '../node/core/name.ts'
import { answerQuestion, type FoundZone, type KnownZone, toTemplate, type ZoneLookup } from './answer.ts'
import { AnswerCache } from './cache.ts'
import { Lookups } from './lookups.ts'
import type { Upstream } from './upstream.ts'
import {
  errorAnswer,
  fill,
  headerAnswer,
  labelsOf,
  MAX_TCP_PAYLOAD,
  type Query,
  RCODE,
  readQuery,
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

export interface ResponderOptions {
  lookup: ZoneLookup
  known: KnownZone | undefined
  upstream: Upstream | undefined
  /** ms. */
  lookupTimeout: number
  /** ms since 1970. */
  now: () => number
}

export class Responder {
  readonly stats: ResolverStats = { queries: 0, hits: 0, lookups: 0, forwarded: 0, failures: 0, dropped: 0 }
  readonly #options: ResponderOptions
  readonly #cache: AnswerCache
  readonly #lookups: Lookups
  readonly #stopped = new AbortController()
  /** Grows when the cache is cleared: what was asked for before is not kept any more. */
  #generation = 0

  constructor(options: ResponderOptions) {
    this.#options = options
    this.#cache = new AnswerCache(options.now)
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
    const cached = query.class === CLASS_IN && !query.edns?.version ? this.#cache.get(query) : undefined
    if (cached) {
      this.stats.hits++
      reply(fill(query, cached, limitOf(query, transport)))
    } else this.#handleUncached(query, transport, address, reply)
    return true
  }

  #handleUncached(query: Query, transport: Transport, address: string, reply: Reply): void {
    if (query.edns && query.edns.version > 0) return reply(errorAnswer(query, RCODE.BADVERS))
    const meta = query.type >= FIRST_META_TYPE && query.type <= LAST_META_TYPE
    if (query.class !== CLASS_IN || meta) return reply(errorAnswer(query, RCODE.REFUSED))
    const labels = labelsOf(query)
    const top = labels.at(-1)
    if (top === SUFFIX || top === 'alt') {
      void this.#answer(query, labels, transport, address, reply)
    } else if (this.#options.upstream) {
      this.stats.forwarded++
      this.#options.upstream.forward(query, transport, reply)
    } else reply(errorAnswer(query, RCODE.REFUSED))
  }

  clear(): void {
    this.#generation++
    this.#lookups.clear()
    this.#cache.clear()
  }

  stop(): void {
    this.#stopped.abort()
  }

  async #answer(query: Query, labels: string[], transport: Transport, address: string, reply: Reply): Promise<void> {
    const generation = this.#generation
    // A label with a dot or worse in it is none of ours; as an escape it can be mistaken for nothing else.
    const name = labels.map((label) => (/^[a-z0-9_-]+$/.test(label) ? label : '\\')).join('.')
    const find = (apex: string): Promise<FoundZone> => this.#zone(apex, address)
    const answer = await answerQuestion(name, query.type, find, this.#options.now)
    if (this.#stopped.signal.aborted) return
    if (answer.rcode === RCODE.SERVFAIL) this.stats.failures++
    const template = toTemplate(query, answer)
    if (generation === this.#generation) this.#cache.set(query, template, answer.lifetime)
    reply(fill(query, template, limitOf(query, transport)))
  }

  /** What is known needs no lookup while it is fresh, and stands in for one that does not come to its end (RFC 8767). */
  async #zone(apex: string, address: string): Promise<FoundZone> {
    const known = await this.#options.known?.(apex).catch(() => undefined)
    if (known !== undefined && !known.stale) return known
    try {
      return await this.#lookups.find(apex, address)
    } catch (error) {
      if (known !== undefined && isError(error, 'timed_out')) return known
      throw error
    }
  }
}

function limitOf(query: Query, transport: Transport): number {
  return transport === 'udp' ? udpLimit(query) : MAX_TCP_PAYLOAD
}
