/**
 * A computer that may stop at any moment and come back with what is on its disk. A program on it waits only for its
 * disk, for the network and for time, and at each of these the power may fail: what the old life waited for never comes.
 */
import type { Table } from '../../node/store.ts'
import type { World } from './world.ts'

/** What may happen to a machine and between two; each run draws its own. */
export interface Faults {
  /** Probability that a message is lost, each way. */
  loss: number
  /** Milliseconds that a message takes at most. */
  delay: number
  /** Probability that a request comes twice. */
  twice: number
  /** Probability that the machine stops at one of its awaits. */
  crash: number
}

export const CALM: Faults = { loss: 0, delay: 50, twice: 0, crash: 0 }

export class Machine {
  readonly world: World
  readonly name: string
  /** Milliseconds that its clock is ahead of the true time. */
  skew = 0
  isUp = true
  faults: Faults
  /** Where it stands while the network is split. */
  side: 'left' | 'right' | 'both' = 'both'
  readonly #disk = new Map<string, Map<string, unknown>>()
  #life = 0
  #boot: () => void = () => {}

  constructor(world: World, name: string, faults: Faults) {
    this.world = world
    this.name = name
    this.faults = faults
  }

  readonly now = (): number => this.world.now() + this.skew

  note(what: string): void {
    this.world.note(this.name, what)
  }

  /** Runs `boot` now, and again after every crash. */
  start(boot: () => void): void {
    this.#boot = boot
    boot()
  }

  /**
   * Runs `program` from its start after every crash, until it has come to its end once; its result is then the one that counts.
   */
  runToEnd<T>(program: () => Promise<T>): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>()
    this.start(() => {
      void this.alive(program()).then(
        (value) => {
          this.#boot = () => {}
          resolve(value)
        },
        (error: unknown) => {
          this.#boot = () => {}
          reject(error)
        },
      )
    })
    return promise
  }

  crash(): void {
    if (!this.isUp) return
    this.isUp = false
    this.#life++
    const away = this.world.random.between(10, 20_000)
    this.note(`crashes, for ${away} ms`)
    this.world.after(away, () => {
      this.isUp = true
      this.note('is back')
      this.#boot()
    })
  }

  /** What this life waits for: nothing comes of it in the next. */
  alive<T>(promise: Promise<T>): Promise<T> {
    const life = this.#life
    return new Promise((resolve, reject) => {
      promise.then(
        (value) => {
          if (life === this.#life) resolve(value)
        },
        (error: unknown) => {
          if (life === this.#life) reject(error)
        },
      )
    })
  }

  /** An await that costs up to `ms`, at which the machine may stop. */
  async pause(ms: number): Promise<void> {
    await this.alive(this.world.wait(this.world.random.between(0, ms)))
    if (!this.world.random.chance(this.faults.crash)) return
    this.crash()
    await new Promise<never>(() => {})
  }

  wait(ms: number): Promise<void> {
    return this.alive(this.world.wait(ms))
  }

  /** A table on its disk. A write is there for good at one moment, and may be so without having been acknowledged. */
  table<T>(name: string): Table<T> {
    const rows = (this.#disk.get(name) ?? new Map()) as Map<string, T>
    this.#disk.set(name, rows)
    const life = this.#life
    const step = async <R>(work: () => R): Promise<R> => {
      await this.pause(2)
      if (life !== this.#life) return new Promise<never>(() => {})
      const result = work()
      await this.pause(2)
      return result
    }
    return {
      get: (key) => step(() => structuredClone(rows.get(key))),
      put: (key, value) => step(() => void rows.set(key, structuredClone(value))),
      delete: (key) => step(() => void rows.delete(key)),
      async *entries() {
        yield* await step(() => [...rows].map(([key, value]) => [key, structuredClone(value)] as [string, T]))
      },
      clear: () => step(() => rows.clear()),
    }
  }

  /** As if its disk had been replaced by an empty one. */
  loseDisk(): void {
    for (const rows of this.#disk.values()) rows.clear()
  }
}
