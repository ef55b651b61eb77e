/**
 * Looks up what takes time, zones or the answers of others: questions about one thing share a lookup, each ends in time, and
 * nobody crowds out the others.
 */
import { P2pnsError } from '../node/core/errors.ts'
import type { FoundZone } from './answer.ts'
import { clientOf, Shares } from './shares.ts'

/** What is looked up at the same time, unless told otherwise; more would only time out together. */
const MAX_LOOKUPS = 256
/** Questions that wait for them, in all and of one client. */
const MAX_WAITING = 4_096
const MAX_WAITING_OF_ONE = MAX_WAITING / 4

interface Running<T> {
  found: Promise<T>
  /** Whose share it counts to. */
  client: string
  giveUp(): void
}

/** `key` is the apex of a zone, or whatever else tells one question from another. */
export interface LookupsOptions<T = FoundZone> {
  lookup: (key: string, options: { signal: AbortSignal }) => Promise<T>
  /** At the same time. */
  max?: number
  /** ms. */
  timeout: number
  stopped: AbortSignal
}

export class Lookups<T = FoundZone> {
  readonly #options: LookupsOptions<T>
  readonly #byKey = new Map<string, Running<T>>()
  readonly #running = new Shares<Running<T>>()
  /** Each question is an object of its own. */
  readonly #waiting = new Shares<object>()

  constructor(options: LookupsOptions<T>) {
    this.#options = options
  }

  /** What `key` leads to, asked for by the host at `address`. Throws what the lookup throws, and `timed_out`. */
  async find(key: string, address: string): Promise<T> {
    const client = clientOf(address)
    if (this.#waiting.size >= MAX_WAITING || this.#waiting.countOf(client) >= MAX_WAITING_OF_ONE) {
      throw new P2pnsError('timed_out', 'Too many questions are waiting')
    }
    const question = {}
    this.#waiting.add(client, question)
    try {
      return await this.#share(key, client).found
    } finally {
      this.#waiting.delete(client, question)
    }
  }

  /** What is asked from now on is looked up anew. */
  clear(): void {
    this.#byKey.clear()
  }

  #share(key: string, client: string): Running<T> {
    const running = this.#byKey.get(key)
    if (running === undefined) return this.#start(key, client)
    // It goes to whoever is least likely to have to give it up, or a crowd would drag down those who ask for the same.
    if (this.#running.countOf(client) < this.#running.countOf(running.client)) {
      this.#running.delete(running.client, running)
      running.client = client
      this.#running.add(client, running)
    }
    return running
  }

  #start(key: string, client: string): Running<T> {
    if (this.#running.size >= (this.#options.max ?? MAX_LOOKUPS)) this.#makeRoom(client)
    const ended = new AbortController()
    const found = this.#timed(key, ended).finally(() => this.#forget(key, running))
    const running: Running<T> = {
      found,
      client,
      giveUp: () => {
        this.#forget(key, running)
        ended.abort(tooMany())
      },
    }
    this.#byKey.set(key, running)
    this.#running.add(client, running)
    return running
  }

  #makeRoom(client: string): void {
    const first = this.#running.first()
    if (first === undefined || this.#running.countOf(first.client) <= this.#running.countOf(client) + 1) throw tooMany()
    first.item.giveUp()
  }

  #forget(key: string, running: Running<T>): void {
    this.#running.delete(running.client, running)
    if (this.#byKey.get(key) === running) this.#byKey.delete(key)
  }

  /** Ends after the time allowed, or with `ended`, also when the lookup does not heed its signal. */
  async #timed(key: string, ended: AbortController): Promise<T> {
    const { lookup, timeout, stopped } = this.#options
    const { promise: over, reject } = Promise.withResolvers<never>()
    ended.signal.addEventListener('abort', () => reject(ended.signal.reason as Error))
    const late = (): void => ended.abort(new P2pnsError('timed_out', `${key} was not found within ${timeout} ms`))
    const timer = setTimeout(late, timeout)
    stopped.addEventListener('abort', late, { once: true })
    try {
      return await Promise.race([lookup(key, { signal: ended.signal }), over])
    } finally {
      clearTimeout(timer)
      stopped.removeEventListener('abort', late)
    }
  }
}

function tooMany(): P2pnsError {
  return new P2pnsError('timed_out', 'Too many names are being looked up')
}
