/**
 * The place that a download is made in and moved to: `TARGET.part` (a file or a folder), `TARGET.part.map` beside it, and
 * `TARGET` only when all of it is here, verified and on the disk. Nothing outside these three is written.
 */
import * as fs from 'node:fs/promises'
import * as path from 'node:path'
import { type Bytes, equalBytes } from '../core/encoding.ts'
import { P2pnsError } from '../core/errors.ts'
import type { Entry, FileEntry } from '../core/manifest.ts'
import { Tree } from '../core/tree.ts'
import { diskError, guardedPath, pathInside, withFile } from './disk.ts'
import type { Layout } from './layout.ts'
import { createMap, readMapHead, readMarks } from './map.ts'
import { type SharedFile, type Stamp, stampOf } from './share.ts'

/** Absolute paths in one folder, whose own path has no symbolic link. */
export interface Target {
  final: string
  part: string
  map: string
}

/** Nobody but the owner may write, whatever a stranger's manifest says. */
const MODE_MASK = 0o755
const { O_CREAT, O_DIRECTORY, O_RDONLY, O_RDWR } = fs.constants
const FILES_AT_ONCE = 16

/**
 * Where `out` is. One that is a folder, or leads to one, is what a file is put into under its own name `inside`.
 * Throws `file_missing` when there is no folder to put it in, `target_blocked` when a symbolic link has its name.
 */
export async function placeFor(out: string, inside: string | undefined): Promise<Target> {
  return resolveTarget(inside !== undefined && (await leadsToFolder(out)) ? path.join(out, inside) : out)
}

export async function leadsToFolder(file: string): Promise<boolean> {
  return fs.stat(file).then(
    (stat) => stat.isDirectory(),
    () => false,
  )
}

async function resolveTarget(out: string): Promise<Target> {
  const absolute = path.resolve(out)
  const parent = await fs.realpath(path.dirname(absolute)).catch((cause) => {
    throw cause.code === 'ENOENT'
      ? new P2pnsError('file_missing', `there is no folder ${path.dirname(absolute)}`)
      : diskError(cause, absolute)
  })
  const final = path.join(parent, path.basename(absolute))
  const target = { final, part: `${final}.part`, map: `${final}.part.map` }
  for (const file of Object.values(target)) {
    if ((await kindOf(file)) === 'link') throw new P2pnsError('target_blocked', `${file} is a symbolic link`)
  }
  return target
}

/** Targets of the fetches that run in this process. */
const taken = new Set<string>()

/** Keeps other fetches away from `target` until the result is called. Throws `target_busy` when one is there. */
export function claimTarget(target: Target): () => void {
  const files = Object.values(target)
  const free = files.every((file) => !taken.has(file))
  if (!free) throw new P2pnsError('target_busy', `another fetch is making ${target.final}`)
  for (const file of files) taken.add(file)
  return () => files.forEach((file) => taken.delete(file))
}

export type Kind = 'none' | 'folder' | 'file' | 'link' | 'other'

export async function kindOf(file: string): Promise<Kind> {
  const stat = await fs.lstat(file).catch((cause) => {
    if (cause.code === 'ENOENT') return undefined
    throw diskError(cause, file)
  })
  if (!stat) return 'none'
  if (stat.isSymbolicLink()) return 'link'
  if (stat.isDirectory()) return 'folder'
  return stat.isFile() ? 'file' : 'other'
}

/**
 * Makes the map, the folders and the empty files, or finds them from an earlier try; what another download left under
 * these names goes. Returns whether there is something to resume. Throws `target_blocked` for files that are not ours,
 * `path_unsafe`, `disk_full`, `disk_error`.
 */
export async function prepareTarget(target: Target, key: Bytes, entries: readonly Entry[]): Promise<boolean> {
  const { part, map } = target
  const state = await readMapHead(map, key)
  try {
    if (state === 'none') {
      for (const file of [part, map]) {
        if ((await kindOf(file)) === 'none') continue
        throw new P2pnsError('target_blocked', `${file} is in the way, and no download made it`)
      }
    }
    if (state === 'other') await fs.rm(part, { recursive: true, force: true })
    if (state !== 'ours') await createMap(map, key)
    for (const entry of entries) {
      if (entry.type === 'folder') await makeFolder(pathInside(part, entry.path))
      else if (entry.size === 0) await withFile(guardedPath(part, entry.path), O_RDWR | O_CREAT, async () => undefined)
    }
  } catch (cause) {
    throw diskError(cause, `making ${part}`)
  }
  return state === 'ours'
}

async function makeFolder(folder: string): Promise<void> {
  await fs.mkdir(folder, { mode: 0o700 }).catch((cause) => {
    if (cause.code !== 'EEXIST') throw cause
  })
  if ((await kindOf(folder)) !== 'folder') throw new P2pnsError('path_unsafe', `${folder} is not a folder`)
}

/**
 * The download is whole: proves it once more from the roots, puts it on the disk, and gives it its name. Returns the
 * files with their trees, so that they can be served without being hashed again. Throws as `checkPlace`, and disk errors.
 */
export async function finishTarget(
  target: Target,
  layout: Layout,
  entries: readonly Entry[],
  force: boolean,
): Promise<Map<string, SharedFile>> {
  const { final, part, map } = target
  const trees = await provenTrees(target, layout)
  try {
    const files = new Map<string, SharedFile>()
    const settle = async (entry: FileEntry): Promise<void> => {
      const { path } = entry
      const stamp = await settleFile(part, entry)
      files.set(path, { path, source: pathInside(final, path), stamp, tree: trees.get(path) as Tree })
    }
    const waiting = entries.filter((entry) => entry.type === 'file')
    while (waiting.length > 0) await Promise.all(waiting.splice(0, FILES_AT_ONCE).map(settle))
    for (const entry of entries.toReversed()) {
      if (entry.type === 'folder') await settleFolder(pathInside(part, entry.path), entry.mode)
    }
    // Long after it was looked at first.
    await checkPlace(target, entries, force)
    await fs.rename(part, final)
    await syncFolder(path.dirname(final))
    await fs.rm(map, { force: true })
    return files
  } catch (cause) {
    throw diskError(cause, `finishing ${final}`)
  }
}

/** The marks are local files, and could be wrong where the network cannot: they must give the roots of the manifest. */
async function provenTrees({ part, map }: Target, layout: Layout): Promise<Map<string, Tree>> {
  const trees = new Map<string, Tree>()
  for (const piece of layout.parts) {
    const tree = new Tree(await readMarks(map, piece))
    if (!equalBytes(tree.root, piece.root)) {
      // The map goes last: a part without one would be taken for somebody else's.
      await fs.rm(part, { recursive: true, force: true })
      await fs.rm(map, { force: true })
      throw new P2pnsError('disk_error', `${map} was damaged, and was removed with what it described`)
    }
    trees.set(piece.path ?? '', tree)
  }
  return trees
}

function settleFile(part: string, { path, size, mode }: FileEntry): Promise<Stamp> {
  return withFile(guardedPath(part, path), O_RDWR, async (handle) => {
    await handle.truncate(size)
    await handle.chmod((mode & MODE_MASK) | 0o400)
    await handle.sync()
    return stampOf(await handle.stat({ bigint: true }))
  })
}

async function settleFolder(folder: string, mode: number): Promise<void> {
  await fs.chmod(folder, (mode & MODE_MASK) | 0o700)
  await syncFolder(folder)
}

function syncFolder(folder: string): Promise<void> {
  return withFile(folder, O_RDONLY | O_DIRECTORY, (handle) => handle.sync())
}

/** Throws `target_exists` unless the place is free, or holds a file that may be replaced by the file that `entries` are. */
export async function checkPlace({ final }: Target, entries: readonly Entry[], force: boolean): Promise<void> {
  const present = await kindOf(final)
  if (present === 'none') return
  if (force && present === 'file' && entries[0]?.type === 'file') return
  const what = present === 'folder' ? 'a folder with other content' : 'something else'
  throw new P2pnsError('target_exists', `${final} exists and is ${what}`)
}
