/** How many new names one source may be given in a day: the work of a claim alone does not keep anybody from taking all. */
import { LRUCache } from 'lru-cache'
import { P2pnsError } from '../node/core/errors.ts'
import { isNearby } from '../node/net/peers.ts'

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
  const taken = new LRUCache<string, number>({ max: MAX_SOURCES })
  let today = 0
  return {
    take(source) {
      const day = Math.floor(now() / DAY_MS)
      if (day !== today) taken.clear()
      today = day
      const count = taken.get(source) ?? 0
      if (count >= MAX_PER_DAY) {
        throw new P2pnsError('limit_reached', `${MAX_PER_DAY} new names were witnessed for ${source} today`)
      }
      taken.set(source, count + 1)
    },
  }
}

/**
 * The block of addresses that `host` (an IPv4 or IPv6 address) is in: what one customer of a provider has at least, /24 or /48.
 * Undefined for private addresses, which cost nothing and behind which, as with a container's proxy, everybody may stand.
 */
export function addressBlock(host: string): string | undefined {
  if (isNearby(host)) return undefined
  const plain = host.replace(/^::ffff:(?=\d+\.)/i, '')
  if (plain.includes('.')) return `${plain.split('.').slice(0, 3).join('.')}.0/24`
  return `${expanded(plain).slice(0, 3).join(':')}::/48`
}

/** The eight groups of an IPv6 address, without leading zeros. */
function expanded(address: string): string[] {
  const [head = '', tail] = address.toLowerCase().split('::')
  const groups = (text: string) => (text === '' ? [] : text.split(':'))
  const [left, right] = [groups(head), groups(tail ?? '')]
  const zeros = tail === undefined ? [] : Array.from({ length: 8 - left.length - right.length }, () => '0')
  return [...left, ...zeros, ...right].map((group) => group.replace(/^0+(?=.)/, ''))
}
