/** A share as it is served: chunks read where the files lie, hashes from the file of leaves. */
import { LRUCache } from 'lru-cache'
import type { Bytes } from '../core/encoding.ts'
import { P2pnsError } from '../core/errors.ts'
import { encodeEntries } from '../core/manifest.ts'
import { CHUNK_SIZE, leavesOf, MAX_SPAN, Tree, type TreeTop } from '../core/tree.ts'
import { Layout, type Part, type Run } from './layout.ts'
import { readLeaves, topOf } from './leaves.ts'
import { OpenFiles } from './open-files.ts'
import { type Share, sameStamp } from './share.ts'
import type { Proof, Source } from './source.ts'

const OPEN_FILES = 8
/** Trees of large files, of which a few kilobytes are kept. */
const KEPT_TOPS = 64

export class ShareSource implements Source {
  readonly manifest: Bytes
  readonly layout: Layout
  readonly #share: Share
  readonly #tops = new LRUCache<number, Promise<TreeTop>>({ max: KEPT_TOPS })
  readonly #files = new OpenFiles(OPEN_FILES)
  #list: { bytes: Bytes; tree: Tree } | undefined

  constructor(share: Share) {
    this.#share = share
    this.manifest = share.manifest.stored
    this.layout = Layout.of(share.manifest)
  }

  have(): undefined {
    return undefined
  }

  onHave(_listener: (run: Run) => void): () => void {
    return () => undefined
  }

  async prove(part: Part, first: number, count: number): Promise<Proof> {
    if (part.path === undefined) return this.#entryList().tree.prove(first, count)
    if (part.count === 1) return new Tree(part.root).prove(first, count)
    const known = this.#tops.get(part.first)
    const top = known ?? topOf(this.#share.leaves, part)
    if (!known) {
      this.#tops.set(part.first, top)
      top.catch(() => this.#tops.delete(part.first))
    }
    const start = first - (first % MAX_SPAN)
    const around = await readLeaves(this.#share.leaves, part.first + start, Math.min(MAX_SPAN, part.count - start))
    return (await top).prove(first, count, around)
  }

  async read(part: Part, first: number, places: Uint8Array[]): Promise<void> {
    if (part.path === undefined) return fill(places, this.#entryList().bytes, first * CHUNK_SIZE)
    const file = this.#share.files.get(part.path)
    if (!file) throw new P2pnsError('internal', `nothing is shared as ${part.path}`)
    const wanted = places.reduce((sum, place) => sum + place.length, 0)
    const right = await this.#files
      .read(file.source, async (handle) => {
        const { bytesRead } = await handle.readv(places, first * CHUNK_SIZE)
        return bytesRead === wanted && sameStamp(file.stamp, await handle.stat({ bigint: true }))
      })
      .catch(() => false)
    if (!right) throw new P2pnsError('file_changed', `${file.source} changed after it was shared`)
  }

  close(): void {
    this.#files.close()
  }

  #entryList(): { bytes: Bytes; tree: Tree } {
    const bytes = this.#list?.bytes ?? encodeEntries(this.#share.manifest.entries ?? [])
    this.#list ??= { bytes, tree: new Tree(leavesOf(bytes)) }
    return this.#list
  }
}

/** Copies what lies in memory. */
export function fill(places: Uint8Array[], bytes: Bytes, from: number): void {
  let at = from
  for (const place of places) {
    place.set(bytes.subarray(at, at + place.length))
    at += place.length
  }
}

export function shareSource(share: Share): Source {
  return new ShareSource(share)
}
