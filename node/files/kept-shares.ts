/** Shares over restarts: what was hashed once is not hashed again; a file that changed since is noticed when served. */
import * as fs from 'node:fs/promises'
import * as path from 'node:path'
import { fromHex, toHex } from '../core/encoding.ts'
import { encodeEntries, parseManifest, withList } from '../core/manifest.ts'
import type { Table } from '../store.ts'
import type { Share } from './share.ts'

/** Bytes in hex, numbers of 64 bits in decimal. The leaf hashes are in a file of their own. */
export interface KeptShare {
  manifest: string
  /** The entry list, if the manifest has it set apart; else empty. */
  list: string
  path: string
  bytes: number
  /** The name of the file of leaves, and its offset. */
  leaves: { name: string; offset: number }
  files: { path: string; source: string; size: string; mtimeNs: string }[]
}

export class KeptShares {
  readonly #table: Table<KeptShare>
  readonly #folder: string

  /** `folder`: where the leaf hashes are. */
  constructor(table: Table<KeptShare>, folder: string) {
    this.#table = table
    this.#folder = folder
  }

  async keep(share: Share): Promise<void> {
    const { manifest } = share
    const before = await this.#table.get(manifest.id)
    await this.#table.put(manifest.id, {
      manifest: toHex(manifest.stored),
      list: manifest.list && manifest.entries ? toHex(encodeEntries(manifest.entries)) : '',
      path: share.path,
      bytes: share.bytes,
      leaves: { name: path.basename(share.leaves.file), offset: share.leaves.offset },
      files: [...share.files.values()].map(({ path, source, stamp }) => ({
        path,
        source,
        size: String(stamp.size),
        mtimeNs: String(stamp.mtimeNs),
      })),
    })
    const { name } = before?.leaves ?? {}
    if (name && name !== path.basename(share.leaves.file)) await fs.rm(path.join(this.#folder, name), { force: true })
  }

  async forget(id: string): Promise<void> {
    const kept = await this.#table.get(id)
    await this.#table.delete(id)
    if (kept) await fs.rm(path.join(this.#folder, kept.leaves.name), { force: true })
  }

  async *all(): AsyncGenerator<Share> {
    for await (const [id, kept] of this.#table.entries()) {
      // Of before the leaves had a file: hashed again when it is shared again.
      if (typeof kept.leaves !== 'object') await this.#table.delete(id)
      else yield restore(kept, path.join(this.#folder, kept.leaves.name))
    }
  }

  /** Leaves that belong to no share: a process was killed between the two. */
  async sweep(): Promise<void> {
    const known = new Set<string>()
    for await (const [, { leaves }] of this.#table.entries()) known.add(leaves?.name)
    for (const name of await fs.readdir(this.#folder).catch(() => [])) {
      if (!known.has(name)) await fs.rm(path.join(this.#folder, name), { force: true })
    }
  }
}

function restore({ manifest: stored, list, path, bytes, leaves, files }: KeptShare, file: string): Share {
  const manifest = parseManifest(fromHex(stored))
  return {
    manifest: list === '' ? manifest : withList(manifest, fromHex(list)),
    path,
    bytes,
    skipped: [],
    leaves: { file, offset: leaves.offset },
    files: new Map(
      files.map(({ path, source, size, mtimeNs }) => {
        const stamp = { size: BigInt(size), mtimeNs: BigInt(mtimeNs) }
        return [path, { path, source, stamp }]
      }),
    ),
  }
}
