/**
 * Which chunk to ask of whom, as a pure state machine. While everybody has everything, chunks go out in long runs, in order
 * from a place of chance; once some have a part only, the rarest come first (Cohen 2003), so that a seed gives what nobody
 * else has. A peer that has nothing new to give takes over what another owes far too much of; at the very end, or sooner
 * if it is much faster, an idle peer is asked for what another still owes, and whoever comes second is told to cancel. Who
 * is slow does not keep others from being asked. A chunk whose peer leaves is asked for again.
 */
import type { Bytes } from '../core/encoding.ts'
import type { Run } from './layout.ts'

const SETTLED = 0
const MISSING = 1
const ASKED = 2

/** Peers that are not slow and may owe the same chunk at a time. */
const MAX_ASKED = 2
/** Chunks that are left at the very end. */
const LAST = 4
/** How many times as fast a peer must be to be asked for what another owes before that. */
const MUCH_FASTER = 4
/** Chunks looked at for the rarest, from the first that will do. */
const SAMPLE = 512
/** What somebody owes more than the one who takes it over, at least. */
const WORTH_MOVING = 2

interface PeerState {
  /** undefined: everything. */
  bits: Bytes | undefined
  /** Chunks it owes, the one asked for last at the end. */
  owes: Set<number>
  slow: boolean
  /** In order: no chunk from the start up to this is missing and held by the peer. */
  cursor: number
  /** Nothing is missing that it has. */
  barren: boolean
}

export interface PickerOptions<Peer> {
  /** A whole number from 0 to `end - 1`. */
  random: (end: number) => number
  /** Bytes a second, lately. Default: nobody is faster than another. */
  rate?: (peer: Peer) => number
  /** Strictly in order from the first chunk, no further than `ahead` chunks before the reader. */
  ahead?: number
}

export interface Pick<Peer> {
  run: Run
  /** Peers that were asked for the run before; they do not owe it any more, and are to be told. */
  instead: Peer[]
}

export class Picker<Peer> {
  readonly #state: Uint8Array
  /** How many peers that have a part only have each chunk. */
  readonly #spread: Uint16Array
  readonly #peers = new Map<Peer, PeerState>()
  readonly #options: PickerOptions<Peer>
  /** Where the runs begin, and where they end. */
  readonly #start: number
  #reader: number
  #partials = 0
  #left = 0
  #missing = 0

  /** `end`: one more than the highest chunk number. */
  constructor(end: number, wanted: Iterable<Run>, options: PickerOptions<Peer>) {
    this.#state = new Uint8Array(end)
    this.#spread = new Uint16Array(end)
    this.#options = options
    for (const { first, count } of wanted) this.#state.fill(MISSING, first, first + count)
    for (const state of this.#state) this.#left += state
    this.#missing = this.#left
    this.#reader = Math.max(0, this.#state.indexOf(MISSING))
    this.#start = options.ahead === undefined ? options.random(Math.max(1, end)) : this.#reader
  }

  /** Chunks that are not settled. */
  get left(): number {
    return this.#left
  }

  /** Whether a chunk is wanted now that nobody was asked for; not while it is the reader who is waited for. */
  get isWanting(): boolean {
    const first = this.#state.indexOf(MISSING)
    return first >= 0 && first < this.#end
  }

  /** `bits`: a bit for each chunk, the first the highest of byte 0; undefined: it has everything. */
  add(peer: Peer, bits: Bytes | undefined): void {
    const own = bits && Uint8Array.from(bits)
    this.#peers.set(peer, { bits: own, owes: new Set(), slow: false, cursor: this.#start, barren: false })
    if (!own) return
    this.#partials++
    this.#count(own, 1)
  }

  remove(peer: Peer): void {
    const gone = this.#peers.get(peer)
    if (!gone) return
    this.#peers.delete(peer)
    for (const chunk of gone.owes) this.#giveBack(chunk)
    if (!gone.bits) return
    this.#partials--
    this.#count(gone.bits, -1)
  }

  /** The peer has more than before. */
  gained(peer: Peer, { first, count }: Run): void {
    const state = this.#peers.get(peer)
    if (!state?.bits) return
    for (let chunk = first; chunk < Math.min(first + count, this.#state.length); chunk++) {
      if (has(state, chunk)) continue
      state.bits[chunk >> 3] = (state.bits[chunk >> 3] as number) | (0x80 >> (chunk & 7))
      this.#spread[chunk] = (this.#spread[chunk] as number) + 1
      state.cursor = this.#nearer(state.cursor, chunk)
    }
    state.barren = false
  }

  /** Whether `peer` takes long over what it owes. */
  setSlow(peer: Peer, slow: boolean): void {
    const state = this.#peers.get(peer)
    if (state) state.slow = slow
  }

  /** The reader has come to `chunk`. */
  advance(chunk: number): void {
    this.#reader = Math.max(this.#reader, chunk)
  }

  owed(peer: Peer): number {
    return this.#peers.get(peer)?.owes.size ?? 0
  }

  /** Up to `limit` chunks in a row to ask `peer` for next; undefined when it has nothing of use. */
  next(peer: Peer, limit: number): Pick<Peer> | undefined {
    const state = this.#peers.get(peer)
    if (!state || limit < 1) return undefined
    const first = this.#missing === 0 || state.barren ? -1 : this.#choose(state)
    if (first < 0) return this.#takeOver(peer, state, limit) ?? this.#endgame(peer, state)
    return { run: { first, count: this.#claim(state, first, limit) }, instead: [] }
  }

  #choose(state: PeerState): number {
    const inOrder = this.#options.ahead !== undefined || this.#partials === 0
    return inOrder ? this.#nextInOrder(state) : this.#rarest(state)
  }

  /** Marks the run as asked for. Returns its length. */
  #claim(state: PeerState, first: number, limit: number): number {
    const rarity = this.#spread[first] as number
    const end = Math.min(this.#end, first + limit)
    let chunk = first
    for (; chunk < end && this.#free(state, chunk) && (this.#spread[chunk] as number) <= rarity; chunk++) {
      this.#state[chunk] = ASKED
      state.owes.add(chunk)
    }
    this.#missing -= chunk - first
    return chunk - first
  }

  get #end(): number {
    const { ahead } = this.#options
    return ahead === undefined ? this.#state.length : Math.min(this.#state.length, this.#reader + ahead)
  }

  /** From the start to the end, and from the beginning to the start. */
  #nextInOrder(state: PeerState): number {
    const end = this.#end
    for (let looked = this.#distance(state.cursor); looked < this.#state.length; looked++) {
      const chunk = (this.#start + looked) % this.#state.length
      if (this.#options.ahead !== undefined && chunk >= end) return -1
      state.cursor = chunk
      if (this.#free(state, chunk)) return chunk
    }
    state.barren = true
    return -1
  }

  #rarest(state: PeerState): number {
    const { length } = this.#state
    const from = this.#options.random(length)
    let best = -1
    let seen = 0
    for (let i = 0; i < length && seen < SAMPLE; i++) {
      const chunk = (from + i) % length
      if (best >= 0) seen++
      if (!this.#free(state, chunk)) continue
      if (best < 0 || (this.#spread[chunk] as number) < (this.#spread[best] as number)) best = chunk
      // Nobody else has it.
      if (this.#spread[best] === (state.bits ? 1 : 0)) return best
    }
    state.barren = best < 0
    return best
  }

  #free(state: PeerState, chunk: number): boolean {
    return this.#state[chunk] === MISSING && has(state, chunk)
  }

  /** Evens out what is owed: half of the difference goes from the one who owes most, what was asked for last first. */
  #takeOver(peer: Peer, state: PeerState, limit: number): Pick<Peer> | undefined {
    let most: [Peer, PeerState] | undefined
    for (const entry of this.#peers) {
      if (entry[0] !== peer && entry[1].owes.size > (most?.[1].owes.size ?? 0)) most = entry
    }
    if (!most) return undefined
    const [victim, { owes }] = most
    const surplus = Math.floor((owes.size - state.owes.size) / 2)
    if (surplus < WORTH_MOVING) return undefined
    const movable = [...owes].findLast((chunk) => has(state, chunk) && !this.#askedTwice(chunk))
    if (movable === undefined) return undefined
    const isMovable = (chunk: number): boolean => owes.has(chunk) && has(state, chunk) && !this.#askedTwice(chunk)
    let first = movable
    while (movable - first + 1 < Math.min(surplus, limit) && isMovable(first - 1)) first--
    for (let chunk = first; chunk <= movable; chunk++) {
      owes.delete(chunk)
      state.owes.add(chunk)
    }
    return { run: { first, count: movable - first + 1 }, instead: [victim] }
  }

  #askedTwice(chunk: number): boolean {
    let askers = 0
    for (const { owes } of this.#peers.values()) if (owes.has(chunk) && ++askers > 1) return true
    return false
  }

  #endgame(peer: Peer, state: PeerState): Pick<Peer> | undefined {
    // Whoever still has something to bring, or may hear of something, is not asked for what will most likely come anyway.
    if (this.#missing > 0 || state.owes.size > 0) return undefined
    const { rate = () => 0 } = this.#options
    for (const [other, { owes }] of this.#peers) {
      if (other === peer) continue
      const swift = this.#left <= LAST || rate(peer) > MUCH_FASTER * rate(other) ? MAX_ASKED : 1
      for (const chunk of owes) {
        if (!has(state, chunk) || this.#swiftAskers(chunk) >= swift) continue
        state.owes.add(chunk)
        return { run: { first: chunk, count: 1 }, instead: [] }
      }
    }
    return undefined
  }

  #swiftAskers(chunk: number): number {
    let askers = 0
    for (const { owes, slow } of this.#peers.values()) if (!slow && owes.has(chunk)) askers++
    return askers
  }

  /** The chunk is verified and kept; it came from `peer`. Returns those who owed it, too. */
  settle(peer: Peer, chunk: number): Peer[] {
    this.#peers.get(peer)?.owes.delete(chunk)
    if (this.#state[chunk] === SETTLED) return []
    if (this.#state[chunk] === MISSING) this.#missing--
    this.#state[chunk] = SETTLED
    this.#left--
    const late: Peer[] = []
    for (const [other, { owes }] of this.#peers) if (owes.delete(chunk)) late.push(other)
    return late
  }

  #giveBack(chunk: number): void {
    if (this.#state[chunk] !== ASKED) return
    for (const { owes } of this.#peers.values()) if (owes.has(chunk)) return
    this.#state[chunk] = MISSING
    this.#missing++
    for (const state of this.#peers.values()) {
      state.barren = false
      state.cursor = this.#nearer(state.cursor, chunk)
    }
  }

  #distance(chunk: number): number {
    return (chunk - this.#start + this.#state.length) % this.#state.length
  }

  #nearer(a: number, b: number): number {
    return this.#distance(a) <= this.#distance(b) ? a : b
  }

  #count(bits: Bytes, change: number): void {
    const end = Math.min(this.#state.length, bits.length * 8)
    for (let at = 0; at * 8 < end; at++) {
      if (bits[at] === 0) continue
      for (let chunk = at * 8; chunk < Math.min(end, at * 8 + 8); chunk++) {
        if (((bits[at] as number) & (0x80 >> (chunk & 7))) !== 0) {
          this.#spread[chunk] = (this.#spread[chunk] as number) + change
        }
      }
    }
  }
}

function has({ bits }: PeerState, chunk: number): boolean {
  return bits === undefined || ((bits[chunk >> 3] ?? 0) & (0x80 >> (chunk & 7))) !== 0
}
