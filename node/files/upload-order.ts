/**
 * In which order what several peers ask for is sent: what was sent least often comes first, so that a seeder with a thin
 * uplink gives each chunk away once before it gives any twice, and its peers get the rest from each other.
 */
import type { Run } from './layout.ts'

/** Runs looked at for the next one: those that were asked for longest ago. */
const LOOK_AHEAD = 64

export class UploadOrder {
  /** How often each chunk was sent, up to 255. */
  readonly #sent: Uint8Array

  /** `end`: one more than the highest chunk number. */
  constructor(end: number) {
    this.#sent = new Uint8Array(end)
  }

  /** The chunk of `queue` to send next: the least often sent one, at equal counts the one asked for first. */
  pick(queue: readonly Run[]): number {
    let best = queue[0]?.first ?? 0
    let looked = 0
    for (const { first, count } of queue) {
      for (let chunk = first; chunk < first + count; chunk++) {
        if (this.#of(chunk) < this.#of(best)) best = chunk
        if (this.#of(best) === 0 || ++looked >= LOOK_AHEAD) return best
      }
    }
    return best
  }

  sent(chunk: number): void {
    if (this.#of(chunk) < 255) this.#sent[chunk] = this.#of(chunk) + 1
  }

  #of(chunk: number): number {
    return this.#sent[chunk] as number
  }
}
