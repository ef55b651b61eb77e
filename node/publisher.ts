/**
 * Keeps published records alive. The network forgets a value after 48 h and nothing there republishes it, so what this
 * home has published is kept in its store and put again every few hours, also after a restart.
 */
import { type Bytes, fromHex, toHex } from './core/encoding.ts'
import { isError } from './core/errors.ts'
import { keyedLocks } from './net/locks.ts'
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
  /** One writer per row: whether it is still the same and what becomes of it is one step. */
  readonly #oneAtATime = keyedLocks()
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
    const row = toHex(key)
    await this.#oneAtATime(row, () => this.#table.put(row, { value: toHex(value), storedAt: 0 }))
    return this.#put(key, value, signal)
  }

  /** Whether exactly this was published last under `key`: a crash may have come between signing and publishing. */
  async holds(key: Bytes, value: Bytes): Promise<boolean> {
    return (await this.#table.get(toHex(key)))?.value === toHex(value)
  }

  /** Keeps what is under `key` alive no longer: the network forgets it by itself. */
  async withdraw(key: Bytes): Promise<void> {
    const row = toHex(key)
    await this.#oneAtATime(row, () => this.#table.delete(row))
  }

  /** Puts everything again at once, since this node may have been away for days, then whatever is due. */
  start(): void {
    const check = (age: number) => {
      this.#running ??= this.#republish(age)
        // The disk failed: it may do again at the next check.
        .catch(() => {})
        .finally(() => {
          this.#running = undefined
        })
    }
    check(0)
    this.#timer = setInterval(() => check(REPUBLISH_MS), CHECK_MS)
    this.#timer.unref()
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer)
    this.#stopped.abort()
    await this.#running
  }

  /** Puts again what was stored longer than `age` ms ago, or never. One that fails is tried again at the next check. */
  async #republish(age: number): Promise<void> {
    for await (const [row] of this.#table.entries()) {
      if (this.#stopped.signal.aborted) return
      await this.#refresh(row, age).catch(() => {})
    }
  }

  async #refresh(row: string, age: number): Promise<void> {
    // Not as the iteration gave it: that may be a picture from before something newer was published.
    const published = await this.#table.get(row)
    if (published === undefined) return
    const since = this.#now() - published.storedAt
    // A time that is still to come was written while the clock was ahead.
    if (since >= 0 && since < age) return
    try {
      await this.#put(fromHex(row), fromHex(published.value), this.#stopped.signal)
    } catch (error) {
      // The network holds a newer one of another machine of the same owner, or its lease has ended: it has no more use.
      if (!isError(error, 'record_older', 'lease_expired')) throw error
      await this.#oneAtATime(row, async () => {
        if ((await this.#table.get(row))?.value === published.value) await this.#table.delete(row)
      })
    }
  }

  async #put(key: Bytes, value: Bytes, signal?: AbortSignal): Promise<number> {
    const stored = await this.#network.put(key, value, signal)
    const row = toHex(key)
    await this.#oneAtATime(row, async () => {
      const isCurrent = (await this.#table.get(row))?.value === toHex(value)
      if (stored > 0 && isCurrent) await this.#table.put(row, { value: toHex(value), storedAt: this.#now() })
    })
    return stored
  }
}
