/** Lets so many through at the same time; the others wait their turn. */
export class Gate {
  #free: number
  /** In the order in which they came. */
  readonly #waiting = new Set<() => void>()

  constructor(places: number) {
    this.#free = places
  }

  /** Answers how to leave, which counts once. Rejects with the reason of `signal` when it ends the wait. */
  async enter(signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted()
    if (this.#free > 0) this.#free--
    else await this.#wait(signal)
    let inside = true
    return () => {
      if (!inside) return
      inside = false
      const [first] = this.#waiting
      if (first) first()
      else this.#free++
    }
  }

  async #wait(signal: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const enter = (): void => {
      this.#waiting.delete(enter)
      resolve()
    }
    const giveUp = (): void => {
      // False: its turn came in the same moment, and the place is its own.
      if (this.#waiting.delete(enter)) reject(signal.reason as Error)
    }
    this.#waiting.add(enter)
    signal.addEventListener('abort', giveUp, { once: true })
    try {
      await promise
    } finally {
      signal.removeEventListener('abort', giveUp)
    }
  }
}
