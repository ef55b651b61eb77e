/**
 * The task of getting chunks: asks peers for what the picker says, proves the hashes they send against the roots, and
 * hands what arrives to the sink, which checks each chunk against its hash before it keeps it.
 */
import type { Bytes } from '../core/encoding.ts'
import { P2pnsError } from '../core/errors.ts'
import { type Frame, MAX_RUN } from '../core/frames.ts'
import { HASH_SIZE, spanLength, verifySpan } from '../core/tree.ts'
import { type Layout, type Run, spanIn, spanStarts } from './layout.ts'
import type { PeerLink } from './peer-link.ts'
import { Picker } from './picker.ts'
import type { Sink } from './sink.ts'
import { refuseChunk, type Task } from './swarm.ts'

/** Chunks a peer may owe at first; one more for each that came, up to its share of the slots. */
const FIRST_WINDOW = 8
/** Requests are not sent for less than this, unless the peer would have nothing to do. */
const WORTH_ASKING = 8

interface Asked {
  window: number
  /** Starts of the spans whose hashes it was asked for. */
  spans: Set<number>
}

export interface DownloadOptions {
  layout: Layout
  wanted: Iterable<Run>
  sink: Sink
  /** A chunk of so many bytes was verified and kept. */
  onChunk: (bytes: number) => void
}

export class Download implements Task<void> {
  readonly done: Promise<void>
  readonly #layout: Layout
  readonly #sink: Sink
  readonly #onChunk: DownloadOptions['onChunk']
  readonly #picker: Picker<PeerLink>
  readonly #peers = new Map<PeerLink, Asked>()
  /** Proven leaf hashes by the start of their span, and how many of them may still be needed. */
  readonly #leaves = new Map<number, { hashes: Bytes; left: number }>()
  readonly #finish: { resolve: () => void; reject: (why: Error) => void }
  #writing = 0

  constructor({ layout, wanted, sink, onChunk }: DownloadOptions) {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    this.done = promise
    this.#finish = { resolve, reject }
    this.#layout = layout
    this.#sink = sink
    this.#onChunk = onChunk
    this.#picker = new Picker(layout.end, wanted)
    if (this.#picker.left === 0) resolve()
  }

  fail(why: P2pnsError): void {
    this.#finish.reject(why)
  }

  joined(peer: PeerLink): void {
    this.#peers.set(peer, { window: FIRST_WINDOW, spans: new Set() })
    this.#picker.add(peer, (chunk) => peer.has(chunk))
    this.#pump()
  }

  left(peer: PeerLink, unfinished: Bytes | undefined): void {
    if (unfinished) this.#sink.giveBack(unfinished)
    this.#peers.delete(peer)
    this.#picker.remove(peer)
    this.#pump()
  }

  frame(peer: PeerLink, frame: Frame): void {
    switch (frame.type) {
      case 'hashes':
        return this.#prove(peer, frame)
      case 'chunk':
        return this.#arrived(peer, frame)
      case 'have':
        this.#picker.gained(peer)
        return this.#pump()
      case 'choke':
        // What it owes now is the unchoke.
        peer.expecting = true
        return this.left(peer, undefined)
      case 'unchoke':
        if (!this.#peers.has(peer)) this.joined(peer)
    }
  }

  slow(peer: PeerLink, slow: boolean): void {
    this.#picker.setSlow(peer, slow)
    if (slow) this.#pump()
  }

  fileOf(chunk: number): string | undefined {
    return chunk < this.#layout.end ? this.#layout.partOf(chunk).path : undefined
  }

  open(peer: PeerLink, chunk: number, length: number): Bytes | undefined {
    const verdict = this.#picker.judge(peer, chunk)
    if (verdict === 'unasked') return refuseChunk(peer, chunk)
    if (verdict === 'skip') return undefined
    if (length !== this.#layout.lengthOf(chunk)) {
      throw new P2pnsError('frame_invalid', `${peer.peer} sent ${length} bytes as chunk ${chunk}`)
    }
    if (!this.#leafOf(chunk)) {
      throw new P2pnsError('frame_invalid', `${peer.peer} sent chunk ${chunk} before its hashes`)
    }
    return this.#sink.take(length)
  }

  /** Hashes before chunks, on the same link and so in order: nothing that arrives has to wait for its hash. */
  #pump(): void {
    const share = Math.max(2, Math.floor(this.#sink.slots / Math.max(1, this.#peers.size)))
    for (const [peer, asked] of this.#peers) {
      const window = Math.min(asked.window, share)
      for (;;) {
        const owed = this.#picker.owed(peer)
        const room = Math.min(window - owed, this.#room, MAX_RUN)
        if (room < 1 || (room < WORTH_ASKING && owed > window / 2)) break
        const run = this.#picker.next(peer, room)
        if (!run) break
        this.#askHashes(peer, asked, run)
        peer.send({ type: 'request', ...run })
      }
    }
    const owed = [...this.#peers.keys()].map((peer) => [peer, this.#picker.owed(peer)] as const)
    // Whoever has nothing that is wanted owes it to have more, when nobody else is at work.
    const stuck = this.#writing === 0 && owed.every(([, chunks]) => chunks === 0)
    for (const [peer, chunks] of owed) peer.expecting = stuck || chunks > 0
  }

  get #room(): number {
    // One place a peer: a chunk that lost the race at the end fills its place and counts as owed no more.
    let owed = this.#writing + this.#peers.size
    for (const peer of this.#peers.keys()) owed += this.#picker.owed(peer)
    return this.#sink.slots - owed
  }

  #askHashes(peer: PeerLink, asked: Asked, run: Run): void {
    for (const { span, start } of spanStarts(this.#layout, run)) {
      if (this.#leaves.has(start) || asked.spans.has(start)) continue
      asked.spans.add(start)
      peer.send({ type: 'hashesRequest', first: start, count: span.count })
    }
  }

  #prove(peer: PeerLink, { first, count, leaves, uncles }: Frame & { type: 'hashes' }): void {
    // Asked for by an earlier task, or not at all.
    if (!this.#peers.get(peer)?.spans.delete(first)) return
    const part = this.#layout.partOf(first)
    const { span } = spanIn(part, first)
    if (span.count !== count || !verifySpan(part.root, span, leaves, uncles)) {
      throw new P2pnsError('chunk_corrupt', `${peer.peer} sent hashes that are not of this content`)
    }
    peer.earn(leaves.length)
    const left = this.#picker.unsettled({ first, count: spanLength(span) })
    if (left > 0 && !this.#leaves.has(first)) this.#leaves.set(first, { hashes: leaves, left })
  }

  /** Hashes go when no chunk needs them any more: the list of a large file is long. */
  #forget(chunk: number): void {
    const { start } = spanIn(this.#layout.partOf(chunk), chunk)
    const leaves = this.#leaves.get(start)
    if (leaves && --leaves.left === 0) this.#leaves.delete(start)
  }

  #leafOf(chunk: number): Bytes | undefined {
    const part = this.#layout.partOf(chunk)
    if (part.count === 1) return part.root
    const { start } = spanIn(part, chunk)
    const at = (chunk - start) * HASH_SIZE
    return this.#leaves.get(start)?.hashes.subarray(at, at + HASH_SIZE)
  }

  #arrived(peer: PeerLink, { chunk, data }: Frame & { type: 'chunk' }): void {
    if (this.#picker.judge(peer, chunk) === 'unasked') {
      // Somebody else was faster while it was on its way.
      if (data) this.#sink.giveBack(data)
      return
    }
    this.#picker.came(peer, chunk)
    const asked = this.#peers.get(peer)
    if (asked) asked.window++
    const leaf = this.#leafOf(chunk)
    if (data && leaf) {
      this.#writing++
      this.#keep(peer, chunk, data, leaf).then(
        () => this.#pump(),
        (why: Error) => this.#finish.reject(why),
      )
    }
    this.#pump()
  }

  async #keep(peer: PeerLink, chunk: number, data: Bytes, leaf: Bytes): Promise<void> {
    const { length } = data
    const ok = await this.#sink.write(chunk, data, leaf)
    this.#writing--
    if (!ok) {
      this.#picker.fail(chunk)
      return peer.drop(new P2pnsError('chunk_corrupt', `${peer.peer} sent a wrong chunk ${chunk}`))
    }
    const before = this.#picker.left
    for (const slower of this.#picker.settle(chunk)) slower.cancel(chunk)
    if (this.#picker.left === before) return
    this.#forget(chunk)
    peer.bytes += length
    this.#onChunk(length)
    if (this.#picker.left === 0) this.#finish.resolve()
  }
}

/** The task of getting a manifest: whoever sends the right one first. */
export class ManifestTask<Manifest> implements Task<Manifest> {
  readonly done: Promise<Manifest>
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
    peer.send({ type: 'manifestRequest' })
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

  slow(): void {}

  fileOf(): undefined {}

  open(peer: PeerLink, chunk: number): never {
    return refuseChunk(peer, chunk)
  }

  left(): void {}

  fail(why: P2pnsError): void {
    this.#finish.reject(why)
  }
}
