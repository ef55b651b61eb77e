/**
 * A link thread: opens links, or is fed with the bytes of streams that live elsewhere, and keeps what comes of them
 * (receiver.ts). The messages are in link-messages.ts, the other end in link-threads.ts.
 */
import type { Duplex } from 'node:stream'
import { parentPort } from 'node:worker_threads'
import type { Bytes } from '../core/encoding.ts'
import { isError, P2pnsError } from '../core/errors.ts'
import { encodeFrame } from '../core/frames.ts'
import { dialLink, readLink } from '../net/link.ts'
import { diskError } from './disk.ts'
import { Layout } from './layout.ts'
import type { FromThread, ToThread, Way, WorkOptions } from './link-messages.ts'
import { type Keeper, Receiver } from './receiver.ts'
import { ChunkWriter } from './writer.ts'

/** Milliseconds between two reports of what came on a link. */
const REPORT_EVERY = 100
/** Milliseconds in which chunks that were kept are gathered, to be told together. */
const GATHER = 4
/** Milliseconds in which the last words of a link go out. */
const LAST_WORDS = 1000

function post(message: FromThread, transfer: ArrayBuffer[] = []): void {
  parentPort?.postMessage(message, transfer)
}

/** What one task keeps. */
class Work {
  readonly layout: Layout
  readonly writer: ChunkWriter | undefined
  readonly #hands: boolean
  readonly #id: number

  constructor(id: number, { parts, keep, target }: WorkOptions) {
    this.#id = id
    this.layout = new Layout(parts)
    this.#hands = keep === 'hand'
    this.writer = keep === 'disk' && target ? new ChunkWriter({ ...target, parts }) : undefined
  }

  prove(start: number, leaves: Bytes, uncles: Bytes): void {
    this.writer?.prove(start, leaves, uncles)
  }

  keep(chunk: number, data: Bytes): void {
    this.writer?.write(chunk, data)
    if (!this.#hands) return
    const bytes = Uint8Array.from(data)
    post({ type: 'handed', work: this.#id, chunk, bytes }, [bytes.buffer])
  }
}

class ThreadLink {
  readonly #id: number
  readonly #receiver: Receiver
  readonly #stop = new AbortController()
  #stream: Duplex | undefined
  #kept: number[] = []
  #reported = 0
  #closed = false

  constructor(id: number, way: Way | undefined) {
    this.#id = id
    this.#receiver = new Receiver({
      send: (bytes) => this.send(bytes),
      frame: (frame) => {
        if (frame.type === 'choke') this.#receiver.choked()
        this.report()
        post({ type: 'frame', link: id, frame })
      },
      kept: (chunk) => {
        // Many come at once on a fast link, and a message costs as much as a tenth of a chunk.
        if (this.#kept.push(chunk) === 1) setTimeout(() => this.report(), GATHER)
      },
    })
    if (way) void this.#dial(way)
  }

  enter(keeper: Keeper | undefined): void {
    this.#receiver.enter(keeper)
  }

  get receiver(): Receiver {
    return this.#receiver
  }

  send(bytes: Bytes): void {
    if (this.#closed) return
    if (this.#stream) this.#stream.write(bytes)
    else post({ type: 'out', link: this.#id, bytes })
  }

  push(bytes: Bytes): void {
    if (this.#closed) return
    try {
      this.#receiver.push(bytes)
    } catch (cause) {
      this.fail(cause)
    }
  }

  report(): void {
    const { received } = this.#receiver
    if (received === this.#reported && this.#kept.length === 0) return
    this.#reported = received
    post({ type: 'progress', link: this.#id, received, kept: this.#kept })
    this.#kept = []
  }

  /** The link ends, or breaks. */
  fail(cause: unknown): void {
    if (this.#closed) return
    this.report()
    this.#close()
    this.#stream?.destroy()
    const { code, what } = isError(cause) ? cause : diskError(cause, 'a download')
    post({ type: 'down', link: this.#id, code, what })
  }

  /** In good order; nothing that comes after is looked at. */
  finish(lastWords: Bytes | undefined): void {
    if (this.#closed) return
    if (lastWords) this.send(lastWords)
    this.#close()
    if (!this.#stream) return
    const stream = this.#stream
    if (!lastWords) return void stream.destroy()
    stream.end()
    stream.resume()
    setTimeout(() => stream.destroy(), LAST_WORDS).unref()
  }

  #close(): void {
    this.#closed = true
    this.#stop.abort()
    links.delete(this.#id)
  }

  async #dial({ candidates, ticket, timeout }: Way): Promise<void> {
    try {
      const { socket, candidate } = await dialLink(candidates, ticket, { signal: this.#stop.signal, timeout })
      if (this.#closed) return void socket.destroy()
      this.#stream = socket
      socket.on('error', () => this.fail(new P2pnsError('peer_unreachable', 'the link broke')))
      socket.on('close', () => this.fail(new P2pnsError('peer_unreachable', 'the peer closed the link')))
      socket.on('end', () => this.fail(this.#atEnd()))
      readLink(socket, (bytes) => this.push(bytes))
      post({ type: 'up', link: this.#id, host: candidate.host })
    } catch (cause) {
      this.fail(cause)
    }
  }

  ended(): void {
    this.fail(this.#atEnd())
  }

  #atEnd(): P2pnsError {
    if (this.#receiver.atBoundary) return new P2pnsError('peer_unreachable', 'the peer closed the link')
    // Whoever stands between may have cut it.
    return new P2pnsError('peer_unreachable', 'the peer cut a frame off')
  }
}

const works = new Map<number, Work>()
const links = new Map<number, ThreadLink>()

setInterval(() => {
  for (const link of links.values()) link.report()
}, REPORT_EVERY).unref()

/** Answers those that have a `call`. */
function perform(message: ToThread): boolean[] {
  switch (message.type) {
    case 'open':
      works.set(message.work, new Work(message.work, message.options))
      return []
    case 'check': {
      const writer = works.get(message.work)?.writer
      return Array.from({ length: message.count }, (_, i) => writer?.check(message.first + i) === true)
    }
    case 'close':
      works.get(message.work)?.writer?.close()
      works.delete(message.work)
      return []
    case 'link':
      links.set(message.link, new ThreadLink(message.link, message.way))
      return []
    default:
      return onLink(message)
  }
}

function onLink(message: Extract<ToThread, { link: number }>): boolean[] {
  const link = links.get(message.link)
  switch (message.type) {
    case 'enter':
      link?.enter(message.work === undefined ? undefined : works.get(message.work))
      break
    case 'ask':
      link?.receiver.ask(message.run)
      break
    case 'cancel':
      link?.receiver.cancel(message.run)
      break
    case 'say':
      link?.send(encodeFrame(message.frame))
      break
    case 'in':
      link?.push(message.bytes)
      post({ type: 'took', link: message.link, bytes: message.bytes.length })
      break
    case 'ended':
      link?.ended()
      break
    case 'finish':
      link?.finish(message.frame && encodeFrame(message.frame))
      break
  }
  return []
}

parentPort?.on('message', (message: ToThread) => {
  try {
    const ok = perform(message)
    if ('call' in message) post({ type: 'answer', call: message.call, ok })
  } catch (cause) {
    const { code, what } = diskError(cause, 'a download')
    if ('call' in message) post({ type: 'answer', call: message.call, error: { code, what } })
    else if ('link' in message) links.get(message.link)?.fail(cause)
  }
})
