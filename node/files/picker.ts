/**
 * Which chunk to ask of whom, as a pure state machine. Chunks go out in order, each to one peer; when none is left that
 * nobody was asked for, an idle peer is asked for what another still owes (the endgame), and whoever comes second is
 * told to cancel. Who is slow does not keep others from being asked. A chunk that fails, or whose peer leaves, is asked for again.
 */
import type { Run } from './layout.ts'

const SETTLED = 0
const MISSING = 1
const ASKED = 2

/** Peers that are not slow and may owe the same chunk at a time. */
const MAX_ASKED = 2

interface PeerState {
  has: (chunk: number) => boolean
  /** Chunks it owes. */
  owes: Set<number>
  slow: boolean
  /** No chunk below this is missing and held by the peer. */
  cursor: number
}

export class Picker<Peer> {
  readonly #state: Uint8Array
  readonly #peers = new Map<Peer, PeerState>()
  #left = 0
  #missing = 0

  /** `end`: one more than the highest chunk number. */
  constructor(end: number, wanted: Iterable<Run>) {
    this.#state = new Uint8Array(end)
    for (const { first, count } of wanted) this.#state.fill(MISSING, first, first + count)
    for (const state of this.#state) this.#left += state
    this.#missing = this.#left
  }

  /** Chunks that are not settled. */
  get left(): number {
    return this.#left
  }

  /** Chunks of `run` that are not settled. */
  unsettled({ first, count }: Run): number {
    return this.#state.subarray(first, first + count).filter((state) => state !== SETTLED).length
  }

  add(peer: Peer, has: (chunk: number) => boolean): void {
    this.#peers.set(peer, { has, owes: new Set(), slow: false, cursor: 0 })
  }

  remove(peer: Peer): void {
    const gone = this.#peers.get(peer)
    this.#peers.delete(peer)
    for (const chunk of gone?.owes ?? []) this.#giveBack(chunk)
  }

  /** The peer has more than before. */
  gained(peer: Peer): void {
    const state = this.#peers.get(peer)
    if (state) state.cursor = 0
  }

  /** Whether `peer` takes long over what it owes. */
  setSlow(peer: Peer, slow: boolean): void {
    const state = this.#peers.get(peer)
    if (state) state.slow = slow
  }

  owed(peer: Peer): number {
    return this.#peers.get(peer)?.owes.size ?? 0
  }

  /** Up to `limit` chunks in a row to ask `peer` for next; undefined when it has nothing of use. */
  next(peer: Peer, limit: number): Run | undefined {
    const state = this.#peers.get(peer)
    if (!state || limit < 1) return undefined
    if (this.#missing === 0) return this.#endgame(peer, state)
    while (state.cursor < this.#state.length && !this.#free(state, state.cursor)) state.cursor++
    const first = state.cursor
    let count = 0
    while (count < limit && this.#free(state, first + count)) {
      this.#state[first + count] = ASKED
      state.owes.add(first + count)
      count++
    }
    this.#missing -= count
    state.cursor = first + count
    return count > 0 ? { first, count } : undefined
  }

  #free(state: PeerState, chunk: number): boolean {
    return this.#state[chunk] === MISSING && state.has(chunk)
  }

  #endgame(peer: Peer, state: PeerState): Run | undefined {
    for (const [other, { owes }] of this.#peers) {
      if (other === peer) continue
      for (const chunk of owes) {
        if (state.owes.has(chunk) || !state.has(chunk) || this.#swiftAskers(chunk) >= MAX_ASKED) continue
        state.owes.add(chunk)
        return { first: chunk, count: 1 }
      }
    }
    return undefined
  }

  #swiftAskers(chunk: number): number {
    let askers = 0
    for (const { owes, slow } of this.#peers.values()) if (!slow && owes.has(chunk)) askers++
    return askers
  }

  #isOwed(chunk: number): boolean {
    return [...this.#peers.values()].some(({ owes }) => owes.has(chunk))
  }

  /** What to do with a chunk that `peer` starts to send: take it, skip it (another was faster), or wonder. */
  judge(peer: Peer, chunk: number): 'take' | 'skip' | 'unasked' {
    if (!this.#peers.get(peer)?.owes.has(chunk)) return 'unasked'
    return this.#state[chunk] === ASKED ? 'take' : 'skip'
  }

  /** All of the chunk came from `peer`; it stays asked for until `settle` or `fail`. */
  came(peer: Peer, chunk: number): void {
    this.#peers.get(peer)?.owes.delete(chunk)
  }

  /** The chunk is verified and kept. Returns the peers to send a cancel. */
  settle(chunk: number): Peer[] {
    if (this.#state[chunk] === SETTLED) return []
    if (this.#state[chunk] === MISSING) this.#missing--
    this.#state[chunk] = SETTLED
    this.#left--
    const late: Peer[] = []
    for (const [peer, { owes }] of this.#peers) if (owes.delete(chunk)) late.push(peer)
    return late
  }

  /** The chunk came, and was wrong. */
  fail(chunk: number): void {
    this.#giveBack(chunk)
  }

  #giveBack(chunk: number): void {
    if (this.#state[chunk] !== ASKED || this.#isOwed(chunk)) return
    this.#state[chunk] = MISSING
    this.#missing++
    for (const state of this.#peers.values()) state.cursor = Math.min(state.cursor, chunk)
  }
}
