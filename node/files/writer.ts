/** Verified chunks onto the disk and back: synchronous, the work of a link thread. */
import * as fs from 'node:fs'
import { LRUCache } from 'lru-cache'
import { type Bytes, equalBytes } from '../core/encoding.ts'
import { CHUNK_SIZE, HASH_SIZE, leafHash, spanLength, verifySpan } from '../core/tree.ts'
import { diskError, guardedPath, pathInside } from './disk.ts'
import { Layout, type Part, spanIn } from './layout.ts'
import { MapShape, PROOF_SIZE, proofBytes, unclesIn } from './map.ts'

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
const MARK = Uint8Array.of(1)
const UNMARKED = Uint8Array.of(0)

export class ChunkWriter {
  readonly #base: string
  readonly #layout: Layout
  readonly #shape: MapShape
  readonly #mapFile: string
  readonly #map: number
  readonly #writeAt: WriteAt
  readonly #files = new LRUCache<string, number>({ max: OPEN_FILES, dispose: (fd) => fs.closeSync(fd) })
  readonly #buffer = Buffer.allocUnsafeSlow(CHUNK_SIZE)
  /** The span that was looked at last, and its leaves if they prove themselves. */
  #proven: { start: number; leaves: Bytes | undefined } | undefined

  constructor({ base, map, parts }: WriterOptions, writeAt: WriteAt = fs.writeSync) {
    this.#base = base
    this.#layout = new Layout(parts)
    this.#shape = new MapShape(this.#layout)
    this.#mapFile = map
    this.#map = trying(`opening ${map}`, () => fs.openSync(map, O_RDWR | O_NOFOLLOW))
    this.#writeAt = writeAt
  }

  /** Keeps a chunk that was verified, and marks it. Throws `disk_full`, `disk_error`, `path_unsafe`. */
  write(chunk: number, data: Bytes): void {
    const part = this.#layout.partOf(chunk)
    trying(`writing ${this.#placeOf(part)}`, () => {
      this.#writeAll(this.#open(part, O_CREAT), data, (chunk - part.first) * CHUNK_SIZE)
    })
    this.#note(MARK, this.#shape.markOffset(chunk))
    // Of many small files none is opened twice.
    if (part.count === 1) this.#files.delete(part.path ?? '')
  }

  /** Keeps the hashes of a span that was proven; `start` is its first chunk. Throws as `write`. */
  prove(start: number, leaves: Bytes, uncles: Bytes): void {
    const part = this.#layout.partOf(start)
    this.#note(leaves, this.#shape.leafOffset(start))
    // Last: it says that the leaves are there.
    this.#note(proofBytes(uncles), this.#shape.proofOffset(part, start))
  }

  /** Whether `chunk` is marked and on disk with the leaf hash that is known; a mark that is wrong is taken back. Throws as `write`. */
  check(chunk: number): boolean {
    const [mark] = this.#readMap(this.#shape.markOffset(chunk), 1)
    if (mark !== 1) return false
    const leaf = this.#leaf(chunk)
    if (leaf && equalBytes(this.#hashed(chunk), leaf)) return true
    this.#note(UNMARKED, this.#shape.markOffset(chunk))
    return false
  }

  close(): void {
    this.#files.clear()
    fs.closeSync(this.#map)
  }

  /** The leaf hash that a chunk must have: proven from the root, since the map is a file that anything may have written to. */
  #leaf(chunk: number): Bytes | undefined {
    const part = this.#layout.partOf(chunk)
    if (part.count === 1) return part.root
    const { start, span } = spanIn(part, chunk)
    if (this.#proven?.start !== start) {
      const leaves = this.#readMap(this.#shape.leafOffset(start), spanLength(span) * HASH_SIZE)
      const uncles = unclesIn(this.#readMap(this.#shape.proofOffset(part, start), PROOF_SIZE))
      const right = uncles !== undefined && verifySpan(part.root, span, leaves, uncles)
      this.#proven = { start, leaves: right ? leaves : undefined }
    }
    const at = (chunk - start) * HASH_SIZE
    return this.#proven.leaves?.subarray(at, at + HASH_SIZE)
  }

  #readMap(offset: number, length: number): Bytes {
    const bytes = Buffer.alloc(length)
    trying(`reading ${this.#mapFile}`, () => fs.readSync(this.#map, bytes, 0, length, offset))
    return bytes
  }

  #note(bytes: Bytes, offset: number): void {
    trying(`writing ${this.#mapFile}`, () => this.#writeAll(this.#map, bytes, offset))
  }

  /** The leaf hash of a chunk on disk; of nothing if it cannot be read. */
  #hashed(chunk: number): Bytes {
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

  #placeOf({ path = '' }: Part): string {
    return pathInside(this.#base, path)
  }

  #writeAll(fd: number, data: Bytes, position: number): void {
    for (let done = 0; done < data.length; ) {
      done += this.#writeAt(fd, data, done, data.length - done, position + done)
    }
  }
}

function trying<Result>(what: string, work: () => Result): Result {
  try {
    return work()
  } catch (cause) {
    throw diskError(cause, what)
  }
}
