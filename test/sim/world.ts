/**
 * A world in which time passes only when everybody waits. Its clock jumps from event to event, so that hours take
 * milliseconds, and one seed decides everything: what is random is drawn from `random`, and what happens at the same
 * time happens in the order in which it was planned.
 */
import { START } from '../helpers/leases.ts'
import { Random } from './random.ts'

interface Event {
  at: number
  order: number
  work: () => void
}

/** More events than any scenario needs: a run that comes so far goes in circles. */
const MAX_EVENTS = 400_000
/** The real one, before a run takes it away: after it, whatever waits for nothing but promises has run. */
const { setImmediate } = globalThis

export class World {
  readonly random: Random
  /** What happened, for whoever has to understand a run that failed. */
  readonly log: string[] = []
  #time = START * 1000
  /** Sorted, the next one last. */
  readonly #events: Event[] = []
  #planned = 0

  constructor(seed: number) {
    this.random = new Random(seed)
  }

  /** The true time, milliseconds since 1970. */
  readonly now = (): number => this.#time

  note(who: string, what: string): void {
    this.log.push(`${((this.#time - START * 1000) / 1000).toFixed(3).padStart(12)} s  ${who.padEnd(12)} ${what}`)
  }

  /** Plans `work` for `ms` from now; the result takes it back. */
  after(ms: number, work: () => void): () => void {
    const event = { at: this.#time + Math.max(0, ms), order: this.#planned++, work }
    let low = 0
    let high = this.#events.length
    while (low < high) {
      const middle = (low + high) >> 1
      const other = this.#events[middle] as Event
      if (other.at > event.at || (other.at === event.at && other.order > event.order)) low = middle + 1
      else high = middle
    }
    this.#events.splice(low, 0, event)
    return () => {
      const at = this.#events.indexOf(event)
      if (at >= 0) this.#events.splice(at, 1)
    }
  }

  wait(ms: number): Promise<void> {
    return new Promise((resolve) => this.after(ms, resolve))
  }

  /** Lets time pass until `main` is done. What is still planned then never happens. */
  async run<T>(main: () => Promise<T>): Promise<T> {
    const restore = this.#takeTime()
    try {
      let outcome: { value: T } | { error: unknown } | undefined
      void main().then(
        (value) => {
          outcome = { value }
        },
        (error: unknown) => {
          outcome = { error }
        },
      )
      for (let events = 0; ; events++) {
        await new Promise((resolve) => setImmediate(resolve))
        if (outcome !== undefined) {
          if ('error' in outcome) throw outcome.error
          return outcome.value
        }
        const next = this.#events.pop()
        if (next === undefined) throw new Error('everybody waits, and nothing will ever happen')
        if (events === MAX_EVENTS) throw new Error(`not done after ${MAX_EVENTS} events`)
        this.#time = next.at
        next.work()
      }
    } finally {
      restore()
    }
  }

  /**
   * Timers of the real code run by this clock, and code that asks for a time or a random number that it was not handed
   * fails: a run that drew from elsewhere could not be replayed.
   */
  #takeTime(): () => void {
    const real = { setTimeout, clearTimeout, setInterval, clearInterval }
    const timeout = AbortSignal.timeout.bind(AbortSignal)
    const { now } = Date
    const { random } = Math
    const ends = new Set<() => void>()
    const forbid = (what: string) => () => {
      throw new Error(`${what} was called in a simulated run`)
    }
    Object.assign(globalThis, {
      setTimeout: (work: (...args: unknown[]) => void, ms = 0, ...args: unknown[]) =>
        new SimTimer(this, ms, false, () => work(...args)),
      setInterval: (work: (...args: unknown[]) => void, ms = 0, ...args: unknown[]) =>
        new SimTimer(this, ms, true, () => work(...args)),
      clearTimeout: (timer?: SimTimer) => timer?.cancel(),
      clearInterval: (timer?: SimTimer) => timer?.cancel(),
    })
    AbortSignal.timeout = (ms) => {
      const controller = new AbortController()
      const end = () => {
        ends.delete(end)
        controller.abort(new DOMException('The operation took too long', 'TimeoutError'))
      }
      ends.add(end)
      this.after(ms, end)
      return controller.signal
    }
    Date.now = forbid('Date.now')
    Math.random = forbid('Math.random')
    return () => {
      // Node keeps whoever listens to a signal that is made of others until it is aborted, and with it this whole world.
      for (const end of ends) end()
      Object.assign(globalThis, real)
      AbortSignal.timeout = timeout
      Date.now = now
      Math.random = random
    }
  }
}

/** As much of a timer of Node as real code uses. */
class SimTimer {
  #cancel: () => void = () => {}

  constructor(world: World, ms: number, repeats: boolean, work: () => void) {
    const plan = () => {
      this.#cancel = world.after(ms, () => {
        if (repeats) plan()
        work()
      })
    }
    plan()
  }

  cancel(): void {
    this.#cancel()
  }

  ref(): this {
    return this
  }

  unref(): this {
    return this
  }
}
