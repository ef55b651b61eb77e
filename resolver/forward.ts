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
import type { Asker, Forwarder } from './outside.ts'
import type { Reply, Transport } from './responder.ts'
import { specialName } from './special.ts'
import { type Question, questionFrom, questionKey } from './upstream.ts'
import { emptyAnswer, type Received } from './upstream-answer.ts'
import { UpstreamCache } from './upstream-cache.ts'
import { EDE, extendedError, fill, MAX_TCP_PAYLOAD, type Query, RCODE, type Template, udpLimit } from './wire.ts'

export interface ForwarderOptions {
  /** Answers, or throws in the end; when `signal` ends it nobody wants the answer any more. */
  ask: (question: Question, signal: AbortSignal) => Promise<Received>
  /** Whether to wait for an answer makes no sense. */
  gone: () => boolean
  /** ms since 1970. */
  now: () => number
  /** How long somebody waits who can have a stale answer, in ms. Default 1800 (RFC 8767 section 5). */
  patience?: number
}

const NOBODY: Asker = { address: '' }
const PATIENCE = 1_800
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

  /** Calls `reply` once, in the same tick when the answer is known; after `stop()` maybe never. */
  forward(query: Query, transport: Transport, reply: Reply, { address, options }: Asker = NOBODY): void {
    const limit = transport === 'udp' ? udpLimit(query) : MAX_TCP_PAYLOAD
    const answer = (template: Template): void => reply(fill(query, template, limit, options))
    const key = questionKey(query)
    const { fresh, renew, template } = this.#cache.get(key) ?? {}
    const failure = this.#cache.failure(key)
    if (template && fresh) {
      if (renew && !failure) void this.#ask(key, address)
      answer(template)
    } else if (failure) answer(template ?? failure.template)
    else {
      void this.#askOrStale(key, address, template).then((found) => {
        if (!this.#stopped.signal.aborted) answer(found)
      })
    }
  }

  stop(): void {
    this.#stopped.abort()
  }

  async #askOrStale(key: string, address: string, stale: Template | undefined): Promise<Template> {
    const asked = this.#ask(key, address)
    if (!stale) return (await asked).template
    if (this.#options.gone()) return stale
    const { promise: waited, resolve } = Promise.withResolvers<undefined>()
    const timer = setTimeout(() => resolve(undefined), this.#options.patience ?? PATIENCE)
    try {
      const received = await Promise.race([asked, waited])
      return received === undefined || isFailure(received) ? stale : received.template
    } finally {
      clearTimeout(timer)
    }
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

function isFailure({ rcode }: Received): boolean {
  return rcode !== RCODE.NOERROR && rcode !== RCODE.NXDOMAIN
}

function failed(question: Question, code: number, text: string): Received {
  return emptyAnswer(question, RCODE.SERVFAIL, extendedError(code, text))
}
