/** One link, seen from the side that serves: who greets, what is answered at once, and what goes into the upload. */
import type { Duplex } from 'node:stream'
import type { Bytes } from '../core/encoding.ts'
import { isError, P2pnsError } from '../core/errors.ts'
import { type ByeReason, encodeFrame, type Frame, FrameDecoder, MAX_PEERS, MAX_RUN } from '../core/frames.ts'
import type { Run } from './layout.ts'
import type { Source } from './source.ts'
import { type Served, Upload } from './upload.ts'

/** Milliseconds without a question or a write that went out. */
const IDLE_TIME = 120_000
/** Milliseconds in which a peer has to greet. */
const HELLO_TIME = 5_000
/** Bytes that may wait for a peer that does not read: one block, and small answers. */
const MAX_UNREAD = 4 * 1024 * 1024
/** Proofs that are looked up at a time; who asks for more has not read the answers. */
const MAX_PROOFS = 4096
/** Milliseconds in which chunks that came to be here are gathered, to be told together. */
const HAVE_EVERY = 30

export interface SeedLinkEvents {
  /** The peer greeted for `content`. undefined: nobody has that here. */
  find(content: Bytes): Served | undefined
  /** A chunk's bytes went out. */
  gave?(bytes: number): void
}

export class SeedLink {
  readonly ended: Promise<void>
  readonly #stream: Duplex
  readonly #events: SeedLinkEvents
  readonly #idle: NodeJS.Timeout
  readonly #ungreeted: NodeJS.Timeout
  #lastActive = performance.now()
  #served: Served | undefined
  #upload: Upload | undefined
  #closed = false
  #choked = false
  #proofs = 0
  #proving: Promise<void> = Promise.resolve()
  /** What came to be here and is not told yet. */
  #news: Run[] = []
  #forget: () => void = () => undefined

  constructor(stream: Duplex, events: SeedLinkEvents) {
    this.#stream = stream
    this.#events = events
    this.#idle = setTimeout(() => this.bye('idle'), IDLE_TIME).unref()
    this.#ungreeted = setTimeout(() => this.bye('idle'), HELLO_TIME).unref()
    this.ended = new Promise((resolve) => stream.once('close', resolve))
    const decoder = new FrameDecoder({
      open: () => {
        throw new P2pnsError('frame_invalid', 'a chunk came that nobody asked for')
      },
      frame: (frame) => this.#frame(frame),
    })
    stream.on('data', (bytes: Buffer) => {
      if (this.#closed) return
      try {
        decoder.push(bytes)
      } catch {
        this.bye('frame_invalid')
      }
    })
    stream.on('error', () => stream.destroy())
    stream.on('end', () => stream.destroy())
    stream.on('close', () => {
      this.#close()
    })
  }

  /** Says why and closes. */
  bye(reason: ByeReason, chunk?: number): void {
    if (this.#closed) return
    this.#close()
    this.#stream.end(encodeFrame({ type: 'bye', reason, ...(chunk === undefined ? {} : { chunk }) }))
    setTimeout(() => this.#stream.destroy(), 1000).unref()
  }

  /** Milliseconds of the monotonic clock: the last question, or write that went out. */
  get lastActive(): number {
    return this.#lastActive
  }

  /** Nothing that is asked for is sent, until `unchoke`; what was asked for is forgotten. */
  choke(): void {
    if (this.#choked) return
    this.#choked = true
    this.#upload?.clear()
    if (this.#served) this.#answer({ type: 'choke' })
  }

  unchoke(): void {
    if (!this.#choked) return
    this.#choked = false
    if (this.#served) this.#answer({ type: 'unchoke' })
  }

  /** Whether it waits for something. */
  get asking(): boolean {
    return this.#upload?.isBusy === true
  }

  /** Multiaddrs of others. */
  introduce(peers: string[]): void {
    if (this.#served && peers.length > 0) this.#answer({ type: 'peers', peers: peers.slice(0, MAX_PEERS) })
  }

  /** Serves from where `source` is from now on; it has what the one before had. */
  follow(source: Source): void {
    this.#forget()
    this.#forget = source.onHave((run) => this.#tell(run))
    const { end } = source.layout
    if (!source.have())
      for (let first = 0; first < end; first += MAX_RUN) this.#tell({ first, count: Math.min(MAX_RUN, end - first) })
  }

  #close(): void {
    this.#closed = true
    this.#upload?.stop()
    this.#forget()
    clearTimeout(this.#idle)
    clearTimeout(this.#ungreeted)
  }

  #active(): void {
    this.#lastActive = performance.now()
    this.#idle.refresh()
  }

  #frame(frame: Frame): void {
    if (frame.type === 'hello') return this.#greet(frame.content)
    const served = this.#served
    if (!served) throw new P2pnsError('frame_invalid', 'the peer did not greet')
    switch (frame.type) {
      case 'manifestRequest':
        this.#active()
        return this.#answer({ type: 'manifest', stored: served.source.manifest })
      case 'hashesRequest':
        this.#active()
        return this.#sendHashes(served, frame)
      case 'request':
        this.#active()
        // It had not heard of the choke yet.
        if (!this.#choked) this.#upload?.add(frame)
        return
      case 'cancel':
        return this.#upload?.cancel(frame)
      case 'bye':
        this.#stream.destroy()
        return
      case 'bitfield':
      case 'have':
      case 'choke':
      case 'unchoke':
        // What the peer has or wants to give is of no use to somebody who has everything.
        return
      default:
        throw new P2pnsError('frame_invalid', `a ${frame.type} frame answers nothing`)
    }
  }

  #greet(content: Bytes): void {
    if (this.#served) throw new P2pnsError('frame_invalid', 'the peer greeted twice')
    clearTimeout(this.#ungreeted)
    this.#active()
    const served = this.#events.find(content)
    this.#served = served
    if (!served) return this.bye('content_not_found')
    this.#upload = new Upload(this.#stream, served, {
      proven: () => this.#proven(),
      gave: (bytes) => {
        this.#active()
        this.#events.gave?.(bytes)
      },
      failed: (why, chunk) => {
        if (isError(why, 'file_changed')) this.bye('file_changed', chunk)
        else this.bye(isError(why, 'frame_invalid') ? 'frame_invalid' : 'content_not_found')
      },
    })
    this.#answer({ type: 'hello', content })
    this.#answer({ type: 'bitfield', bits: served.source.have() ?? new Uint8Array(0) })
    this.#forget = served.source.onHave((run) => this.#tell(run))
    if (this.#choked) this.#answer({ type: 'choke' })
  }

  #tell({ first, count }: Run): void {
    if (this.#news.length === 0) setTimeout(() => this.#tellNews(), HAVE_EVERY).unref()
    const last = this.#news.at(-1)
    if (last && last.first + last.count === first && last.count + count <= MAX_RUN) last.count += count
    else this.#news.push({ first, count })
  }

  #tellNews(): void {
    const news = this.#news
    this.#news = []
    for (const run of news) this.#answer({ type: 'have', ...run })
  }

  #answer(frame: Frame): void {
    if (this.#closed) return
    this.#stream.write(encodeFrame(frame))
    if (this.#stream.writableLength > MAX_UNREAD) this.#stream.destroy()
  }

  /** Answered in the order of the questions. */
  #sendHashes({ source }: Served, { first, count }: Run): void {
    if (++this.#proofs > MAX_PROOFS) throw new P2pnsError('frame_invalid', 'too many hashes are asked for')
    const part = source.layout.partOf(first)
    this.#proving = this.#proving.then(async () => {
      try {
        if (this.#closed) return
        const proof = await source.prove(part, first - part.first, count)
        const { leaves, uncles } = proof ?? { leaves: new Uint8Array(0), uncles: new Uint8Array(0) }
        this.#answer({ type: 'hashes', first, count, leaves, uncles })
      } catch (cause) {
        this.bye(isError(cause, 'frame_invalid') ? 'frame_invalid' : 'content_not_found')
      } finally {
        this.#proofs--
      }
    })
  }

  async #proven(): Promise<void> {
    while (this.#proofs > 0) await this.#proving
  }
}
