/** What is written down of a swarm without wires. */
import type { Run } from '../../node/files/layout.ts'
import type { Peer } from './swarm-peers.ts'

export interface Outcome {
  /** Milliseconds until each had everything; undefined: it never had. */
  done: (number | undefined)[]
  /** Chunks that each gave. */
  given: number[]
  /** Chunks that came and were of no use. */
  wasted: number
  /** When the peers that had something from the start had given each chunk once, and how many chunks they had given then. */
  firstCopy: { at: number; given: number }
  /** A digest of all that happened. */
  course: number
  events: number
}

export class SwarmLedger {
  readonly outcome: Outcome
  readonly #peers: readonly Peer[]
  /** Chunks that no peer which had them from the start has given. */
  readonly #ungiven: Set<number>

  constructor(peers: readonly Peer[], chunks: number) {
    this.#peers = peers
    this.#ungiven = new Set(Array(chunks).keys())
    this.outcome = {
      done: peers.map(() => undefined),
      given: [],
      wasted: 0,
      firstCopy: { at: Number.POSITIVE_INFINITY, given: 0 },
      course: 0,
      events: 0,
    }
  }

  note(now: number, ...what: number[]): void {
    const { outcome } = this
    for (const part of [Math.round(now * 1000), ...what]) {
      outcome.course = Math.imul(outcome.course ^ part, 0x01000193)
      outcome.course = (outcome.course ^ (outcome.course >>> 15)) >>> 0
    }
  }

  gave(now: number, { plan: { has } }: Peer, chunk: number): void {
    if (!has || chunk < has.first || chunk >= has.first + has.count) return
    if (!this.#ungiven.delete(chunk) || this.#ungiven.size > 0) return
    const given = this.#peers.reduce((sum, { plan, given }) => sum + (plan.has ? given : 0), 0)
    this.outcome.firstCopy = { at: now, given }
  }

  /** Whether each of these was given once. */
  hasGiven(run: Run | undefined): boolean {
    if (!run) return false
    for (let chunk = run.first; chunk < run.first + run.count; chunk++) if (this.#ungiven.has(chunk)) return false
    return true
  }

  close(): Outcome {
    return { ...this.outcome, given: this.#peers.map(({ given }) => given) }
  }
}
