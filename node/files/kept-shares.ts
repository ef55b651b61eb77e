/** Shares over restarts: what was hashed once is not hashed again; a file that changed since is noticed when served. */
import { type Bytes, fromHex, toHex } from '../core/encoding.ts'
import { encodeEntries, parseManifest, withList } from '../core/manifest.ts'
import { Tree } from '../core/tree.ts'
import type { Table } from '../store.ts'
import type { Share } from './share.ts'

/** Bytes in hex, numbers of 64 bits in decimal. */
export interface KeptShare {
  manifest: string
  /** The entry list, if the manifest has it set apart; else empty. */
  list: string
  path: string
  bytes: number
  files: { path: string; source: string; size: string; mtimeNs: string; leaves: string }[]
}

export class KeptShares {
  readonly #table: Table<KeptShare>

  constructor(table: Table<KeptShare>) {
    this.#table = table
  }

  async keep(share: Share): Promise<void> {
    const { manifest } = share
    await this.#table.put(manifest.id, {
      manifest: toHex(manifest.stored),
      list: manifest.list && manifest.entries ? toHex(encodeEntries(manifest.entries)) : '',
      path: share.path,
      bytes: share.bytes,
      files: [...share.files.values()].map(({ path, source, stamp, tree }) => ({
        path,
        source,
        size: String(stamp.size),
        mtimeNs: String(stamp.mtimeNs),
        leaves: toHex(tree.leaves),
      })),
    })
  }

  async forget(id: string): Promise<void> {
    await this.#table.delete(id)
  }

  async *all(): AsyncGenerator<Share> {
    for await (const [, kept] of this.#table.entries()) yield restore(kept)
  }
}

function restore({ manifest: stored, list, path, bytes, files }: KeptShare): Share {
  const manifest = parseManifest(fromHex(stored))
  return {
    manifest: list === '' ? manifest : withList(manifest, fromHex(list)),
    path,
    bytes,
    skipped: [],
    files: new Map(
      files.map((file) => {
        const stamp = { size: BigInt(file.size), mtimeNs: BigInt(file.mtimeNs) }
        const leaves: Bytes = fromHex(file.leaves)
        return [file.path, { path: file.path, source: file.source, stamp, tree: new Tree(leaves) }]
      }),
    ),
  }
}
