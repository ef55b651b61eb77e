/**
 * Link threads, from the outside. A thread that owns links also hashes and writes what comes on them, so that several
 * links are as many cores, and no chunk crosses from one to another. Streams that live in this thread (a pair in memory, a
 * relayed one) are piped to one as messages.
 */

import { availableParallelism } from 'node:os'
import { extname } from 'node:path'
import type { Duplex } from 'node:stream'
import { Worker } from 'node:worker_threads'
import type { Bytes } from '../core/encoding.ts'
import { P2pnsError } from '../core/errors.ts'
import type { Frame } from '../core/frames.ts'
import { readLink } from '../net/link.ts'
import type { Run } from './layout.ts'
import type { FromThread, ToThread, Way, WorkOptions } from './link-messages.ts'

export interface LinkEvents {
  /** It was dialled, and somebody answered at `host`. */
  up(host: string): void
  frame(frame: Frame): void
  /** `received`: bytes of chunks and hashes in all. `kept`: chunks that were verified and kept since the last time. */
  progress(received: number, kept: readonly number[]): void
  /** Once; not after `finish`. */
  down(why: P2pnsError): void
}

/** More threads than this only make each other wait for memory. */
const MAX_THREADS = 4
/** Chunks checked between two reports of progress. */
const CHECK_STEP = 64
/** Bytes of a piped stream on their way to the thread. */
const MAX_PIPED = 4 * 1024 * 1024

let lastId = 0

class LinkThread {
  readonly #worker: Worker
  readonly #calls = new Map<number, { resolve: (ok: boolean[]) => void; reject: (error: Error) => void }>()
  readonly #links = new Map<number, LinkEvents & { out(bytes: Bytes): void; took(bytes: number): void }>()
  readonly #works = new Map<number, (chunk: number, bytes: Bytes) => void>()
  broken: P2pnsError | undefined

  constructor() {
    // The build renames the file, but not the name in this string.
    this.#worker = new Worker(new URL(`./link-worker${extname(import.meta.url)}`, import.meta.url))
    this.#worker.on('message', (message: FromThread) => this.#take(message))
    this.#worker.on('error', (cause) => this.#fail(cause))
    this.#worker.unref()
  }

  get links(): number {
    return this.#links.size
  }

  post(message: ToThread, transfer: ArrayBuffer[] = []): void {
    this.#worker.postMessage(message, transfer)
  }

  call(make: (call: number) => ToThread): Promise<boolean[]> {
    return new Promise((resolve, reject) => {
      if (this.broken) return reject(this.broken)
      const call = ++lastId
      this.#calls.set(call, { resolve, reject })
      this.#settleRef()
      this.post(make(call))
    })
  }

  addWork(work: number, handed: (chunk: number, bytes: Bytes) => void): void {
    this.#works.set(work, handed)
  }

  removeWork(work: number): void {
    this.#works.delete(work)
  }

  addLink(link: number, events: LinkEvents & { out(bytes: Bytes): void; took(bytes: number): void }): void {
    this.#links.set(link, events)
    this.#settleRef()
  }

  removeLink(link: number): void {
    this.#links.delete(link)
    this.#settleRef()
  }

  /** An idle thread keeps no process alive. */
  #settleRef(): void {
    if (this.#calls.size + this.#links.size > 0) this.#worker.ref()
    else this.#worker.unref()
  }

  #take(message: FromThread): void {
    switch (message.type) {
      case 'answer': {
        const waiting = this.#calls.get(message.call)
        this.#calls.delete(message.call)
        this.#settleRef()
        if ('ok' in message) waiting?.resolve(message.ok)
        else waiting?.reject(new P2pnsError(message.error.code, message.error.what))
        return
      }
      case 'handed':
        return this.#works.get(message.work)?.(message.chunk, message.bytes)
      default:
        return this.#toLink(message)
    }
  }

  #toLink(message: Extract<FromThread, { link: number }>): void {
    const link = this.#links.get(message.link)
    switch (message.type) {
      case 'up':
        return link?.up(message.host)
      case 'frame':
        return link?.frame(message.frame)
      case 'progress':
        return link?.progress(message.received, message.kept)
      case 'took':
        return link?.took(message.bytes)
      case 'out':
        return link?.out(message.bytes)
      case 'down':
        this.removeLink(message.link)
        return link?.down(new P2pnsError(message.code, message.what))
    }
  }

  #fail(cause: unknown): void {
    this.broken = new P2pnsError('disk_error', 'a thread of the download stopped', { cause })
    threads.splice(threads.indexOf(this), 1)
    for (const { reject } of this.#calls.values()) reject(this.broken)
    for (const link of this.#links.values()) link.down(this.broken)
    this.#calls.clear()
    this.#links.clear()
  }
}

const threads: LinkThread[] = []

/** The one with the fewest links; a new one while there are cores for it. */
function nextThread(): LinkThread {
  const [idlest] = threads.toSorted((a, b) => a.links - b.links)
  if (idlest && (idlest.links === 0 || threads.length >= threadCount())) return idlest
  const fresh = new LinkThread()
  threads.push(fresh)
  return fresh
}

/** Threads that links are spread over. */
export function threadCount(): number {
  return Math.max(1, Math.min(MAX_THREADS, availableParallelism()))
}

/** One task's place in the threads: what its links bring is kept there. */
export class Work {
  readonly #id = ++lastId
  readonly #options: WorkOptions
  readonly #handed: (chunk: number, bytes: Bytes) => void
  readonly #opened = new Map<LinkThread, Promise<unknown>>()
  #failed: ((why: Error) => void) | undefined

  /** `handed`: with `keep: 'hand'`, called with each verified chunk. */
  constructor(options: WorkOptions, handed: (chunk: number, bytes: Bytes) => void = () => undefined) {
    this.#options = options
    this.#handed = handed
  }

  get id(): number {
    return this.#id
  }

  /** Called when the files cannot be opened. */
  onFailure(failed: (why: Error) => void): void {
    this.#failed = failed
  }

  openIn(thread: LinkThread): Promise<unknown> {
    const known = this.#opened.get(thread)
    if (known) return known
    thread.addWork(this.#id, this.#handed)
    const opened = thread.call((call) => ({ type: 'open', call, work: this.#id, options: this.#options }))
    this.#opened.set(thread, opened)
    opened.catch((why) => this.#failed?.(why))
    return opened
  }

  /** Which chunks of `run` an earlier try left, hashed again; in steps, so that progress can be shown. Throws disk errors. */
  async *check(run: Run): AsyncGenerator<{ chunk: number; ok: boolean }> {
    const thread = nextThread()
    await this.openIn(thread)
    for (let first = run.first; first < run.first + run.count; first += CHECK_STEP) {
      const count = Math.min(CHECK_STEP, run.first + run.count - first)
      const ok = await thread.call((call) => ({ type: 'check', call, work: this.#id, first, count }))
      for (let i = 0; i < count; i++) yield { chunk: first + i, ok: ok[i] === true }
    }
  }

  /** Everything that was kept is written, and the files are closed. */
  async close(): Promise<void> {
    const closing = [...this.#opened.keys()].map(async (thread) => {
      await thread.call((call) => ({ type: 'close', call, work: this.#id })).catch(() => undefined)
      thread.removeWork(this.#id)
    })
    await Promise.all(closing)
  }
}

/** A link that lives in a thread, or is piped to one. */
export class ThreadLink {
  readonly #id = ++lastId
  readonly #thread: LinkThread
  readonly #stream: Duplex | undefined
  #open = true
  #piped = 0

  constructor(way: Way | Duplex, events: LinkEvents) {
    this.#thread = nextThread()
    const stream = 'candidates' in way ? undefined : way
    this.#stream = stream
    this.#thread.addLink(this.#id, {
      ...events,
      up: (host) => events.up(host),
      frame: (frame) => events.frame(frame),
      progress: (received, kept) => events.progress(received, kept),
      down: (why) => {
        this.#open = false
        stream?.destroy()
        events.down(why)
      },
      out: (bytes) => void stream?.write(bytes),
      took: (bytes) => {
        this.#piped -= bytes
        if (this.#piped < MAX_PIPED / 2) stream?.resume()
      },
    })
    this.#post({ type: 'link', link: this.#id, way: stream ? undefined : (way as Way) })
    if (stream) this.#pipe(stream)
  }

  /** Chunks are asked for, proven and kept as `work` says, from here on; undefined: none are. */
  enter(work: Work | undefined): void {
    if (!this.#open) return
    void work?.openIn(this.#thread).catch(() => undefined)
    this.#post({ type: 'enter', link: this.#id, work: work?.id })
  }

  ask(run: Run): void {
    this.#post({ type: 'ask', link: this.#id, run })
  }

  cancel(run: Run): void {
    this.#post({ type: 'cancel', link: this.#id, run })
  }

  say(frame: Frame): void {
    this.#post({ type: 'say', link: this.#id, frame })
  }

  /** Ends it, with a last frame or at once. */
  finish(frame?: Frame): void {
    if (!this.#open) return
    this.#post({ type: 'finish', link: this.#id, frame })
    this.#open = false
    const stream = this.#stream
    if (!stream) return this.#thread.removeLink(this.#id)
    if (!frame) {
      this.#thread.removeLink(this.#id)
      return void stream.destroy()
    }
    // What is said last comes back from the thread to go out here.
    setTimeout(() => {
      this.#thread.removeLink(this.#id)
      stream.destroy()
    }, 1000).unref()
    stream.resume()
  }

  #post(message: ToThread): void {
    if (this.#open) this.#thread.post(message)
  }

  #pipe(stream: Duplex): void {
    readLink(stream, (bytes) => {
      if (!this.#open) return
      this.#piped += bytes.length
      if (this.#piped > MAX_PIPED) stream.pause()
      // The stream may use its memory again.
      this.#post({ type: 'in', link: this.#id, bytes: Uint8Array.from(bytes) })
    })
    stream.on('error', () => stream.destroy())
    stream.on('end', () => this.#post({ type: 'ended', link: this.#id }))
    stream.on('close', () => this.#post({ type: 'ended', link: this.#id }))
  }
}
