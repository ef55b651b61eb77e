/** Whether a peer that owes something brings it: looked at often, with patience for one that is slow at the moment. */

/** Looks, at least, in the time after which one that brings nothing is given up; and milliseconds between two, at most. */
const LOOKS = 5
const LOOK_EVERY = 500
/** Bytes a second: less is nothing. */
const MIN_RATE = 2 * 1024
/** Bytes a second: less is slow, and somebody else may be asked for the same. */
const FAIR_RATE = 64 * 1024
/** Milliseconds in which nothing at all came of what a peer owes, before another way to it is looked for. */
const SILENCE = 2_000

export interface WatchEvents {
  /** It brought next to nothing for too long. */
  stalled(): void
  /** What it brought lately is little (`true`), or enough again (`false`). */
  slow(slow: boolean): void
}

export class Watch {
  readonly #events: WatchEvents
  readonly #stall: number
  readonly #interval: number
  readonly #timer: NodeJS.Timeout
  #owes = true
  /** Bytes of what it owed, in all, and when last looked at. */
  #received = 0
  #seen = 0
  /** Milliseconds that it may go on bringing next to nothing. */
  #patience: number
  #slowFor = 0
  #silentFor = 0

  /** `stall`: milliseconds of next to nothing that are too long. */
  constructor(stall: number, events: WatchEvents) {
    this.#stall = stall
    this.#events = events
    this.#patience = stall
    this.#interval = Math.min(LOOK_EVERY, stall / LOOKS)
    this.#timer = setTimeout(() => this.#look(), this.#interval)
  }

  get owes(): boolean {
    return this.#owes
  }

  set owes(owes: boolean) {
    if (owes && !this.#owes) this.afresh()
    this.#owes = owes
  }

  /** Milliseconds for which it has been slow. */
  get slowFor(): number {
    return this.#slowFor
  }

  /** It may be gone without a word. */
  get silent(): boolean {
    return this.#silentFor >= SILENCE
  }

  /** `bytes`: of what it owed, in all. */
  received(bytes: number): void {
    this.#received = bytes
  }

  /** Nothing counts that was before. */
  afresh(): void {
    this.#silentFor = 0
    this.#seen = this.#received
    this.#patience = this.#stall
    this.#timer.refresh()
  }

  stop(): void {
    clearTimeout(this.#timer)
  }

  #look(): void {
    const rate = ((this.#received - this.#seen) / this.#interval) * 1000
    this.#seen = this.#received
    this.#silentFor = this.#owes && rate === 0 ? this.#silentFor + this.#interval : 0
    const left = this.#owes ? this.#patience + this.#interval * (rate / MIN_RATE - 1) : this.#stall
    this.#patience = Math.min(this.#stall, left)
    if (this.#patience <= 0) return this.#events.stalled()
    this.#timer.refresh()
    const slow = this.#owes && rate < FAIR_RATE
    if (!slow && this.#slowFor === 0) return
    this.#slowFor = slow ? this.#slowFor + this.#interval : 0
    this.#events.slow(slow)
  }
}
