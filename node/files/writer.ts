/** Verified chunks onto the disk and back: the synchronous work that the sink's thread does. */
import * as fs from 'node:fs'
import { LRUCache } from 'lru-cache'
import { type Bytes, equalBytes } from '../core/encoding.ts'
import { CHUNK_SIZE, HASH_SIZE, leafHash } from '../core/tree.ts'
import { diskError, guardedPath } from './disk.ts'
import { Layout, type Part } from './layout.ts'
import { markOffset } from './map.ts'

export interface WriterOptions {
  /** File or folder that is being made. */
  base: string
  /** Its map, which exists. */
  map: string
  parts: readonly Part[]
}

/** `fs.writeSync`, passed in so that a test can fill the disk. */
export type WriteAt = (fd: number, data: Bytes, offset: number, length: number, position: number) => number

const { O_CREAT, O_NOFOLLOW, O_RDWR } = fs.constants
const OPEN_FILES = 32
const UNMARKED = new Uint8Array(HASH_SIZE)

export class ChunkWriter {
  readonly #base: string
  readonly #layout: Layout
  readonly #map: number
  readonly #writeAt: WriteAt
  readonly #files = new LRUCache<string, number>({ max: OPEN_FILES, dispose: (fd) => fs.closeSync(fd) })
  readonly #buffer = Buffer.allocUnsafeSlow(CHUNK_SIZE)

  constructor({ base, map, parts }: WriterOptions, writeAt: WriteAt = fs.writeSync) {
    this.#base = base
    this.#layout = new Layout(parts)
    this.#map = fs.openSync(map, O_RDWR | O_NOFOLLOW)
    this.#writeAt = writeAt
  }

  /** Whether `data` has the hash `leaf`; if so it is written, then marked. Throws `disk_full`, `disk_error`, `path_unsafe`. */
  write(chunk: number, data: Bytes, leaf: Bytes): boolean {
    if (!equalBytes(leafHash(data), leaf)) return false
    const part = this.#layout.partOf(chunk)
    try {
      this.#writeAll(this.#open(part, O_CREAT), data, (chunk - part.first) * CHUNK_SIZE)
      this.#writeAll(this.#map, leaf, markOffset(chunk))
    } catch (cause) {
      throw diskError(cause, `writing ${this.#base}`)
    }
    return true
  }

  /** Whether `chunk` is marked and on disk as marked; a mark that is wrong is taken back. */
  check(chunk: number): boolean {
    const mark = new Uint8Array(HASH_SIZE)
    fs.readSync(this.#map, mark, 0, HASH_SIZE, markOffset(chunk))
    if (equalBytes(mark, UNMARKED)) return false
    if (equalBytes(this.#read(chunk), mark)) return true
    this.#writeAll(this.#map, UNMARKED, markOffset(chunk))
    return false
  }

  close(): void {
    this.#files.clear()
    fs.closeSync(this.#map)
  }

  /** The leaf hash of a chunk on disk; of nothing if it cannot be read. */
  #read(chunk: number): Bytes {
    const part = this.#layout.partOf(chunk)
    const data = this.#buffer.subarray(0, this.#layout.lengthOf(chunk))
    try {
      const read = fs.readSync(this.#open(part, 0), data, 0, data.length, (chunk - part.first) * CHUNK_SIZE)
      return leafHash(data.subarray(0, read))
    } catch {
      return UNMARKED
    }
  }

  #open(part: Part, flags: number): number {
    const inner = part.path ?? ''
    const known = this.#files.get(inner)
    if (known !== undefined) return known
    const fd = fs.openSync(guardedPath(this.#base, inner), O_RDWR | O_NOFOLLOW | flags, 0o600)
    this.#files.set(inner, fd)
    return fd
  }

  #writeAll(fd: number, data: Bytes, position: number): void {
    for (let done = 0; done < data.length; ) {
      done += this.#writeAt(fd, data, done, data.length - done, position + done)
    }
  }
}
