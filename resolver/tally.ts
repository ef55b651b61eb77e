/** What a resolver did. Each of its threads counts in memory of its own, and whoever wants to know adds them up. */

/** Where an answer came from: what is kept and fresh, what is kept and past its time, what had to be found, or our own word (a refusal, an error). */
export type Source = 'cached' | 'stale' | 'found' | 'refused'

/** Since the start. */
export interface ResolverStats {
  /** Questions that were answered: the sum of the next four. */
  queries: number
  /** Answered from what is kept. */
  hits: number
  /** The same, past its time (RFC 8767). */
  stale: number
  /** A zone or an upstream was asked, or at least the store of the node. */
  misses: number
  /** Answered with an error that needs no lookup. */
  refused: number
  /** Packets that deserved no answer. */
  dropped: number
  /** Zones that were looked up. */
  lookups: number
  /** Questions for names that are not ours, whether an upstream had to be asked or not. */
  forwarded: number
  /** Answers by their code, such as `NXDOMAIN`; those that came up. */
  rcodes: Record<string, number>
  /** Seconds from a question to its answer. */
  times: Times
  /** Whether many datagrams are taken at once. */
  batched: boolean
}

export interface Times {
  count: number
  sum: number
  /** How many took at most so many seconds, for each of `BOUNDS`. */
  upTo: number[]
  /** Half of them, and 95 of 100, took at most so long; interpolated between two bounds. */
  p50: number
  p95: number
}

/** Upper bounds in seconds; whatever took longer has a place of its own behind them. */
export const BOUNDS = [1, 2, 5]
  .flatMap((digit) => [-5, -4, -3, -2, -1, 0].map((power) => digit * 10 ** power))
  .sort((a, b) => a - b)

/** Each a place in the memory of a tally. */
const PLACES = { cached: 0, stale: 1, found: 2, refused: 3, dropped: 4, lookups: 5, forwarded: 6, seconds: 7 } as const
const RCODES_AT = 8
/** Codes beyond those that we know count as the last. */
const RCODES = 25
const TIMES_AT = RCODES_AT + RCODES
const LENGTH = TIMES_AT + BOUNDS.length + 1
export const TALLY_BYTES = LENGTH * Float64Array.BYTES_PER_ELEMENT

/** RFC 6895 section 2.3. */
const RCODE_NAMES = [
  'NOERROR',
  'FORMERR',
  'SERVFAIL',
  'NXDOMAIN',
  'NOTIMP',
  'REFUSED',
  'YXDOMAIN',
  'YXRRSET',
  'NXRRSET',
  'NOTAUTH',
  'NOTZONE',
]
const EXTENDED_NAMES: Record<number, string> = { 16: 'BADVERS', 23: 'BADCOOKIE' }

export function rcodeName(rcode: number): string {
  return RCODE_NAMES[rcode] ?? EXTENDED_NAMES[rcode] ?? `RCODE${rcode}`
}

export class Tally {
  readonly #numbers: Float64Array

  /** Written by one thread alone; others may read it while they can bear to see a number a moment late. */
  constructor(memory: ArrayBufferLike = new ArrayBuffer(TALLY_BYTES)) {
    this.#numbers = new Float64Array(memory)
  }

  answered(source: Source, rcode: number): void {
    this.#add(PLACES[source], 1)
    this.#add(RCODES_AT + Math.min(rcode, RCODES - 1), 1)
  }

  /** `times` answers took `seconds` each. */
  took(seconds: number, times = 1): void {
    this.#add(PLACES.seconds, seconds * times)
    const found = BOUNDS.findIndex((bound) => seconds <= bound)
    this.#add(TIMES_AT + (found < 0 ? BOUNDS.length : found), times)
  }

  count(what: 'dropped' | 'lookups' | 'forwarded'): void {
    this.#add(PLACES[what], 1)
  }

  #add(at: number, by: number): void {
    this.#numbers[at] = (this.#numbers[at] as number) + by
  }

  /** What all of them counted. */
  static sum(tallies: Tally[], batched: boolean): ResolverStats {
    const at = (place: number): number => tallies.reduce((sum, tally) => sum + (tally.#numbers[place] as number), 0)
    const [hits, stale, misses, refused] = [at(PLACES.cached), at(PLACES.stale), at(PLACES.found), at(PLACES.refused)]
    const rcodes = Array.from({ length: RCODES }, (_, rcode) => [rcodeName(rcode), at(RCODES_AT + rcode)] as const)
    return {
      queries: hits + stale + misses + refused,
      hits,
      stale,
      misses,
      refused,
      dropped: at(PLACES.dropped),
      lookups: at(PLACES.lookups),
      forwarded: at(PLACES.forwarded),
      rcodes: Object.fromEntries(rcodes.filter(([, count]) => count > 0)),
      times: timesFrom(
        [...BOUNDS, 0].map((_, i) => at(TIMES_AT + i)),
        at(PLACES.seconds),
      ),
      batched,
    }
  }
}

/** `counts`: how many fell between each two bounds. */
function timesFrom(counts: number[], sum: number): Times {
  let count = 0
  const upTo = counts.map((some) => (count += some))
  const quantile = (share: number): number => {
    const wanted = count * share
    const i = upTo.findIndex((reached) => reached >= wanted)
    const [low, high] = [BOUNDS[i - 1] ?? 0, BOUNDS[i] ?? BOUNDS.at(-1) ?? 0]
    return count === 0 ? 0 : low + ((high - low) * (wanted - (upTo[i - 1] ?? 0))) / (counts[i] as number)
  }
  return { count, sum, upTo: upTo.slice(0, -1), p50: quantile(0.5), p95: quantile(0.95) }
}
