/**
 * The task of getting chunks: asks peers for what the picker says, as far ahead as each of them is fast, and hears which
 * ones their links kept (receiver.ts).
 */
import type { Bytes } from '../core/encoding.ts'
import { P2pnsError } from '../core/errors.ts'
import { type Frame, MAX_RUN } from '../core/frames.ts'
import type { Limiter } from '../core/limiter.ts'
import { CHUNK_SIZE } from '../core/tree.ts'
import type { Layout, Run } from './layout.ts'
import type { Work } from './link-threads.ts'
import { MAX_PIPELINE } from './meter.ts'
import type { PeerLink } from './peer-link.ts'
import { Picker } from './picker.ts'
import type { Task } from './swarm.ts'

/** Chunks a peer may owe at first; one more for each that came, up to what its rate says. */
const FIRST_WINDOW = 8
/** Requests are not sent for less than this, unless the peer would have nothing to do. */
const WORTH_ASKING = 8
/** Chunks in one request under a limit, at most: 1 MiB, and no more than a second brings. */
const LIMITED_RUN = 4

export interface DownloadOptions {
  layout: Layout
  wanted: Iterable<Run>
  /** Where the chunks go. The caller closes it. */
  work: Work
  /** A whole number from 0 to `end - 1`. */
  random: (end: number) => number
  /** In order, and no further than `ahead` chunks before the reader (`advance`). Default: rarest first. */
  ahead?: number
  limiter?: Limiter
  /** A chunk of so many bytes was verified and kept. */
  onChunk: (bytes: number, chunk: number) => void
}

export class Download implements Task<void> {
  readonly done: Promise<void>
  readonly work: Work
  readonly #layout: Layout
  readonly #onChunk: DownloadOptions['onChunk']
  readonly #limiter: Limiter | undefined
  readonly #picker: Picker<PeerLink>
  /** Chunks that each peer may owe. */
  readonly #windows = new Map<PeerLink, number>()
  readonly #finish: { resolve: () => void; reject: (why: Error) => void }
  #held: NodeJS.Timeout | undefined

  constructor({ layout, wanted, work, random, ahead, limiter, onChunk }: DownloadOptions) {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    this.done = promise.finally(() => clearTimeout(this.#held))
    this.work = work
    this.#finish = { resolve, reject }
    this.#layout = layout
    this.#onChunk = onChunk
    this.#limiter = limiter
    this.#picker = new Picker(layout.end, wanted, {
      random,
      rate: ({ rate }) => rate,
      ...(ahead === undefined ? {} : { ahead }),
    })
    work.onFailure(reject)
    if (this.#picker.left === 0) resolve()
  }

  /** Chunks that are not here yet. */
  get missing(): number {
    return this.#picker.left
  }

  /** Whether anybody owes a chunk, or will be asked for one when the limit lets it. */
  get busy(): boolean {
    return [...this.#windows.keys()].some((peer) => this.#held !== undefined || this.#picker.owed(peer) > 0)
  }

  fail(why: P2pnsError): void {
    this.#finish.reject(why)
  }

  /** Whoever reads in order has come to `chunk`. */
  advance(chunk: number): void {
    this.#picker.advance(chunk)
    this.#pump()
  }

  joined(peer: PeerLink): void {
    this.#windows.set(peer, FIRST_WINDOW)
    this.#picker.add(peer, peer.bits)
    this.#pump()
  }

  left(peer: PeerLink): void {
    this.#windows.delete(peer)
    this.#picker.remove(peer)
    this.#pump()
  }

  frame(peer: PeerLink, frame: Frame): void {
    switch (frame.type) {
      case 'have':
        this.#gained(peer, frame)
        return
      case 'choke':
        this.left(peer)
        // What it owes now is the unchoke.
        peer.expecting = true
        return
      case 'unchoke':
        if (!this.#windows.has(peer)) this.joined(peer)
    }
  }

  kept(peer: PeerLink, chunks: readonly number[]): void {
    const window = this.#windows.get(peer)
    if (window !== undefined) this.#windows.set(peer, window + chunks.length)
    for (const chunk of chunks) this.#settle(peer, chunk)
    if (this.#picker.left === 0) return this.#finish.resolve()
    this.#pump()
  }

  slow(peer: PeerLink, slow: boolean): void {
    this.#picker.setSlow(peer, slow)
    if (slow) this.#pump()
  }

  fileOf(chunk: number): string | undefined {
    return chunk < this.#layout.end ? this.#layout.partOf(chunk).path : undefined
  }

  /** What is fetched may end before the content does. */
  #gained(peer: PeerLink, { first, count }: Run): void {
    const end = Math.min(first + count, this.#layout.end)
    if (first >= end) return
    this.#picker.gained(peer, { first, count: end - first })
    this.#pump()
  }

  #settle(peer: PeerLink, chunk: number): void {
    const before = this.#picker.left
    for (const slower of this.#picker.settle(peer, chunk)) slower.cancel({ first: chunk, count: 1 })
    if (this.#picker.left === before) return
    const bytes = this.#layout.lengthOf(chunk)
    peer.bytes += bytes
    this.#onChunk(bytes, chunk)
  }

  #pump(): void {
    for (const [peer, grown] of this.#windows) {
      // Until its rate is known, the window grows with what comes.
      const window = Math.min(grown, peer.pipeline ?? MAX_PIPELINE)
      while (this.#ask(peer, window)) {}
    }
    const owed = [...this.#windows.keys()].map((peer) => [peer, this.#picker.owed(peer)] as const)
    // Whoever has nothing that is wanted owes it to have more, when nobody else is at work.
    const stuck = this.#held === undefined && this.#picker.isWanting && owed.every(([, chunks]) => chunks === 0)
    for (const [peer, chunks] of owed) peer.expecting = stuck || chunks > 0
  }

  #longestRun(): number {
    const rate = this.#limiter?.rate
    return rate === undefined ? MAX_RUN : Math.min(LIMITED_RUN, Math.max(1, Math.floor(rate / CHUNK_SIZE)))
  }

  /** Whether there is reason to go on. */
  #ask(peer: PeerLink, window: number): boolean {
    const owed = this.#picker.owed(peer)
    const room = Math.min(window - owed, this.#longestRun())
    if (room < 1 || (room < WORTH_ASKING && owed > window / 2) || this.#held) return false
    const next = this.#picker.next(peer, room)
    if (!next) return false
    for (const other of next.instead) other.cancel(next.run)
    peer.ask(next.run, owed === 0)
    this.#spend(next.run.count * CHUNK_SIZE)
    return true
  }

  /** Under a limit nothing more is asked for until what was asked for may have come. */
  #spend(bytes: number): void {
    const wait = this.#limiter?.reserve(bytes) ?? 0
    if (wait <= 0) return
    this.#held = setTimeout(() => {
      this.#held = undefined
      this.#pump()
    }, wait)
  }
}

/** The task of getting a manifest: whoever sends the right one first. */
export class ManifestTask<Manifest> implements Task<Manifest> {
  readonly done: Promise<Manifest>
  readonly work = undefined
  readonly #parse: (stored: Bytes) => Manifest
  readonly #finish: { resolve: (manifest: Manifest) => void; reject: (why: Error) => void }

  /** `parse` throws on what is not the wanted manifest. */
  constructor(parse: (stored: Bytes) => Manifest) {
    const { promise, resolve, reject } = Promise.withResolvers<Manifest>()
    this.done = promise
    this.#parse = parse
    this.#finish = { resolve, reject }
  }

  joined(peer: PeerLink): void {
    peer.expecting = true
    peer.say({ type: 'manifestRequest' })
  }

  frame(peer: PeerLink, frame: Frame): void {
    if (frame.type !== 'manifest') return
    peer.expecting = false
    let manifest: Manifest
    try {
      manifest = this.#parse(frame.stored)
    } catch (cause) {
      return peer.drop(new P2pnsError('chunk_corrupt', `${peer.peer} sent a wrong manifest`, { cause }))
    }
    this.#finish.resolve(manifest)
  }

  kept(): void {}

  slow(): void {}

  fileOf(): undefined {}

  left(): void {}

  fail(why: P2pnsError): void {
    this.#finish.reject(why)
  }
}
