/**
 * One link, seen from the side that serves. What the peer asks for is read ahead in blocks of BLOCK_CHUNKS, laid out as frames in
 * one buffer and given to the link in one write; the next block is read while the last one leaves, and no more than that,
 * so a slow link costs two blocks of memory and a hundred chunks asked for cost nothing.
 */
import * as fs from 'node:fs/promises'
import type { Duplex } from 'node:stream'
import type { Bytes } from '../core/encoding.ts'
import { isError, P2pnsError } from '../core/errors.ts'
import {
  type ByeReason,
  CHUNK_HEAD,
  encodeFrame,
  type Frame,
  FrameDecoder,
  MAX_RUN,
  writeChunkHead,
} from '../core/frames.ts'
import { CHUNK_SIZE, type Tree } from '../core/tree.ts'
import type { Layout, Part, Run } from './layout.ts'
import { type Share, type SharedFile, sameStamp } from './share.ts'

/** 1 MiB a block. */
const BLOCK_CHUNKS = 4
/** Milliseconds without a question or a write that went out. */
const IDLE_TIME = 120_000
/** Milliseconds in which a peer has to greet. */
const HELLO_TIME = 5_000
/** Bytes that may wait for a peer that does not read: one block, and small answers. */
const MAX_UNREAD = 4 * 1024 * 1024

/** One share as it is served. `list`: its entry list, if that is set apart. */
export interface Served {
  share: Share
  layout: Layout
  list: { bytes: Bytes; tree: Tree } | undefined
}

export class SeedLink {
  readonly ended: Promise<void>
  readonly #stream: Duplex
  readonly #find: (content: Bytes) => Served | undefined
  readonly #idle: NodeJS.Timeout
  readonly #ungreeted: NodeJS.Timeout
  #lastActive = performance.now()
  #served: Served | undefined
  #queue: Run[] = []
  #queued = 0
  #sending = false
  #closed = false
  #written = (): void => undefined
  /** The first chunk of the last read, and why there will be no other. */
  #reading = 0
  #failure: unknown
  #open: { source: string; handle: fs.FileHandle } | undefined

  constructor(stream: Duplex, find: (content: Bytes) => Served | undefined) {
    this.#stream = stream
    this.#find = find
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
      this.#stopSending()
      this.#written()
    })
  }

  /** Says why and closes. */
  bye(reason: ByeReason, chunk?: number): void {
    if (this.#closed) return
    this.#close()
    this.#stopSending()
    this.#stream.end(encodeFrame({ type: 'bye', reason, ...(chunk === undefined ? {} : { chunk }) }))
    setTimeout(() => this.#stream.destroy(), 1000).unref()
  }

  /** Milliseconds of the monotonic clock: the last question, or write that went out. */
  get lastActive(): number {
    return this.#lastActive
  }

  #close(): void {
    this.#closed = true
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
        return this.#answer({ type: 'manifest', stored: served.share.manifest.stored })
      case 'hashesRequest':
        this.#active()
        return this.#sendHashes(served, frame)
      case 'request':
        this.#active()
        return this.#enqueue(served, frame)
      case 'cancel':
        return this.#cancel(frame)
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
    this.#served = this.#find(content)
    if (!this.#served) return this.bye('content_not_found')
    this.#answer({ type: 'hello', content })
    this.#answer({ type: 'bitfield', bits: new Uint8Array(0) })
  }

  #answer(frame: Frame): void {
    if (this.#closed) return
    this.#stream.write(encodeFrame(frame))
    if (this.#stream.writableLength > MAX_UNREAD) this.#stream.destroy()
  }

  #sendHashes(served: Served, { first, count }: Run): void {
    const part = served.layout.partOf(first)
    const { leaves, uncles } = treeOfPart(served, part).prove(first - part.first, count)
    this.#answer({ type: 'hashes', first, count, leaves, uncles })
  }

  #enqueue({ layout }: Served, { first, count }: Run): void {
    if (first + count > layout.end) throw new P2pnsError('frame_invalid', `there is no chunk ${first + count - 1}`)
    this.#queued += count
    if (this.#queued > MAX_RUN) throw new P2pnsError('frame_invalid', `more than ${MAX_RUN} chunks are asked for`)
    const last = this.#queue.at(-1)
    if (last && last.first + last.count === first) last.count += count
    else this.#queue.push({ first, count })
    if (!this.#sending) void this.#send()
  }

  #cancel({ first, count }: Run): void {
    const end = first + count
    this.#queue = this.#queue.flatMap((run) => {
      const runEnd = run.first + run.count
      const before = { first: run.first, count: Math.min(runEnd, first) - run.first }
      const after = { first: Math.max(run.first, end), count: runEnd - Math.max(run.first, end) }
      return [before, after].filter(({ count }) => count > 0)
    })
    this.#queued = this.#queue.reduce((sum, { count }) => sum + count, 0)
  }

  #stopSending(): void {
    this.#queue = []
    this.#queued = 0
    if (!this.#sending) void this.#closeFile()
  }

  async #send(): Promise<void> {
    this.#sending = true
    const buffers = [0, 1].map(() => Buffer.allocUnsafeSlow(BLOCK_CHUNKS * (CHUNK_HEAD + CHUNK_SIZE)))
    let writing: Promise<void> = Promise.resolve()
    try {
      for (let i = 0; !this.#closed; i++) {
        if (this.#queued === 0) await writing
        // More may have been asked for meanwhile.
        if (this.#queued === 0) break
        const block = await this.#fill(buffers[i % 2] as Buffer)
        await writing
        writing = this.#write(block)
        if (this.#failure) throw this.#failure
      }
    } catch (cause) {
      if (isError(cause, 'file_changed')) this.bye('file_changed', this.#reading)
      else this.bye('content_not_found')
    }
    this.#sending = false
    if (this.#closed) await this.#closeFile()
  }

  #write(block: Bytes): Promise<void> {
    return new Promise((resolve) => {
      // A stream that closes need not call back.
      this.#written = resolve
      this.#stream.write(block, () => {
        if (!this.#closed) this.#active()
        resolve()
      })
    })
  }

  /** The next chunks of the queue as frames: as many as fit, and can be read. */
  async #fill(buffer: Buffer): Promise<Bytes> {
    let used = 0
    for (let room = BLOCK_CHUNKS; room > 0 && this.#served; ) {
      const run = this.#queue[0]
      if (!run) break
      const { layout } = this.#served
      const part = layout.partOf(run.first)
      const first = run.first
      this.#reading = first
      const count = Math.min(run.count, room, part.first + part.count - first)
      run.first += count
      run.count -= count
      if (run.count === 0) this.#queue.shift()
      this.#queued -= count
      room -= count

      const before = used
      const places: Buffer[] = []
      for (let chunk = first; chunk < first + count; chunk++) {
        const length = layout.lengthOf(chunk)
        writeChunkHead(buffer, used, chunk, length)
        places.push(buffer.subarray(used + CHUNK_HEAD, used + CHUNK_HEAD + length))
        used += CHUNK_HEAD + length
      }
      try {
        await this.#read(this.#served, part, (first - part.first) * CHUNK_SIZE, places)
      } catch (cause) {
        this.#failure = cause
        return buffer.subarray(0, before)
      }
    }
    return buffer.subarray(0, used)
  }

  /** Throws `file_changed` when the file is not the one that was hashed. */
  async #read({ share, list }: Served, part: Part, position: number, places: Buffer[]): Promise<void> {
    if (part.path === undefined) {
      let at = position
      for (const place of places) at += Buffer.from(list?.bytes ?? []).copy(place, 0, at)
      return
    }
    const file = share.files.get(part.path) as SharedFile
    const changed = new P2pnsError('file_changed', `${file.source} changed after it was shared`)
    const handle = await this.#openFile(file.source).catch(() => {
      throw changed
    })
    const wanted = places.reduce((sum, place) => sum + place.length, 0)
    const { bytesRead } = await handle.readv(places, position)
    if (bytesRead !== wanted || !sameStamp(file.stamp, await handle.stat({ bigint: true }))) throw changed
  }

  async #openFile(source: string): Promise<fs.FileHandle> {
    if (this.#open?.source === source) return this.#open.handle
    await this.#closeFile()
    const handle = await fs.open(source, fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW)
    this.#open = { source, handle }
    return handle
  }

  async #closeFile(): Promise<void> {
    const open = this.#open
    this.#open = undefined
    // Nothing was written to it: a close that fails loses nothing.
    await open?.handle.close().catch(() => undefined)
  }
}

function treeOfPart({ share, list }: Served, part: Part): Tree {
  const tree = part.path === undefined ? list?.tree : share.files.get(part.path)?.tree
  if (!tree) throw new P2pnsError('internal', `no tree of ${part.path}`)
  return tree
}
