/**
 * Who is given to, when more want than there are places: those who give most (tit-for-tat, Cohen 2003), and one at random
 * whose turn comes round, so that newcomers get something to give. Whoever has everything gives to those who take fastest.
 */

/** Milliseconds between two judgements. */
export const CHOKE_ROUND = 10_000
/** Judgements that the random one keeps its place. */
const OPTIMISTIC_ROUNDS = 3

/** Of the time since the last judgement. */
export interface Dealings {
  /** Bytes that went to the peer, and that came from it. */
  given: number
  got: number
  /** It asks, or would. */
  interested: boolean
}

export interface ChokeOptions {
  /** Peers that are given to at a time. */
  slots: () => number
  /** A whole number from 0 to `end - 1`. */
  random: (end: number) => number
}

export class Choker<Peer> {
  readonly #options: ChokeOptions
  readonly #open = new Set<Peer>()
  readonly #peers = new Set<Peer>()
  #optimistic: Peer | undefined
  #rounds = 0

  constructor(options: ChokeOptions) {
    this.#options = options
  }

  /** A newcomer; whether there is a place for it at once. */
  add(peer: Peer): boolean {
    this.#peers.add(peer)
    if (this.#open.size >= this.#options.slots()) return false
    this.#open.add(peer)
    return true
  }

  remove(peer: Peer): void {
    this.#peers.delete(peer)
    this.#open.delete(peer)
    if (this.#optimistic === peer) this.#optimistic = undefined
  }

  /** Somebody who waited and has a free place now; undefined: there is no place, or nobody waits. */
  fill(): Peer | undefined {
    if (this.#open.size >= this.#options.slots()) return undefined
    const waiting = [...this.#peers].filter((other) => !this.#open.has(other))
    const next = waiting[this.#options.random(Math.max(1, waiting.length))]
    if (next !== undefined) this.#open.add(next)
    return next
  }

  isOpen(peer: Peer): boolean {
    return this.#open.has(peer)
  }

  /** `wanting`: something is wanted in return. */
  round(dealings: (peer: Peer) => Dealings, wanting: boolean): { unchoke: Peer[]; choke: Peer[] } {
    const slots = this.#options.slots()
    const known = [...this.#peers].map((peer) => ({ peer, ...dealings(peer) }))
    const interested = known.filter((row) => row.interested)
    const best = interested.toSorted((a, b) => (wanting ? b.got - a.got : b.given - a.given) || b.given - a.given)
    const next = new Set(best.slice(0, Math.max(1, slots - 1)).map(({ peer }) => peer))
    const others = best.filter(({ peer }) => !next.has(peer)).map(({ peer }) => peer)
    this.#optimistic = this.#turn(others)
    if (this.#optimistic !== undefined) next.add(this.#optimistic)
    // Who wants nothing keeps its place until somebody needs it.
    for (const { peer } of known) {
      if (next.size < slots && this.#open.has(peer)) next.add(peer)
    }
    const unchoke = [...next].filter((peer) => !this.#open.has(peer))
    const choke = [...this.#open].filter((peer) => !next.has(peer))
    for (const peer of unchoke) this.#open.add(peer)
    for (const peer of choke) this.#open.delete(peer)
    return { unchoke, choke }
  }

  #turn(others: Peer[]): Peer | undefined {
    const keep = this.#optimistic !== undefined && others.includes(this.#optimistic)
    if (keep && ++this.#rounds < OPTIMISTIC_ROUNDS) return this.#optimistic
    this.#rounds = 0
    const waiting = others.filter((peer) => peer !== this.#optimistic)
    return waiting[this.#options.random(Math.max(1, waiting.length))] ?? (keep ? this.#optimistic : undefined)
  }
}
