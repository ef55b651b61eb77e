/** One link, seen from the side that fetches: its hello, its frames, and whether the peer is still alive. */
import type { Duplex } from 'node:stream'
import { type Bytes, equalBytes } from '../core/encoding.ts'
import { P2pnsError } from '../core/errors.ts'
import { encodeFrame, type Frame, FrameDecoder } from '../core/frames.ts'
import { readLink } from '../net/link.ts'
import type { Link } from '../net/paths.ts'

/** Looks at what a peer brings, in the time after which one that brings nothing is dropped. */
const LOOKS = 5
/** Bytes a second: less is nothing. */
const MIN_RATE = 2 * 1024
/** Bytes a second: less is slow, and somebody else may be asked for the same. */
const FAIR_RATE = 64 * 1024

export interface PeerEvents {
  /** The peer has the content, and `has` is known. */
  ready(peer: PeerLink): void
  frame(peer: PeerLink, frame: Frame): void
  /** It owes, and what it brought lately is little (`true`) or enough again (`false`). */
  slow(peer: PeerLink, slow: boolean): void
  /** The path inside the content of the file that `chunk` is of; undefined when that is not known. */
  fileOf(chunk: number): string | undefined
  /** As FrameHandler.open. */
  open(peer: PeerLink, chunk: number, length: number): Bytes | undefined
  /** Called once. `unfinished`: the place of a chunk that did not come to its end. */
  closed(peer: PeerLink, why: P2pnsError, unfinished: Bytes | undefined): void
}

export class PeerLink {
  readonly peer: string
  readonly path: string
  /** Of chunks that were verified. */
  bytes = 0
  /** Chunks that were cancelled and may come all the same. */
  readonly late = new Set<number>()

  readonly #stream: Duplex
  readonly #content: Bytes
  readonly #events: PeerEvents
  readonly #decoder: FrameDecoder
  /** Milliseconds between two looks at what came. */
  readonly #interval: number
  readonly #timer: NodeJS.Timeout
  #state: 'new' | 'greeted' | 'ready' | 'closed' = 'new'
  /** Empty: everything. */
  #bits: Bytes = new Uint8Array(0)
  #place: Bytes | undefined
  #expecting = true
  /** Bytes of what it owed, in all, and when last looked at. */
  #earned = 0
  #seen = 0
  /** Looks in a row that found next to nothing. */
  #barren = 0
  /** Looks in a row that found it slow. */
  #slowLooks = 0

  constructor({ peer, path, stream }: Link, content: Bytes, stall: number, events: PeerEvents) {
    this.peer = peer
    this.path = path
    this.#stream = stream
    this.#content = content
    this.#events = events
    this.#interval = stall / LOOKS
    this.#timer = setTimeout(() => this.#look(stall), this.#interval)
    const decoder = new FrameDecoder({
      open: (chunk, length) => (this.#place = events.open(this, chunk, length)),
      frame: (frame) => this.#frame(frame),
    })
    this.#decoder = decoder
    readLink(stream, (bytes) => {
      if (this.#state === 'closed') return
      try {
        decoder.push(bytes)
      } catch (cause) {
        this.drop(
          cause instanceof P2pnsError ? cause : new P2pnsError('internal', 'a frame was not handled', { cause }),
        )
      }
    })
    stream.on('error', () => this.drop(new P2pnsError('peer_unreachable', `the link to ${peer} broke`)))
    stream.on('close', () => this.drop(new P2pnsError('peer_unreachable', `${peer} closed the link`)))
    stream.on('end', () => {
      const cut = decoder.atBoundary ? 'closed the link' : 'cut a frame off'
      this.drop(new P2pnsError(decoder.atBoundary ? 'peer_unreachable' : 'frame_invalid', `${peer} ${cut}`))
    })
    this.send({ type: 'hello', content })
  }

  get ready(): boolean {
    return this.#state === 'ready'
  }

  /**
   * True while the peer owes something. Only what it owes counts then, whatever else it says: too little of it for
   * `stall` milliseconds ends the link.
   */
  get expecting(): boolean {
    return this.#expecting
  }

  set expecting(owes: boolean) {
    if (owes && !this.#expecting) this.#lookAfresh()
    this.#expecting = owes
  }

  /** Whether it owes, and is slower than a peer should be whose place another could have. */
  get slow(): boolean {
    return this.#slowLooks > 0
  }

  get slowLooks(): number {
    return this.#slowLooks
  }

  /** It brought `bytes` of something that was asked for, besides chunks. */
  earn(bytes: number): void {
    this.#earned += bytes
  }

  has(chunk: number): boolean {
    if (this.#bits.length === 0) return true
    return ((this.#bits[chunk >> 3] ?? 0) & (0x80 >> (chunk & 7))) !== 0
  }

  send(frame: Frame): void {
    if (this.#state !== 'closed') this.#stream.write(encodeFrame(frame))
  }

  cancel(chunk: number): void {
    this.late.add(chunk)
    this.send({ type: 'cancel', first: chunk, count: 1 })
  }

  /** Ends the link because of `why`. */
  drop(why: P2pnsError): void {
    if (this.#state === 'closed') return
    this.#state = 'closed'
    clearTimeout(this.#timer)
    this.#stream.destroy()
    this.#events.closed(this, why, this.#place)
  }

  /** Ends the link in good order. */
  finish(): void {
    if (this.#state === 'closed') return
    this.send({ type: 'bye', reason: 'done' })
    this.#state = 'closed'
    clearTimeout(this.#timer)
    this.#stream.end()
    this.#stream.resume()
    setTimeout(() => this.#stream.destroy(), 1000).unref()
  }

  #lookAfresh(): void {
    this.#seen = this.#received
    this.#barren = 0
    this.#timer.refresh()
  }

  get #received(): number {
    return this.#earned + this.#decoder.chunkBytes
  }

  #look(stall: number): void {
    const rate = ((this.#received - this.#seen) / this.#interval) * 1000
    this.#seen = this.#received
    this.#barren = this.#expecting && rate < MIN_RATE ? this.#barren + 1 : 0
    if (this.#barren >= LOOKS) {
      return this.drop(new P2pnsError('timed_out', `${this.peer} sent next to nothing for ${stall / 1000} s`))
    }
    this.#timer.refresh()
    const slow = this.#expecting && rate < FAIR_RATE
    if (!slow && !this.slow) return
    this.#slowLooks = slow ? this.#slowLooks + 1 : 0
    this.#events.slow(this, slow)
  }

  #frame(frame: Frame): void {
    if (frame.type === 'bye') return this.drop(this.#goodbye(frame))
    if (this.#state === 'new') {
      if (frame.type !== 'hello' || !equalBytes(frame.content, this.#content)) {
        throw new P2pnsError('frame_invalid', `${this.peer} did not greet for this content`)
      }
      this.#state = 'greeted'
      this.#lookAfresh()
      return
    }
    switch (frame.type) {
      case 'bitfield':
        if (this.#state === 'ready') throw new P2pnsError('frame_invalid', `${this.peer} sent a second bitfield`)
        this.#bits = frame.bits
        this.#state = 'ready'
        this.expecting = false
        return this.#events.ready(this)
      case 'have':
        this.#gain(frame.first, frame.count)
        break
      case 'chunk':
        this.#place = undefined
        this.late.delete(frame.chunk)
        break
    }
    if (this.#state !== 'closed') this.#events.frame(this, frame)
  }

  #gain(first: number, count: number): void {
    for (let chunk = first; chunk < first + count && this.#bits.length > 0; chunk++) {
      if (chunk >> 3 >= this.#bits.length) throw new P2pnsError('frame_invalid', `${this.peer} has a chunk too many`)
      this.#bits[chunk >> 3] = (this.#bits[chunk >> 3] as number) | (0x80 >> (chunk & 7))
    }
  }

  #goodbye({ reason, chunk }: Frame & { type: 'bye' }): P2pnsError {
    const { peer } = this
    switch (reason) {
      case 'content_not_found':
        return new P2pnsError('content_not_found', `${peer} does not have it`)
      case 'file_changed': {
        const file = chunk === undefined ? undefined : this.#events.fileOf(chunk)
        const named = file ? JSON.stringify(file) : 'the file'
        const kept = 'what came and is right is kept for the next try'
        return new P2pnsError('file_changed', `${named} changed on ${peer} after it was shared; ${kept}`)
      }
      case 'frame_invalid':
        return new P2pnsError('frame_invalid', `${peer} did not understand us`)
      default:
        return new P2pnsError('peer_unreachable', `${peer} ended the link (${reason})`)
    }
  }
}
