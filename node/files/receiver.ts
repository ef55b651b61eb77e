/**
 * One link, read: bytes -> frames -> hashes that are proven -> chunks that are verified -> kept. It runs beside the
 * link, in a thread of its own if there is one (link-worker.ts), and tells the swarm only what came of it.
 */
import { type Bytes, equalBytes } from '../core/encoding.ts'
import { P2pnsError } from '../core/errors.ts'
import { encodeFrame, type Frame, FrameDecoder } from '../core/frames.ts'
import { CHUNK_SIZE, HASH_SIZE, leafHash, verifySpan } from '../core/tree.ts'
import { type Layout, type Run, spanIn, spanStarts } from './layout.ts'

/** What becomes of proven hashes and verified chunks. `data` is only valid during the call. */
export interface Keeper {
  readonly layout: Layout
  prove(start: number, leaves: Bytes, uncles: Bytes): void
  keep(chunk: number, data: Bytes): void
}

export interface ReceiverEvents {
  /** Bytes for the other side. */
  send(bytes: Bytes): void
  /** Every frame but hashes and chunks. */
  frame(frame: Frame): void
  /** A chunk that was asked for was verified and kept. */
  kept(chunk: number): void
}

/** Spans whose hashes are kept in memory although nothing of them is asked for now: 16 KiB each. */
const SPARE_SPANS = 8

interface KnownSpan {
  /** undefined: asked for. */
  leaves: Bytes | undefined
  /** Chunks of it that are on their way. */
  awaited: number
}

export class Receiver {
  readonly #events: ReceiverEvents
  readonly #decoder: FrameDecoder
  readonly #buffer = Buffer.allocUnsafeSlow(CHUNK_SIZE)
  readonly #awaited = new Set<number>()
  /** Cancelled, and may come all the same, as often as they were cancelled. */
  readonly #late = new Map<number, number>()
  /** By the number of their first chunk, the longest unused first. */
  readonly #spans = new Map<number, KnownSpan>()
  #keeper: Keeper | undefined
  /** Answers that an earlier task asked for, and that may come all the same. */
  #lateSpans = 0
  /** Bytes of hashes that were asked for. */
  #hashBytes = 0

  constructor(events: ReceiverEvents) {
    this.#events = events
    this.#decoder = new FrameDecoder({
      open: (chunk, length) => this.#open(chunk, length),
      frame: (frame) => this.#frame(frame),
    })
  }

  /** From here on chunks of another task are asked for; what was asked for before may still come, and means nothing. */
  enter(keeper: Keeper | undefined): void {
    this.#keeper = keeper
    for (const chunk of this.#awaited) this.#forgive(chunk)
    for (const { leaves } of this.#spans.values()) if (!leaves) this.#lateSpans++
    this.#awaited.clear()
    this.#spans.clear()
  }

  /** Hashes before chunks, on the same link and so in order: nothing that arrives has to wait for its hash. */
  ask(run: Run): void {
    const { layout } = this.#needKeeper()
    for (const { span, start } of spanStarts(layout, run)) {
      if (this.#spans.has(start)) continue
      this.#spans.set(start, { leaves: undefined, awaited: 0 })
      this.#events.send(encodeFrame({ type: 'hashesRequest', first: start, count: span.count }))
    }
    for (let chunk = run.first; chunk < run.first + run.count; chunk++) {
      // Asked for twice, around a choke, it may come twice.
      if (this.#awaited.has(chunk)) {
        this.#forgive(chunk)
        continue
      }
      this.#awaited.add(chunk)
      const span = this.#spanOf(chunk)
      if (span) span.awaited++
    }
    this.#events.send(encodeFrame({ type: 'request', ...run }))
  }

  cancel(run: Run): void {
    for (let chunk = run.first; chunk < run.first + run.count; chunk++) {
      if (!this.#awaited.has(chunk)) continue
      this.#settled(chunk)
      this.#forgive(chunk)
    }
    this.#events.send(encodeFrame({ type: 'cancel', ...run }))
  }

  /** Everything that was asked for is forgotten by the other side. */
  choked(): void {
    for (const chunk of this.#awaited) {
      this.#settled(chunk)
      this.#forgive(chunk)
    }
  }

  /** Throws `frame_invalid`, `chunk_corrupt`, or the disk's error; the link is then lost. */
  push(bytes: Bytes): void {
    this.#decoder.push(bytes)
  }

  /** Bytes of chunks and hashes that came, also of chunks that are not whole yet. */
  get received(): number {
    return this.#decoder.chunkBytes + this.#hashBytes
  }

  /** True where a link may end. */
  get atBoundary(): boolean {
    return this.#decoder.atBoundary
  }

  #open(chunk: number, length: number): Bytes | undefined {
    if (!this.#awaited.has(chunk)) {
      if (this.#late.has(chunk)) return undefined
      throw new P2pnsError('frame_invalid', `chunk ${chunk} came unasked`)
    }
    if (length !== this.#needKeeper().layout.lengthOf(chunk)) {
      throw new P2pnsError('frame_invalid', `chunk ${chunk} came with ${length} bytes`)
    }
    if (!this.#leafOf(chunk)) throw new P2pnsError('frame_invalid', `chunk ${chunk} came before its hashes`)
    return this.#buffer.subarray(0, length)
  }

  #frame(frame: Frame): void {
    switch (frame.type) {
      case 'hashes':
        return this.#prove(frame)
      case 'chunk':
        return this.#arrived(frame)
      default:
        return this.#events.frame(frame)
    }
  }

  #prove({ first, count, leaves, uncles }: Frame & { type: 'hashes' }): void {
    const known = this.#spans.get(first)
    if (!known || known.leaves) {
      if (this.#lateSpans-- > 0) return
      throw new P2pnsError('frame_invalid', 'hashes came unasked')
    }
    if (leaves.length === 0)
      throw new P2pnsError('peer_unreachable', 'the peer does not know the hashes of what it has')
    const keeper = this.#needKeeper()
    const part = keeper.layout.partOf(first)
    const { span } = spanIn(part, first)
    if (span.count !== count || !verifySpan(part.root, span, leaves, uncles)) {
      throw new P2pnsError('chunk_corrupt', 'hashes came that are not of this content')
    }
    known.leaves = leaves
    this.#hashBytes += leaves.length
    keeper.prove(first, leaves, uncles)
  }

  #arrived({ chunk, data }: Frame & { type: 'chunk' }): void {
    if (!this.#awaited.has(chunk) || !data) return this.#came(chunk)
    const leaf = this.#leafOf(chunk) as Bytes
    if (!equalBytes(leafHash(data), leaf)) throw new P2pnsError('chunk_corrupt', `chunk ${chunk} came wrong`)
    this.#needKeeper().keep(chunk, data)
    this.#settled(chunk)
    this.#events.kept(chunk)
  }

  #forgive(chunk: number): void {
    this.#late.set(chunk, (this.#late.get(chunk) ?? 0) + 1)
  }

  /** A chunk that was cancelled, or of an earlier task. */
  #came(chunk: number): void {
    const times = this.#late.get(chunk) ?? 1
    if (times > 1) this.#late.set(chunk, times - 1)
    else this.#late.delete(chunk)
  }

  #settled(chunk: number): void {
    this.#awaited.delete(chunk)
    const span = this.#spanOf(chunk)
    if (!span || --span.awaited > 0) return
    if (this.#spans.size <= SPARE_SPANS) return
    for (const [start, { leaves, awaited }] of this.#spans) {
      if (leaves && awaited === 0) {
        this.#spans.delete(start)
        break
      }
    }
  }

  #leafOf(chunk: number): Bytes | undefined {
    const part = this.#needKeeper().layout.partOf(chunk)
    if (part.count === 1) return part.root
    const { start } = spanIn(part, chunk)
    const at = (chunk - start) * HASH_SIZE
    return this.#spans.get(start)?.leaves?.subarray(at, at + HASH_SIZE)
  }

  #spanOf(chunk: number): KnownSpan | undefined {
    const part = this.#needKeeper().layout.partOf(chunk)
    return part.count === 1 ? undefined : this.#spans.get(spanIn(part, chunk).start)
  }

  #needKeeper(): Keeper {
    if (!this.#keeper) throw new P2pnsError('frame_invalid', 'a chunk came that nobody asked for')
    return this.#keeper
  }
}
