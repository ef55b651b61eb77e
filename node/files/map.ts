/**
 * `TARGET.part.map`: what a download has, so that it goes on after kill -9, and can serve what it has.
 *
 *     head      which content it is of
 *     marks     one byte per chunk: 1 once it is written and was verified
 *     proofs    per span: its uncles, as a peer sent them
 *     leaves    32 bytes per chunk: the leaf hashes of every span that was proven
 *
 * A mark is written right after its chunk, so a killed process loses none; a power cut may keep the mark and lose the
 * chunk, so marked chunks are hashed again before they are trusted. A file of one chunk has its root for a leaf, and
 * nothing here but a mark.
 */
import * as fs from 'node:fs/promises'
import { type Bytes, concat, equalBytes, utf8 } from '../core/encoding.ts'
import { sha256 } from '../core/keys.ts'
import { HASH_SIZE, MAX_SPAN, spanLength } from '../core/tree.ts'
import { diskError, readFully, withFile } from './disk.ts'
import { type Layout, type Part, type Run, spanIn } from './layout.ts'
import type { Proof } from './source.ts'

const { O_CREAT, O_EXCL, O_NONBLOCK, O_RDONLY, O_WRONLY } = fs.constants
const MAGIC = utf8('p2pns part map 2\n')
export const MAP_HEAD = MAGIC.length + HASH_SIZE
/** A tree of MAX_CHUNKS has 24 levels, and a span of MAX_SPAN chunks is at the ninth. */
const MAX_UNCLES = 15
/** `u8` number of uncles plus one (so that zero means none known), and the uncles. */
export const PROOF_SIZE = 1 + MAX_UNCLES * HASH_SIZE

/** Where everything stands in the map of a download. */
export class MapShape {
  readonly #end: number
  readonly #firstSpans: Map<number, number>
  readonly #spans: number

  constructor(layout: Layout) {
    this.#end = layout.end
    this.#firstSpans = new Map()
    let spans = 0
    for (const { first, count } of layout.parts) {
      if (count < 2) continue
      this.#firstSpans.set(first, spans)
      spans += Math.ceil(count / MAX_SPAN)
    }
    this.#spans = spans
  }

  markOffset(chunk: number): number {
    return MAP_HEAD + chunk
  }

  /** `start`: the number of the first chunk of a span of `part`. */
  proofOffset(part: Part, start: number): number {
    const span = (this.#firstSpans.get(part.first) ?? 0) + (start - part.first) / MAX_SPAN
    return MAP_HEAD + this.#end + span * PROOF_SIZE
  }

  /** Where the leaf of chunk 0 would stand. */
  get leaves(): number {
    return MAP_HEAD + this.#end + this.#spans * PROOF_SIZE
  }

  leafOffset(chunk: number): number {
    return this.leaves + chunk * HASH_SIZE
  }
}

/** What a map is of: a content, and what of it is fetched. */
export function mapKey(content: Bytes, selected: string): Bytes {
  return sha256(content, utf8(selected))
}

/** `ours`: this download's. `other`: of another download. `none`: no map, or a file that is not a map. */
export async function readMapHead(file: string, key: Bytes): Promise<'ours' | 'other' | 'none'> {
  const head = Buffer.alloc(MAP_HEAD)
  try {
    // Something else may have the name: a pipe, which nobody writes to, or a folder.
    await withFile(file, O_RDONLY | O_NONBLOCK, (handle) => handle.read(head, 0, MAP_HEAD))
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? cause.code : undefined
    if (code === 'ENOENT' || code === 'EISDIR') return 'none'
    throw diskError(cause, file)
  }
  if (!equalBytes(head.subarray(0, MAGIC.length), MAGIC)) return 'none'
  return equalBytes(head.subarray(MAGIC.length), key) ? 'ours' : 'other'
}

/** A map that exists is whole: it is made beside its place and renamed. */
export async function createMap(file: string, key: Bytes): Promise<void> {
  const fresh = `${file}.new`
  await fs.rm(fresh, { force: true })
  await withFile(fresh, O_WRONLY | O_CREAT | O_EXCL, async (handle) => {
    await handle.write(concat(MAGIC, key))
    await handle.sync()
  })
  await fs.rename(fresh, file)
}

/** The marks of `run`: 1 for a chunk that is here. */
export function readMarks(file: string, shape: MapShape, { first, count }: Run): Promise<Bytes> {
  return readAt(file, shape.markOffset(first), count)
}

/** The leaves of `run`, zeros where they are not known. */
export function readLeavesOf(file: string, shape: MapShape, { first, count }: Run): Promise<Bytes> {
  return readAt(file, shape.leafOffset(first), count * HASH_SIZE)
}

/** The leaves and uncles of the span that begins at chunk `start`, if they were proven; they may have rotted since. */
export async function readProof(file: string, shape: MapShape, part: Part, start: number): Promise<Proof | undefined> {
  const uncles = unclesIn(await readAt(file, shape.proofOffset(part, start), PROOF_SIZE))
  if (!uncles) return undefined
  const { span } = spanIn(part, start)
  const leaves = await readLeavesOf(file, shape, { first: start, count: spanLength(span) })
  return { leaves, uncles }
}

/** What `readProof` reads: written by whoever proved the span. */
export function proofBytes(uncles: Bytes): Bytes {
  return concat(Uint8Array.of(uncles.length / HASH_SIZE + 1), uncles)
}

/** The inverse of `proofBytes`; undefined where none are known. */
export function unclesIn(bytes: Bytes): Bytes | undefined {
  const known = bytes[0] as number
  return known === 0 || known > MAX_UNCLES + 1 ? undefined : bytes.slice(1, 1 + (known - 1) * HASH_SIZE)
}

function readAt(file: string, offset: number, length: number): Promise<Bytes> {
  const bytes = Buffer.alloc(length)
  return withFile(file, O_RDONLY, async (handle) => {
    await readFully(handle, bytes, offset)
    return bytes
  })
}
