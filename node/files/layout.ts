/**
 * The chunks of a content, numbered through: first those of an entry list that is set apart, then those of each file in
 * the order of the entries. One number names a chunk everywhere: in requests, bitfields and the map of a download.
 */
import type { Bytes } from '../core/encoding.ts'
import { P2pnsError } from '../core/errors.ts'
import type { SignedManifest } from '../core/manifest.ts'
import { CHUNK_SIZE, chunkCount, MAX_SPAN, type Span, spanAround } from '../core/tree.ts'

/** One tree of the content. `path`: undefined for the entry list. `first`, `count`: its chunks. */
export interface Part {
  path: string | undefined
  size: number
  root: Bytes
  first: number
  count: number
}

export interface Run {
  first: number
  count: number
}

export class Layout {
  /** In the order of their numbers; a part may be empty. */
  readonly parts: readonly Part[]
  /** One more than the highest chunk number. */
  readonly end: number
  readonly #filled: readonly Part[]

  constructor(parts: readonly Part[]) {
    this.parts = parts
    this.#filled = parts.filter((part) => part.count > 0)
    const last = this.#filled.at(-1)
    this.end = last ? last.first + last.count : 0
  }

  /** Only the entry list, as long as the entries are not known. */
  static of(manifest: SignedManifest): Layout {
    const parts: Part[] = []
    let first = 0
    const add = (path: string | undefined, size: number, root: Bytes): void => {
      const count = chunkCount(size)
      parts.push({ path, size, root, first, count })
      first += count
    }
    if (manifest.list) add(undefined, manifest.list.size, manifest.list.root)
    for (const entry of manifest.entries ?? []) if (entry.type === 'file') add(entry.path, entry.size, entry.root)
    return new Layout(parts)
  }

  get bytes(): number {
    return this.parts.reduce((sum, part) => sum + part.size, 0)
  }

  get runs(): Run[] {
    return this.#filled.map(({ first, count }) => ({ first, count }))
  }

  /** The part that `chunk` lies in. Throws `frame_invalid`: chunk numbers come from peers. */
  partOf(chunk: number): Part {
    let low = 0
    let high = this.#filled.length - 1
    while (low <= high) {
      const middle = (low + high) >> 1
      const part = this.#filled[middle] as Part
      if (chunk < part.first) high = middle - 1
      else if (chunk >= part.first + part.count) low = middle + 1
      else return part
    }
    throw new P2pnsError('frame_invalid', `the content has no chunk ${chunk}`)
  }

  /** Bytes in `chunk`. */
  lengthOf(chunk: number): number {
    const part = this.partOf(chunk)
    return Math.min(CHUNK_SIZE, part.size - (chunk - part.first) * CHUNK_SIZE)
  }
}

/** The span around `chunk`; `start` is the chunk number of its first leaf. */
export function spanIn(part: Part, chunk: number): { span: Span; start: number } {
  const span = spanAround(part.count, chunk - part.first)
  return { span, start: part.first + span.first }
}

/** The starts of the spans that `run` touches in files of more than one chunk; one chunk is its own root. */
export function* spanStarts(layout: Layout, run: Run): Generator<{ part: Part; span: Span; start: number }> {
  const end = run.first + run.count
  for (let chunk = run.first; chunk < end; ) {
    const part = layout.partOf(chunk)
    const { span, start } = spanIn(part, chunk)
    if (part.count > 1) yield { part, span, start }
    chunk = Math.min(start + MAX_SPAN, part.first + part.count)
  }
}
