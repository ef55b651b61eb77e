/**
 * Names that are not ours: from a question to the answer that others give, or gave.
 *
 *     fresh in the cache ──────── answered at once, and asked for again when many want it and its time is nearly over
 *     failed a moment ago ─────── what is stale, or the failure
 *     stale ───────────────────── asked for, and answered when nobody does so soon
 *     unknown ─────────────────── asked for, once for all who want it; in time there is an answer or a failure
 */
import { readName } from '../node/core/dns.ts'
import { isError } from '../node/core/errors.ts'
import { isOurs } from '../node/core/name.ts'
import { Lookups } from './lookups.ts'
import { inTime } from './outage.ts'
import type { Forwarded, Forwarder } from './outside.ts'
import { specialName } from './special.ts'
import { type Question, questionFrom, questionKey } from './upstream.ts'
import { emptyAnswer, noSuchName, type Received } from './upstream-answer.ts'
import { UpstreamCache } from './upstream-cache.ts'
import { EDE, extendedError, type Query, RCODE, type Template } from './wire.ts'

export interface ForwarderOptions {
  /** Answers, or throws in the end; when `signal` ends it nobody wants the answer any more. */
  ask: (question: Question, signal: AbortSignal) => Promise<Received>
  /** Whether to wait for an answer makes no sense. */
  gone: () => boolean
  /** Names (lower-case) that are not asked for, because only those who misread ours do. Default: none. */
  withheld?: (name: string) => boolean
  /** ms since 1970. */
  now: () => number
  /** How long somebody waits who can have a stale answer, in ms. Default 1800 (RFC 8767 section 5). */
  patience?: number
}

/** Questions that are being asked at once; more than for zones, since these take milliseconds. */
const MAX_ASKED = 1_024
/** `ask` ends by itself; this is for when it does not. ms. */
const TIMEOUT = 6_000

export class CachingForwarder implements Forwarder {
  readonly #options: ForwarderOptions
  readonly #cache: UpstreamCache
  readonly #lookups: Lookups<Received>
  readonly #stopped = new AbortController()

  constructor(options: ForwarderOptions) {
    this.#options = options
    this.#cache = new UpstreamCache(options.now)
    this.#lookups = new Lookups({
      lookup: (key, { signal }) => this.#fetch(key, signal),
      max: MAX_ASKED,
      timeout: TIMEOUT,
      stopped: this.#stopped.signal,
    })
  }

  forward(query: Query, address: string): Forwarded | Promise<Forwarded> {
    const key = questionKey(query)
    const kept = this.#cache.get(key)
    const failure = this.#cache.failure(key)
    if (kept?.fresh) {
      if (kept.renew && !failure) void this.#ask(key, address)
      return { template: kept.template, source: 'cached', lifetime: kept.lifetime }
    }
    if (failure) return kept ? staleAnswer(kept.template) : { ...found(failure), source: 'cached' }
    return this.#askOrStale(key, address, kept?.template)
  }

  stop(): void {
    this.#stopped.abort()
  }

  async #askOrStale(key: string, address: string, stale: Template | undefined): Promise<Forwarded> {
    const asked = this.#ask(key, address)
    if (!stale) return found(await asked)
    if (this.#options.gone()) return staleAnswer(stale)
    const received = await inTime(asked, this.#options.patience)
    return received === undefined || isFailure(received) ? staleAnswer(stale) : found(received)
  }

  /** Never rejects. */
  async #ask(key: string, address: string): Promise<Received> {
    try {
      return await this.#lookups.find(key, address)
    } catch {
      return failed(questionFrom(key), EDE.NETWORK, 'Too many questions wait for the upstream resolver')
    }
  }

  async #fetch(key: string, signal: AbortSignal): Promise<Received> {
    const question = questionFrom(key)
    const { name } = readName(question.wire, 0)
    // Whoever calls this sees to it; but of all that can go wrong this must not.
    if (isOurs(name) || specialName(name)) return failed(question, EDE.OTHER, 'That name is for nobody outside')
    if (this.#options.withheld?.(name)) {
      return noSuchName(question, extendedError(EDE.BLOCKED, `${name} is one of our names and a search domain`))
    }
    try {
      const received = await this.#options.ask(question, signal)
      if (isFailure(received)) this.#cache.fail(key, received)
      else this.#cache.set(key, received)
      return received
    } catch (error) {
      signal.throwIfAborted()
      const code = isError(error, 'network_unreachable') ? EDE.NO_AUTHORITY : EDE.NETWORK
      const received = failed(question, code, isError(error) ? error.what : 'internal error')
      this.#cache.fail(key, received)
      return received
    }
  }
}

/** Once it is in the cache, it is told how long it holds. */
function found({ template }: Received): Forwarded {
  return { template, source: 'found', lifetime: 0 }
}

function staleAnswer(template: Template): Forwarded {
  return { template, source: 'stale', lifetime: 0 }
}

function isFailure({ rcode }: Received): boolean {
  return rcode !== RCODE.NOERROR && rcode !== RCODE.NXDOMAIN
}

function failed(question: Question, code: number, text: string): Received {
  return emptyAnswer(question, RCODE.SERVFAIL, extendedError(code, text))
}
