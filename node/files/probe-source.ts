/**
 * What a probe fetches: a file of zeros that every peer can make, so that a transfer can be measured without anybody's content. The
 * manifest follows from the peer's key and the size alone; who probes computes its identifier, and need not be told.
 */
import type { Bytes } from '../core/encoding.ts'
import type { KeyPair } from '../core/keys.ts'
import { type Entry, idOf, type SignedManifest, signManifest } from '../core/manifest.ts'
import { CHUNK_SIZE, HASH_SIZE, leafHash, rootOf, Tree } from '../core/tree.ts'
import { Layout, type Part, type Run } from './layout.ts'
import type { Proof, Source } from './source.ts'

const MIB = 1024 * 1024
/** Bytes: 1 MiB, and twice as much again and again up to 1 GiB. */
export const PROBE_SIZES: readonly number[] = Array.from({ length: 11 }, (_, i) => MIB * 2 ** i)

const ZEROS = new Uint8Array(CHUNK_SIZE)
const LEAF = leafHash(ZEROS)

/** The smallest size that has `bytes`, or the largest. */
export function probeSize(bytes: number): number {
  return PROBE_SIZES.find((size) => size >= bytes) ?? (PROBE_SIZES.at(-1) as number)
}

function leaves(size: number): Bytes {
  const list = new Uint8Array((size / CHUNK_SIZE) * HASH_SIZE)
  for (let at = 0; at < list.length; at += HASH_SIZE) list.set(LEAF, at)
  return list
}

function probeRoot(size: number): Bytes {
  return rootOf(leaves(size))
}

function contentOf(size: number): { created: number; hint: string; entries: Entry[] } {
  return { created: 0, hint: 'probe', entries: [{ type: 'file', path: '', size, root: probeRoot(size), mode: 0o444 }] }
}

/** What `publisher` (32 bytes, the key of a peer) serves as a probe of `size` bytes. */
export function probeId(publisher: Bytes, size: number): string {
  return idOf(publisher, contentOf(size))
}

export function probeManifest(pair: KeyPair, size: number): SignedManifest {
  return signManifest(pair, contentOf(size))
}

export class ProbeSource implements Source {
  readonly manifest: Bytes
  readonly layout: Layout
  readonly #size: number
  #tree: Tree | undefined

  constructor(manifest: SignedManifest, size: number) {
    this.manifest = manifest.stored
    this.layout = Layout.of(manifest)
    this.#size = size
  }

  have(): undefined {
    return undefined
  }

  onHave(_listener: (run: Run) => void): () => void {
    return () => undefined
  }

  async prove(_part: Part, first: number, count: number): Promise<Proof> {
    this.#tree ??= new Tree(leaves(this.#size))
    return this.#tree.prove(first, count)
  }

  async read(_part: Part, _first: number, places: Uint8Array[]): Promise<void> {
    for (const place of places) place.fill(0)
  }

  close(): void {
    this.#tree = undefined
  }
}
