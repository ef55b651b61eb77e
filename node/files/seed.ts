/**
 * Serves shared content over links. What a peer asks for is read ahead in blocks of BLOCK_CHUNKS, laid out as frames in
 * one buffer and given to the link in one write; the next block is read while the last one leaves, and no more than that,
 * so a slow link costs two blocks of memory and a hundred chunks asked for cost nothing.
 */
import * as fs from 'node:fs/promises'
import type { Duplex } from 'node:stream'
import { type Bytes, toHex } from '../core/encoding.ts'
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
import { encodeEntries, hashOfCid } from '../core/manifest.ts'
import { CHUNK_SIZE, leavesOf, Tree } from '../core/tree.ts'
import { Layout, type Part, type Run } from './layout.ts'
import { type Share, type SharedFile, sameStamp } from './share.ts'

/** 1 MiB a block. */
const BLOCK_CHUNKS = 4
/** Links served at a time; two blocks each. */
const MAX_LINKS = 64
/** Milliseconds without a frame or a write that went out. */
const IDLE_TIME = 120_000
/** Bytes that may wait for a peer that does not read: one block, and small answers. */
const MAX_UNREAD = 4 * 1024 * 1024

/** One share as it is served. `list`: its entry list, if that is set apart. */
interface Served {
  share: Share
  layout: Layout
  list: { bytes: Bytes; tree: Tree } | undefined
}

export class Seeder {
  readonly #served = new Map<string, Served>()
  readonly #links = new Set<SeedLink>()

  add(share: Share): void {
    const { manifest } = share
    const bytes = manifest.list && manifest.entries && encodeEntries(manifest.entries)
    const list = bytes && { bytes, tree: new Tree(leavesOf(bytes)) }
    this.#served.set(toHex(manifest.hash), { share, layout: Layout.of(manifest), list })
  }

  /** `id`: the identifier of the manifest. */
  has(id: string): boolean {
    return this.#served.has(toHex(hashOfCid(id)))
  }

  /** Links that are being served finish what they asked for. */
  remove(id: string): void {
    this.#served.delete(toHex(hashOfCid(id)))
  }

  get shares(): Share[] {
    return [...this.#served.values()].map(({ share }) => share)
  }

  /** Serves a link until it ends; the stream is closed then. Never throws. */
  async serve(stream: Duplex): Promise<void> {
    const link = new SeedLink(stream, (content) => this.#served.get(toHex(content)))
    if (this.#links.size >= MAX_LINKS) return link.bye('busy')
    this.#links.add(link)
    await link.ended
    this.#links.delete(link)
  }
}

class SeedLink {
  readonly ended: Promise<void>
  readonly #stream: Duplex
  readonly #find: (content: Bytes) => Served | undefined
  readonly #idle: NodeJS.Timeout
  #served: Served | undefined
  #queue: Run[] = []
  #queued = 0
  #sending = false
  #closed = false
  #written = (): void => undefined
  #open: { source: string; handle: fs.FileHandle } | undefined

  constructor(stream: Duplex, find: (content: Bytes) => Served | undefined) {
    this.#stream = stream
    this.#find = find
    this.#idle = setTimeout(() => this.bye('idle'), IDLE_TIME).unref()
    this.ended = new Promise((resolve) => stream.once('close', resolve))
    const decoder = new FrameDecoder({
      open: () => {
        throw new P2pnsError('frame_invalid', 'a chunk came that nobody asked for')
      },
      frame: (frame) => this.#frame(frame),
    })
    stream.on('data', (bytes: Buffer) => {
      if (this.#closed) return
      this.#idle.refresh()
      try {
        decoder.push(bytes)
      } catch {
        this.bye('frame_invalid')
      }
    })
    stream.on('error', () => stream.destroy())
    stream.on('end', () => stream.destroy())
    stream.on('close', () => {
      this.#closed = true
      clearTimeout(this.#idle)
      this.#stopSending()
      this.#written()
    })
  }

  /** Says why and closes. */
  bye(reason: ByeReason): void {
    if (this.#closed) return
    this.#closed = true
    clearTimeout(this.#idle)
    this.#stopSending()
    this.#stream.end(encodeFrame({ type: 'bye', reason }))
    setTimeout(() => this.#stream.destroy(), 1000).unref()
  }

  #frame(frame: Frame): void {
    if (frame.type === 'hello') return this.#greet(frame.content)
    const served = this.#served
    if (!served) throw new P2pnsError('frame_invalid', 'the peer did not greet')
    switch (frame.type) {
      case 'manifestRequest':
        return this.#answer({ type: 'manifest', stored: served.share.manifest.stored })
      case 'hashesRequest':
        return this.#sendHashes(served, frame)
      case 'request':
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
      }
    } catch (cause) {
      this.bye(isError(cause, 'file_changed') ? 'file_changed' : 'content_not_found')
    }
    this.#sending = false
    if (this.#closed) await this.#closeFile()
  }

  #write(block: Bytes): Promise<void> {
    return new Promise((resolve) => {
      // A stream that closes need not call back.
      this.#written = resolve
      this.#stream.write(block, () => {
        if (!this.#closed) this.#idle.refresh()
        resolve()
      })
    })
  }

  /** The next chunks of the queue as frames: as many as fit. */
  async #fill(buffer: Buffer): Promise<Bytes> {
    let used = 0
    for (let room = BLOCK_CHUNKS; room > 0 && this.#served; ) {
      const run = this.#queue[0]
      if (!run) break
      const { layout } = this.#served
      const part = layout.partOf(run.first)
      const first = run.first
      const count = Math.min(run.count, room, part.first + part.count - first)
      run.first += count
      run.count -= count
      if (run.count === 0) this.#queue.shift()
      this.#queued -= count
      room -= count

      const places: Buffer[] = []
      for (let chunk = first; chunk < first + count; chunk++) {
        const length = layout.lengthOf(chunk)
        writeChunkHead(buffer, used, chunk, length)
        places.push(buffer.subarray(used + CHUNK_HEAD, used + CHUNK_HEAD + length))
        used += CHUNK_HEAD + length
      }
      await this.#read(this.#served, part, (first - part.first) * CHUNK_SIZE, places)
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
