/** Looks zones up: questions about one zone share a lookup, each ends in time, and nobody crowds out the others. */
import { P2pnsError } from '../node/core/errors.ts'
import type { FoundZone, ZoneLookup } from './answer.ts'
import { clientOf, Shares } from './shares.ts'

/** Zones looked up at the same time; more would only time out together. */
const MAX_LOOKUPS = 256
/** Questions that wait for them, in all and of one client. */
const MAX_WAITING = 4_096
const MAX_WAITING_OF_ONE = MAX_WAITING / 4

interface Running {
  zone: Promise<FoundZone>
  /** Whose share it counts to. */
  client: string
  giveUp(): void
}

export interface LookupsOptions {
  lookup: ZoneLookup
  /** ms. */
  timeout: number
  stopped: AbortSignal
}

export class Lookups {
  readonly #options: LookupsOptions
  readonly #byApex = new Map<string, Running>()
  readonly #running = new Shares<Running>()
  /** Each question is an object of its own. */
  readonly #waiting = new Shares<object>()

  constructor(options: LookupsOptions) {
    this.#options = options
  }

  /** The zone of `apex`, asked for by the host at `address`. Throws what the lookup throws, and `timed_out`. */
  async find(apex: string, address: string): Promise<FoundZone> {
    const client = clientOf(address)
    if (this.#waiting.size >= MAX_WAITING || this.#waiting.countOf(client) >= MAX_WAITING_OF_ONE) {
      throw new P2pnsError('timed_out', 'Too many questions are waiting')
    }
    const question = {}
    this.#waiting.add(client, question)
    try {
      return await this.#share(apex, client).zone
    } finally {
      this.#waiting.delete(client, question)
    }
  }

  /** What is asked from now on is looked up anew. */
  clear(): void {
    this.#byApex.clear()
  }

  #share(apex: string, client: string): Running {
    const running = this.#byApex.get(apex)
    if (running === undefined) return this.#start(apex, client)
    // It goes to whoever is least likely to have to give it up, or a crowd would drag down those who ask for the same.
    if (this.#running.countOf(client) < this.#running.countOf(running.client)) {
      this.#running.delete(running.client, running)
      running.client = client
      this.#running.add(client, running)
    }
    return running
  }

  #start(apex: string, client: string): Running {
    if (this.#running.size >= MAX_LOOKUPS) this.#makeRoom(client)
    const ended = new AbortController()
    const zone = this.#timed(apex, ended).finally(() => this.#forget(apex, running))
    const running: Running = {
      zone,
      client,
      giveUp: () => {
        this.#forget(apex, running)
        ended.abort(tooMany())
      },
    }
    this.#byApex.set(apex, running)
    this.#running.add(client, running)
    return running
  }

  #makeRoom(client: string): void {
    const first = this.#running.first()
    if (first === undefined || this.#running.countOf(first.client) <= this.#running.countOf(client) + 1) throw tooMany()
    first.item.giveUp()
  }

  #forget(apex: string, running: Running): void {
    this.#running.delete(running.client, running)
    if (this.#byApex.get(apex) === running) this.#byApex.delete(apex)
  }

  /** Ends after the time allowed, or with `ended`, also when the lookup does not heed its signal. */
  async #timed(apex: string, ended: AbortController): Promise<FoundZone> {
    const { lookup, timeout, stopped } = this.#options
    const { promise: over, reject } = Promise.withResolvers<never>()
    ended.signal.addEventListener('abort', () => reject(ended.signal.reason as Error))
    const late = (): void => ended.abort(new P2pnsError('timed_out', `${apex} was not found within ${timeout} ms`))
    const timer = setTimeout(late, timeout)
    stopped.addEventListener('abort', late, { once: true })
    try {
      return await Promise.race([lookup(apex, { signal: ended.signal }), over])
    } finally {
      clearTimeout(timer)
      stopped.removeEventListener('abort', late)
    }
  }
}

function tooMany(): P2pnsError {
  return new P2pnsError('timed_out', 'Too many names are being looked up')
}
