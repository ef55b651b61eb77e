/** How fast a link is, from what comes on it: its rate, its round trip, and how far ahead it should be asked. */
import { CHUNK_SIZE } from '../core/tree.ts'

/** Milliseconds over which a rate is measured. */
const RATE_TIME = 500
/**
 * Seconds of its rate that a peer is asked for at least, whatever its round trip; and chunks. Somebody who has everything chooses
 * what to send first (upload-order.ts), and wants a choice; somebody who has a part gives each chunk the sooner, the shorter his queue is.
 */
const SEED = { ahead: 0.5, least: 8 }
const PARTIAL = { ahead: 0.25, least: 2 }
/** Chunks that any peer may owe; more than 1024 a peer would not take. */
export const MAX_PIPELINE = 256

export class Meter {
  #rate = 0
  /** Since when, and from which count on, the next rate is measured. */
  #mark = { at: performance.now(), received: 0 }
  /** When it was asked while it owed nothing; and the shortest that such an answer took. */
  #askedAt: number | undefined
  #roundTrip: number | undefined

  /** It was asked for something, and owed nothing. */
  asked(): void {
    this.#askedAt = performance.now()
  }

  /** `bytes` in all. */
  received(bytes: number): void {
    const now = performance.now()
    if (this.#askedAt !== undefined) {
      this.#roundTrip = Math.min(this.#roundTrip ?? Number.POSITIVE_INFINITY, now - this.#askedAt)
      this.#askedAt = undefined
    }
    const elapsed = now - this.#mark.at
    if (elapsed < RATE_TIME) return
    const latest = ((bytes - this.#mark.received) / elapsed) * 1000
    // What a pause of ours left out says nothing of the peer.
    this.#rate = this.#rate === 0 || elapsed > 4 * RATE_TIME ? latest : (this.#rate + latest) / 2
    this.#mark = { at: now, received: bytes }
  }

  /** Bytes a second, lately. */
  get rate(): number {
    return performance.now() - this.#mark.at > 4 * RATE_TIME ? 0 : this.#rate
  }

  /** Chunks: twice the bandwidth-delay product, so that the link is never idle. */
  pipeline(hasAll: boolean): number | undefined {
    if (this.rate === 0) return undefined
    const { ahead, least } = hasAll ? SEED : PARTIAL
    const seconds = Math.max((2 * (this.#roundTrip ?? 0)) / 1000, ahead)
    return Math.min(MAX_PIPELINE, Math.max(least, Math.ceil((this.rate * seconds) / CHUNK_SIZE)))
  }
}
