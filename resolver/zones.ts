/**
 * From an apex such as `alice.p2p` to its zone:
 *
 *     known and fresh ──────────── at once
 *     nobody has it, lately ────── name_not_found, at once
 *     known and stale ──────────── looked up; what is known when that takes too long, and at once while nobody answers
 *     unknown ──────────────────── looked up
 */
import { LRUCache } from 'lru-cache'
import { isError } from '../node/core/errors.ts'
import type { FoundZone, KnownZone, ZoneLookup } from './answer.ts'
import { Lookups } from './lookups.ts'
import { inTime, Outage } from './outage.ts'

export interface ZonesOptions {
  lookup: ZoneLookup
  known: KnownZone | undefined
  /** How long a lookup may take, in ms. */
  timeout: number
  /** ms since 1970. */
  now: () => number
  stopped: AbortSignal
  /** Somebody answers again, after a time in which nobody did. */
  onBack: () => void
}

/** Names that nobody has: what stands below them needs no lookup either (RFC 8020). How many, and for how long in ms. */
const MAX_MISSING = 5_000
const MISSING_TIME = 30_000

export class Zones {
  readonly #options: ZonesOptions
  readonly #lookups: Lookups
  /** The error for an apex that nobody has, and until when it holds. */
  readonly #missing = new LRUCache<string, { error: unknown; until: number }>({ max: MAX_MISSING })
  readonly #outage = new Outage()
  /** Grows when all is forgotten: what was asked for before is not kept any more. */
  #generation = 0

  constructor(options: ZonesOptions) {
    this.#options = options
    const { timeout, stopped } = options
    this.#lookups = new Lookups({ lookup: (...asked) => this.#lookUp(...asked), timeout, stopped })
  }

  /** For the host at `address`. Throws what the lookup throws, and `timed_out`. */
  async find(apex: string, address: string): Promise<FoundZone> {
    const known = await this.#options.known?.(apex).catch(() => undefined)
    if (known !== undefined && !known.stale) return known
    const missing = this.#missing.get(apex)
    if (missing && this.#options.now() < missing.until) throw missing.error
    const generation = this.#generation
    const found = this.#lookups.find(apex, address)
    try {
      if (known === undefined) return await found
      if (!this.#outage.gone) return (await inTime(found)) ?? known
      found.catch(() => undefined)
      return known
    } catch (error) {
      if (isError(error, 'name_not_found') && generation === this.#generation) {
        this.#missing.set(apex, { error, until: this.#options.now() + MISSING_TIME })
      }
      if (known !== undefined && isError(error, 'timed_out')) return known
      throw error
    }
  }

  /** What is asked from now on is looked up anew. */
  clear(): void {
    this.#generation++
    this.#lookups.clear()
    this.#missing.clear()
  }

  /** What comes back stale, or not in time, was answered by nobody. */
  async #lookUp(apex: string, options: { signal: AbortSignal }): Promise<FoundZone> {
    try {
      const found = await this.#options.lookup(apex, options)
      if (found.stale) this.#outage.unanswered()
      else this.#answered()
      return found
    } catch (error) {
      if (isError(error, 'name_not_found')) this.#answered()
      if (isError(error, 'timed_out', 'network_unreachable', 'peer_unreachable')) this.#outage.unanswered()
      throw error
    }
  }

  #answered(): void {
    const wasGone = this.#outage.gone
    this.#outage.answered()
    if (wasGone) this.#options.onBack()
  }
}
