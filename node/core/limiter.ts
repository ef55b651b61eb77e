/** Bytes a second, as a token bucket that may go into debt: whoever takes more than there is waits, and then may go. */

/** Milliseconds of the rate that may go at once after a pause. */
const BURST = 250
const MIN_BURST = 256 * 1024

export class Limiter {
  readonly #now: () => number
  readonly #parent: Limiter | undefined
  #rate: number | undefined
  #tokens = 0
  #filledAt: number

  /** `rate`: bytes a second; undefined: none. `now`: milliseconds. What is taken here is taken from `parent`, too. */
  constructor(rate: number | undefined, now: () => number, parent?: Limiter) {
    this.#now = now
    this.#parent = parent
    this.#rate = rate
    this.#filledAt = now()
    this.#tokens = this.#burst
  }

  /** Bytes a second, its own and those above it; undefined: no limit. */
  get rate(): number | undefined {
    const above = this.#parent?.rate
    return this.#rate === undefined || above === undefined ? (this.#rate ?? above) : Math.min(this.#rate, above)
  }

  set(rate: number | undefined): void {
    this.#rate = rate
    this.#filledAt = this.#now()
    this.#tokens = Math.min(this.#tokens, this.#burst)
  }

  /** Takes `bytes`; milliseconds until they may go, 0 for now. */
  reserve(bytes: number): number {
    return Math.max(this.#take(bytes), this.#parent?.reserve(bytes) ?? 0)
  }

  get #burst(): number {
    return this.#rate === undefined ? 0 : Math.max(MIN_BURST, (this.#rate * BURST) / 1000)
  }

  #take(bytes: number): number {
    if (this.#rate === undefined) return 0
    const now = this.#now()
    this.#tokens = Math.min(this.#burst, this.#tokens + ((now - this.#filledAt) / 1000) * this.#rate)
    this.#filledAt = now
    this.#tokens -= bytes
    return this.#tokens >= 0 ? 0 : Math.ceil((-this.#tokens / this.#rate) * 1000)
  }
}
