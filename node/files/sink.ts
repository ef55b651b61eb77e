/**
 * Where chunks go as they come from the link: into a slot of shared memory, from which another thread hashes, writes and
 * marks them (one thread that receives, hashes and writes is half as fast). There are SLOTS of them and no more, so a
 * download takes the same memory whatever its size.
 */
import { extname } from 'node:path'
import { Worker } from 'node:worker_threads'
import type { Bytes } from '../core/encoding.ts'
import { type ErrorCode, P2pnsError } from '../core/errors.ts'
import { CHUNK_SIZE, leafHash } from '../core/tree.ts'
import type { Run } from './layout.ts'
import type { WriterOptions } from './writer.ts'

/** Chunks asked for, arriving or being written: 16 MiB. */
const SLOTS = 64
/** Chunks checked between two reports of progress. */
const CHECK_STEP = 64

export interface Sink {
  /** Places there are: chunks asked for, arriving and being written must not be more. */
  readonly slots: number
  /** A place for `length` bytes. Throws `internal` when none is free. */
  take(length: number): Bytes
  /** The place is not needed after all; one of another sink is ignored. */
  giveBack(place: Bytes): void
  /** Whether what lies in `place` has the hash `leaf`, and is kept; `place` is given back. Throws disk errors. */
  write(chunk: number, place: Bytes, leaf: Bytes): Promise<boolean>
}

/** For an entry list, whose chunks are the first: kept in memory. */
export class MemorySink implements Sink {
  readonly bytes: Buffer
  readonly slots = SLOTS

  constructor(size: number) {
    this.bytes = Buffer.alloc(size)
  }

  take(length: number): Bytes {
    return Buffer.allocUnsafe(length)
  }

  giveBack(): void {}

  async write(chunk: number, place: Bytes, leaf: Bytes): Promise<boolean> {
    if (Buffer.compare(leafHash(place), leaf) !== 0) return false
    this.bytes.set(place, chunk * CHUNK_SIZE)
    return true
  }
}

export type SinkRequest =
  | { type: 'open'; options: WriterOptions }
  | { type: 'write'; slot: number; length: number; chunk: number; leaf: Bytes }
  | { type: 'check'; first: number; count: number }
  | { type: 'close' }
export type SinkAnswer = { ok: boolean[] } | { error: { code: ErrorCode; what: string } }
export type SinkMemory = { memory: SharedArrayBuffer }

/** One thread and its slots; idle ones are kept, because neither gives its memory back soon. */
class SinkThread {
  static readonly #idle: SinkThread[] = []
  readonly memory = new SharedArrayBuffer(SLOTS * CHUNK_SIZE)
  readonly #worker: Worker
  /** The thread answers in order. */
  readonly #waiting: { resolve: (ok: boolean[]) => void; reject: (error: Error) => void }[] = []
  #broken: Error | undefined

  static get(): SinkThread {
    return SinkThread.#idle.pop() ?? new SinkThread()
  }

  constructor() {
    const workerData: SinkMemory = { memory: this.memory }
    // The build renames the file, but not the name in this string.
    const file = new URL(`./sink-worker${extname(import.meta.url)}`, import.meta.url)
    this.#worker = new Worker(file, { workerData })
    this.#worker.on('message', (answer: SinkAnswer) => this.#answered(answer))
    this.#worker.on('error', (cause) => this.#fail(cause))
  }

  ask(request: SinkRequest): Promise<boolean[]> {
    return new Promise((resolve, reject) => {
      if (this.#broken) return reject(this.#broken)
      this.#worker.ref()
      this.#waiting.push({ resolve, reject })
      // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has no origin
      this.#worker.postMessage(request)
    })
  }

  async release(): Promise<void> {
    await this.ask({ type: 'close' }).catch(() => undefined)
    if (!this.#broken) SinkThread.#idle.push(this)
  }

  #answered(answer: SinkAnswer): void {
    const waiting = this.#waiting.shift()
    // An idle thread keeps no process alive.
    if (this.#waiting.length === 0) this.#worker.unref()
    if ('ok' in answer) waiting?.resolve(answer.ok)
    else waiting?.reject(new P2pnsError(answer.error.code, answer.error.what))
  }

  #fail(cause: unknown): void {
    this.#broken = new P2pnsError('disk_error', 'the writing thread stopped', { cause })
    for (const { reject } of this.#waiting.splice(0)) reject(this.#broken)
  }
}

/** Writes a download's files and map through a thread, in the order of the calls. */
export class DiskSink implements Sink {
  readonly slots = SLOTS
  readonly #thread = SinkThread.get()
  readonly #freeSlots = Array.from({ length: SLOTS }, (_, i) => i)
  readonly #opened: Promise<unknown>
  #closed: Promise<void> | undefined

  constructor(options: WriterOptions) {
    this.#opened = this.#thread.ask({ type: 'open', options })
    // What went wrong is told to whoever writes.
    this.#opened.catch(() => undefined)
  }

  take(length: number): Bytes {
    const slot = this.#freeSlots.pop()
    if (slot === undefined) throw new P2pnsError('internal', 'no slot is free for a chunk')
    return new Uint8Array(this.#thread.memory, slot * CHUNK_SIZE, length)
  }

  giveBack(place: Bytes): void {
    if (place.buffer === this.#thread.memory) this.#freeSlots.push(place.byteOffset / CHUNK_SIZE)
  }

  async write(chunk: number, place: Bytes, leaf: Bytes): Promise<boolean> {
    await this.#opened
    const slot = place.byteOffset / CHUNK_SIZE
    const [ok] = await this.#thread.ask({ type: 'write', slot, length: place.length, chunk, leaf })
    this.giveBack(place)
    return ok === true
  }

  /** Which chunks of `run` an earlier try left, hashed again; in steps, so that progress can be shown. */
  async *check(run: Run): AsyncGenerator<{ chunk: number; ok: boolean }> {
    await this.#opened
    for (let first = run.first; first < run.first + run.count; first += CHECK_STEP) {
      const count = Math.min(CHECK_STEP, run.first + run.count - first)
      const ok = await this.#thread.ask({ type: 'check', first, count })
      for (let i = 0; i < count; i++) yield { chunk: first + i, ok: ok[i] === true }
    }
  }

  /** Everything accepted is written, and the files are closed. */
  close(): Promise<void> {
    this.#closed ??= this.#thread.release()
    return this.#closed
  }
}
