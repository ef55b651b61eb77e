/** A download under way, as it is served: what was verified, read from where it was written. */
import type { Bytes } from '../core/encoding.ts'
import { P2pnsError } from '../core/errors.ts'
import { encodeEntries, type SignedManifest } from '../core/manifest.ts'
import { CHUNK_SIZE, leavesOf, Tree } from '../core/tree.ts'
import { guardedPath } from './disk.ts'
import { Layout, type Part, type Run } from './layout.ts'
import { OpenFiles } from './open-files.ts'
import { fill } from './share-source.ts'
import type { Proof, Source } from './source.ts'

const OPEN_FILES = 8

export interface PartialOptions {
  /** With its entries. */
  manifest: SignedManifest
  /** File or folder that is being made. */
  base: string
  /** A bit for each chunk that is there; the entry list, if it is set apart, is not in it. */
  have: Bytes
  prove(part: Part, first: number, count: number): Promise<Proof | undefined>
}

export class PartialSource implements Source {
  readonly manifest: Bytes
  readonly layout: Layout
  readonly #options: PartialOptions
  readonly #listeners = new Set<(run: Run) => void>()
  readonly #list: Bytes
  readonly #listTree: Tree
  readonly #files = new OpenFiles(OPEN_FILES)

  constructor(options: PartialOptions) {
    const { manifest } = options
    this.#options = options
    this.manifest = manifest.stored
    this.layout = Layout.of(manifest)
    this.#list = manifest.list ? encodeEntries(manifest.entries ?? []) : new Uint8Array(0)
    this.#listTree = new Tree(leavesOf(this.#list))
    for (let chunk = 0; chunk < this.#listTree.total; chunk++) setBit(options.have, chunk)
  }

  have(): Bytes {
    return this.#options.have.slice()
  }

  onHave(listener: (run: Run) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Chunks that are there from now on. */
  gained(run: Run): void {
    for (const listener of this.#listeners) listener(run)
  }

  async prove(part: Part, first: number, count: number): Promise<Proof | undefined> {
    if (part.path === undefined) return this.#listTree.prove(first, count)
    if (part.count === 1) return new Tree(part.root).prove(first, count)
    return this.#options.prove(part, first, count)
  }

  async read(part: Part, first: number, places: Uint8Array[]): Promise<void> {
    if (part.path === undefined) return fill(places, this.#list, first * CHUNK_SIZE)
    const { have, base } = this.#options
    for (const i of places.keys()) {
      if (!hasBit(have, part.first + first + i)) throw new P2pnsError('frame_invalid', 'that chunk is not here')
    }
    const wanted = places.reduce((sum, place) => sum + place.length, 0)
    const { bytesRead } = await this.#files.read(guardedPath(base, part.path), (handle) =>
      handle.readv(places, first * CHUNK_SIZE),
    )
    if (bytesRead !== wanted) throw new P2pnsError('file_changed', `${base} was cut while it was fetched`)
  }

  close(): void {
    this.#files.close()
  }
}

export function setBit(bits: Bytes, chunk: number): void {
  bits[chunk >> 3] = (bits[chunk >> 3] as number) | (0x80 >> (chunk & 7))
}

export function hasBit(bits: Bytes, chunk: number): boolean {
  return ((bits[chunk >> 3] ?? 0) & (0x80 >> (chunk & 7))) !== 0
}
