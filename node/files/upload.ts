/**
 * What one peer asked for, on its way out: read ahead in blocks of BLOCK_CHUNKS, laid out as frames in one buffer and given to
 * the link in one write; the next block is read while the last one leaves, and no more than that, so a slow link costs
 * two blocks of memory and a thousand chunks asked for cost nothing.
 */
import type { Duplex } from 'node:stream'
import { setTimeout } from 'node:timers/promises'
import type { Bytes } from '../core/encoding.ts'
import { P2pnsError } from '../core/errors.ts'
import { CHUNK_HEAD, MAX_RUN, writeChunkHead } from '../core/frames.ts'
import type { Limiter } from '../core/limiter.ts'
import { CHUNK_SIZE } from '../core/tree.ts'
import type { Run } from './layout.ts'
import type { Source } from './source.ts'
import type { UploadOrder } from './upload-order.ts'

/** 1 MiB a block. */
const BLOCK_CHUNKS = 4

/** A content, as every link of it is served. */
export interface Served {
  /** It may become another, with more in it. */
  readonly source: Source
  readonly limiter: Limiter | undefined
  /** While several peers want it at once. */
  readonly order: UploadOrder | undefined
}

export interface UploadEvents {
  /** Resolves when every proof that was asked for is on the link. */
  proven(): Promise<void>
  /** Bytes went out. */
  gave(bytes: number): void
  /** `chunk` could not be read, and nothing more is sent. */
  failed(why: unknown, chunk: number): void
}

export class Upload {
  readonly #stream: Duplex
  readonly #served: Served
  readonly #events: UploadEvents
  #queue: Run[] = []
  #queued = 0
  #sending = false
  #stopped = false
  #written = (): void => undefined
  /** The first chunk of the last read, and why there will be no other. */
  #reading = 0
  #failure: unknown

  constructor(stream: Duplex, served: Served, events: UploadEvents) {
    this.#stream = stream
    this.#served = served
    this.#events = events
  }

  /** Whether something is asked for and not sent. */
  get isBusy(): boolean {
    return this.#queued > 0 || this.#sending
  }

  /** Throws `frame_invalid` on what is not there, or too much. */
  add({ first, count }: Run): void {
    const { end } = this.#served.source.layout
    if (first + count > end) throw new P2pnsError('frame_invalid', `there is no chunk ${first + count - 1}`)
    this.#queued += count
    if (this.#queued > MAX_RUN) throw new P2pnsError('frame_invalid', `more than ${MAX_RUN} chunks are asked for`)
    const last = this.#queue.at(-1)
    if (last && last.first + last.count === first) last.count += count
    else this.#queue.push({ first, count })
    if (!this.#sending) void this.#send()
  }

  cancel({ first, count }: Run): void {
    const end = first + count
    this.#queue = this.#queue.flatMap((run) => {
      const runEnd = run.first + run.count
      const before = { first: run.first, count: Math.min(runEnd, first) - run.first }
      const after = { first: Math.max(run.first, end), count: runEnd - Math.max(run.first, end) }
      return [before, after].filter(({ count }) => count > 0)
    })
    this.#queued = this.#queue.reduce((sum, { count }) => sum + count, 0)
  }

  /** Forgets what was asked for. */
  clear(): void {
    this.#queue = []
    this.#queued = 0
  }

  /** The link has ended. */
  stop(): void {
    this.#stopped = true
    this.clear()
    this.#written()
  }

  async #send(): Promise<void> {
    this.#sending = true
    const buffers = [0, 1].map(() => Buffer.allocUnsafeSlow(BLOCK_CHUNKS * (CHUNK_HEAD + CHUNK_SIZE)))
    let writing: Promise<void> = Promise.resolve()
    for (let i = 0; !this.#stopped; i++) {
      if (this.#queued === 0) await writing
      // More may have been asked for meanwhile.
      if (this.#queued === 0) break
      // Whatever needs a proof first has it on the way before the chunks.
      await this.#events.proven()
      const block = await this.#fill(buffers[i % 2] as Buffer)
      await writing
      await this.#mayGo(block.length)
      writing = this.#write(block)
      if (this.#failure !== undefined) {
        this.#events.failed(this.#failure, this.#reading)
        break
      }
    }
    this.#sending = false
  }

  async #mayGo(bytes: number): Promise<void> {
    const wait = this.#served.limiter?.reserve(bytes) ?? 0
    if (wait > 0) await setTimeout(wait, undefined, { ref: false })
  }

  #write(block: Bytes): Promise<void> {
    return new Promise((resolve) => {
      if (this.#stopped) return resolve()
      // A stream that closes need not call back.
      this.#written = resolve
      this.#stream.write(block, () => {
        if (!this.#stopped) this.#events.gave(block.length)
        resolve()
      })
    })
  }

  /** The next chunks of the queue as frames: as many as fit, and can be read. */
  async #fill(buffer: Buffer): Promise<Bytes> {
    const { source } = this.#served
    let used = 0
    for (const run of this.#takeBlock()) {
      const part = source.layout.partOf(run.first)
      this.#reading = run.first
      const before = used
      const places: Buffer[] = []
      for (let chunk = run.first; chunk < run.first + run.count; chunk++) {
        const length = source.layout.lengthOf(chunk)
        writeChunkHead(buffer, used, chunk, length)
        places.push(buffer.subarray(used + CHUNK_HEAD, used + CHUNK_HEAD + length))
        used += CHUNK_HEAD + length
      }
      try {
        await source.read(part, run.first - part.first, places)
      } catch (cause) {
        this.#failure = cause
        return buffer.subarray(0, before)
      }
    }
    return buffer.subarray(0, used)
  }

  /** At once, so that no chunk is taken whose proof was asked for meanwhile. */
  #takeBlock(): Run[] {
    const runs: Run[] = []
    // Under a limit links take turns chunk by chunk.
    for (let room = this.#served.limiter?.rate === undefined ? BLOCK_CHUNKS : 1; room > 0; ) {
      const run = this.#take(room)
      if (!run) break
      room -= run.count
      runs.push(run)
    }
    return runs
  }

  /** Up to `limit` chunks of one file, out of the queue. */
  #take(limit: number): Run | undefined {
    const { source, order } = this.#served
    const [oldest] = this.#queue
    if (!oldest) return undefined
    const first = order ? order.pick(this.#queue) : oldest.first
    const run = this.#queue.find((asked) => first >= asked.first && first < asked.first + asked.count) ?? oldest
    const part = source.layout.partOf(first)
    const count = Math.min(order ? 1 : limit, run.first + run.count - first, part.first + part.count - first)
    for (let chunk = first; chunk < first + count; chunk++) order?.sent(chunk)
    this.cancel({ first, count })
    return { first, count }
  }
}
