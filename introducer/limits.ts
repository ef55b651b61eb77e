/** How many new names one source may be given in a day: the work of a claim alone does not keep anybody from taking all. */
import { LRUCache } from 'lru-cache'
import { P2pnsError } from '../node/core/errors.ts'

export { addressBlock } from '../node/core/hosts.ts'

/**
 * New names a day. A family or a small office stands behind one address and needs a few in its life; 20 lets a class or a
 * workshop begin together, and keeps whoever rents one block of addresses below 10,000 a year.
 */
export const MAX_PER_DAY = 20
/** Some 10 MB when full. Who can use more blocks than this in a day is not held up by a limit per block. */
const MAX_SOURCES = 100_000
const DAY_MS = 86_400_000

export interface DailyLimit {
  /** Counts one more for `source`. Errors: limit_reached. */
  take(source: string): void
}

/**
 * Counts in memory, by UTC day: a restart begins anew, since nobody outside can cause one, and no stranger makes this machine write.
 */
export function dailyLimit(now: () => number): DailyLimit {
  const limit = windowLimit({ now, length: DAY_MS, max: MAX_PER_DAY })
  return {
    take(source) {
      if (limit.take(source)) return
      throw new P2pnsError('limit_reached', `${MAX_PER_DAY} new names were witnessed for ${source} today`)
    },
  }
}

export interface WindowLimit {
  /** Counts `amount` more for `source`; false, and nothing is counted, when that would be too much. */
  take(source: string, amount?: number): boolean
}

/** At most `max` of each source in each window of `length` milliseconds; `now`: milliseconds since 1970. */
export function windowLimit({ now, length, max }: { now: () => number; length: number; max: number }): WindowLimit {
  const taken = new LRUCache<string, number>({ max: MAX_SOURCES })
  let window = 0
  return {
    take(source, amount = 1) {
      const current = Math.floor(now() / length)
      if (current !== window) taken.clear()
      window = current
      const count = (taken.get(source) ?? 0) + amount
      if (count > max) return false
      taken.set(source, count)
      return true
    },
  }
}
