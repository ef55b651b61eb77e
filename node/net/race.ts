/** Paths that are tried at once. One that brings a link ends those that could bring none that is better. */
import type { Duplex } from 'node:stream'
import { setTimeout } from 'node:timers/promises'
import { scopeOf } from '../core/hosts.ts'
import { type Path, rankOf } from '../core/path-rank.ts'
import type { Candidate, Ticket } from './link.ts'

/** A link to another peer: open, or to be dialled in whatever thread will own it; then `up` is to be told by which path. */
export type Way = OpenWay | { candidates: Candidate[]; ticket: Ticket; up?: (path: Path) => void }

export interface OpenWay {
  path: Path
  stream: Duplex
}

/** Milliseconds that another link waits for the one that is dialled to the peer itself, which may be up at any moment. */
const HOLD = 250

interface Attempt {
  path: Path
  stop: AbortController
}

export class Race {
  readonly #signal: AbortSignal
  readonly #running = new Set<Attempt>()
  readonly #found: Way[] = []
  /** A near place to dial was handed out, and whether it works is not known. */
  #isDialling = false
  readonly #decided = Promise.withResolvers<void>()
  #best = Number.POSITIVE_INFINITY
  #change = Promise.withResolvers<void>()
  #over = false

  constructor(signal: AbortSignal) {
    this.#signal = signal
  }

  begin(path: Path, work: (signal: AbortSignal) => Promise<unknown>): void {
    const attempt = { path, stop: new AbortController() }
    this.#running.add(attempt)
    work(AbortSignal.any([this.#signal, attempt.stop.signal]))
      // Another path may work.
      .catch(() => undefined)
      .finally(() => {
        this.#running.delete(attempt)
        this.#change.resolve()
      })
  }

  /** Hands out where a link can be dialled. Somebody near answers at once, if ever. */
  dial(candidates: Candidate[], ticket: Ticket): void {
    this.#isDialling = candidates.some(({ host }) => scopeOf(host) !== 'public')
    this.#hand({ candidates, ticket, up: (path) => this.up(path) })
  }

  /** Hands out a link, unless a better one comes at once: that has a thread of its own, and this one shares one with all. */
  opened(way: OpenWay): void {
    if (!this.#isDialling) return this.#take(way)
    this.begin(way.path, async () => {
      const held = setTimeout(HOLD, undefined, { signal: this.#signal }).catch(() => undefined)
      await Promise.race([held, this.#decided.promise])
      if (this.#best < rankOf(way.path)) way.stream.destroy()
      else this.#take(way)
    })
  }

  /** A link is up by that path. */
  up(path: Path): void {
    this.#isDialling = false
    this.#best = Math.min(this.#best, rankOf(path))
    this.#decided.resolve()
    for (const attempt of this.#running) if (rankOf(attempt.path) >= rankOf(path)) attempt.stop.abort()
    this.#change.resolve()
  }

  /** What was handed out, until nothing runs any more. What comes later is closed: nobody would ever know of it. */
  async *ways(): AsyncGenerator<Way> {
    try {
      for (;;) {
        const way = this.#found.shift()
        if (way) yield way
        else if (this.#running.size === 0) return
        else {
          await this.#change.promise
          this.#change = Promise.withResolvers()
        }
      }
    } finally {
      this.#over = true
      for (const { stop } of this.#running) stop.abort()
      for (const way of this.#found) discard(way)
    }
  }

  #take(way: OpenWay): void {
    this.up(way.path)
    this.#hand(way)
  }

  #hand(way: Way): void {
    if (this.#over) return discard(way)
    this.#found.push(way)
    this.#change.resolve()
  }
}

function discard(way: Way): void {
  if ('stream' in way) way.stream.destroy()
}
