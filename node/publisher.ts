/**
 * Keeps published records alive. The network forgets a value after 48 h and nothing there republishes it, so what this
 * home has published is kept in its store and put again every few hours, also after a restart.
 */
import { type Bytes, fromHex, toHex } from './core/encoding.ts'
import { isError } from './core/errors.ts'
import type { RecordNetwork } from './net/record-network.ts'
import type { Table } from './store.ts'

export interface Published {
  value: string
  /** Milliseconds since 1970 of the last put that somebody took, 0 for none yet. */
  storedAt: number
}

const REPUBLISH_MS = 6 * 3600_000
/** How often the table is looked through; also how soon a put that nobody took is tried again. */
const CHECK_MS = 60_000

export class Publisher {
  readonly #table: Table<Published>
  readonly #network: RecordNetwork
  readonly #now: () => number
  #timer: NodeJS.Timeout | undefined
  #running: Promise<void> | undefined
  #stopped = new AbortController()

  constructor(table: Table<Published>, network: RecordNetwork, now: () => number) {
    this.#table = table
    this.#network = network
    this.#now = now
  }

  /** Stored here first, then on the network; resolves to how many others took it. Errors: record_older. */
  async publish(key: Bytes, value: Bytes, signal?: AbortSignal): Promise<number> {
    await this.#table.put(toHex(key), { value: toHex(value), storedAt: 0 })
    return this.#put(key, value, signal)
  }

  async forget(key: Bytes): Promise<void> {
    await this.#table.delete(toHex(key))
  }

  /** Puts everything again at once, since this node may have been away for days, then whatever is due. */
  start(): void {
    this.#running = this.#republish(0)
    this.#timer = setInterval(() => {
      this.#running = (this.#running ?? Promise.resolve()).then(() => this.#republish(REPUBLISH_MS))
    }, CHECK_MS)
    this.#timer.unref()
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer)
    this.#stopped.abort()
    await this.#running
  }

  /** Puts again what was stored longer than `age` ms ago, or never. */
  async #republish(age: number): Promise<void> {
    for await (const [key, { value, storedAt }] of this.#table.entries()) {
      if (this.#stopped.signal.aborted) return
      if (this.#now() - storedAt < age) continue
      try {
        await this.#put(fromHex(key), fromHex(value), this.#stopped.signal)
      } catch (error) {
        // The network holds a newer one, published by another machine of the same owner: ours has no more use.
        if (isError(error, 'record_older')) await this.#table.delete(key)
      }
    }
  }

  async #put(key: Bytes, value: Bytes, signal?: AbortSignal): Promise<number> {
    const stored = await this.#network.put(key, value, signal)
    const current = await this.#table.get(toHex(key))
    if (stored > 0 && current?.value === toHex(value)) {
      await this.#table.put(toHex(key), { value: toHex(value), storedAt: this.#now() })
    }
    return stored
  }
}
