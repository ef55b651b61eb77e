/**
 * The place that a download is made in and moved to: `TARGET.part` (a file or a folder), `TARGET.part.map` beside it, and
 * `TARGET` only when all of it is here, verified and on the disk; a folder that it replaces is `TARGET.part.old` meanwhile.
 * Nothing else is written.
 */
import { execFile } from 'node:child_process'
import * as fs from 'node:fs/promises'
import * as path from 'node:path'
import { promisify } from 'node:util'
import { type Bytes, equalBytes } from '../core/encoding.ts'
import { P2pnsError } from '../core/errors.ts'
import type { Entry, FileEntry } from '../core/manifest.ts'
import { diskError, guardedPath, pathInside, withFile } from './disk.ts'
import type { Layout } from './layout.ts'
import { topOf } from './leaves.ts'
import { createMap, MapShape, readMapHead } from './map.ts'
import { differenceOf, type Share, type SharedFile, type Stamp, stampOf } from './share.ts'

/** Absolute paths in one folder, whose own path has no symbolic link. */
export interface Target {
  final: string
  part: string
  map: string
}

/** Nobody but the owner may write, whatever a stranger's manifest says. */
const MODE_MASK = 0o755
const { O_CREAT, O_DIRECTORY, O_RDONLY, O_RDWR } = fs.constants
const FILES_AT_ONCE = 64
/** From here on, one flush of the file system is quicker than one of each file. */
const MANY_FILES = 64

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

/** Where a folder is that is being replaced. */
function aside({ part }: Target): string {
  return `${part}.old`
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
      for (const file of [part, map, aside(target)]) {
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
 * The download is whole: proves it once more from the roots, puts it on the disk, and gives it its name. `earlier`: what
 * stands there and may go, if nobody touched it. Returns the files as they are. Throws as `checkPlace`, and disk errors.
 */
export async function finishTarget(
  target: Target,
  layout: Layout,
  entries: readonly Entry[],
  may: Replacing,
): Promise<Map<string, SharedFile>> {
  const { final, part } = target
  await proveRoots(target, layout)
  try {
    const files = new Map<string, SharedFile>()
    const settle = async (entry: FileEntry): Promise<void> => {
      const { path } = entry
      files.set(path, { path, source: pathInside(final, path), stamp: await settleFile(part, entry, !atOnce) })
    }
    const waiting = entries.filter((entry) => entry.type === 'file')
    const atOnce = waiting.length > MANY_FILES && (await canSyncAtOnce())
    while (waiting.length > 0) await Promise.all(waiting.splice(0, FILES_AT_ONCE).map(settle))
    for (const entry of entries.toReversed()) {
      if (entry.type === 'folder') await settleFolder(guardedPath(part, entry.path), entry.mode)
    }
    if (atOnce) await syncFileSystem(part)
    // Long after it was looked at first.
    const old = aside(target)
    await fs.rm(old, { recursive: true, force: true })
    if ((await checkPlace(target, entries, may)) === 'folder') await fs.rename(final, old)
    await fs.rename(part, final)
    await syncFolder(path.dirname(final))
    await fs.rm(old, { recursive: true, force: true })
    return files
  } catch (cause) {
    throw diskError(cause, `finishing ${final}`)
  }
}

/** What a fetch to `out` that did not end left; nothing else. */
export async function discardPart(out: string): Promise<void> {
  const target = await placeFor(out, undefined)
  const release = claimTarget(target)
  try {
    if ((await readMapHead(target.map, new Uint8Array(32))) === 'none') return
    await fs.rm(target.part, { recursive: true, force: true })
    await forgetMap(target)
  } finally {
    release()
  }
}

/** `final` is whole, and so nothing of an earlier try is needed: one that was killed after it gave the name has left its map. */
export async function forgetTry(target: Target, key: Bytes): Promise<void> {
  if ((await readMapHead(target.map, key)) !== 'ours') return
  for (const file of [target.part, aside(target)]) await fs.rm(file, { recursive: true, force: true })
  await forgetMap(target)
}

/** The map goes last, when nothing of it is needed any more. */
export async function forgetMap({ map }: Target): Promise<void> {
  await fs.rm(map, { force: true })
}

/** The leaves are in a local file, and could be wrong where the network cannot: they must give the roots of the manifest. */
async function proveRoots({ part, map }: Target, layout: Layout): Promise<void> {
  const leaves = { file: map, offset: new MapShape(layout).leaves }
  for (const piece of layout.parts) {
    if (piece.count < 2) continue
    const { root } = await topOf(leaves, piece)
    if (equalBytes(root, piece.root)) continue
    // The map goes last: a part without one would be taken for somebody else's.
    await fs.rm(part, { recursive: true, force: true })
    await fs.rm(map, { force: true })
    throw new P2pnsError('disk_error', `${map} was damaged, and was removed with what it described`)
  }
}

function settleFile(part: string, { path, size, mode }: FileEntry, sync: boolean): Promise<Stamp> {
  return withFile(guardedPath(part, path), O_RDWR, async (handle) => {
    if ((await handle.stat()).size !== size) await handle.truncate(size)
    await handle.chmod((mode & MODE_MASK) | 0o400)
    if (sync) await handle.sync()
    return stampOf(await handle.stat({ bigint: true }))
  })
}

function settleFolder(folder: string, mode: number): Promise<void> {
  return withFile(folder, O_RDONLY | O_DIRECTORY, async (handle) => {
    await handle.chmod((mode & MODE_MASK) | 0o700)
    await handle.sync()
  })
}

/** coreutils' `sync -f` is syncfs(2), which Node does not have. */
function syncFileSystem(place: string): Promise<unknown> {
  return promisify(execFile)('sync', ['-f', place])
}

function canSyncAtOnce(): Promise<boolean> {
  return syncFileSystem('/dev/null').then(
    () => true,
    () => false,
  )
}

function syncFolder(folder: string): Promise<void> {
  return withFile(folder, O_RDONLY | O_DIRECTORY, (handle) => handle.sync())
}

/** What may be replaced by a fetch. */
export interface Replacing {
  /** A file. */
  force: boolean
  /** What this home shared or fetched: a folder that is still exactly as it was then. */
  previous: readonly Share[]
}

/** What is there and will be replaced by what `entries` are. Throws `target_exists` when it may not. */
export async function checkPlace(
  { final }: Target,
  entries: readonly Entry[],
  { force, previous }: Replacing,
): Promise<'none' | 'file' | 'folder'> {
  const present = await kindOf(final)
  if (present === 'none') return 'none'
  const asFile = entries[0]?.type === 'file'
  if (force && present === 'file' && asFile) return 'file'
  if (present !== 'folder') throw new P2pnsError('target_exists', `${final} exists and is something else`)
  const earlier = asFile ? undefined : previous.find((share) => share.path === final)
  const other = earlier ? await differenceOf(earlier) : 'it was not fetched by this home'
  if (other === undefined) return 'folder'
  throw new P2pnsError('target_exists', `${final} exists and is a folder with other content: ${other}`)
}
