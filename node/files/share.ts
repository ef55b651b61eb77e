/** A file or folder of this machine becomes content: walked, hashed where it lies, described by a signed manifest. */
import { randomUUID } from 'node:crypto'
import * as fs from 'node:fs/promises'
import * as path from 'node:path'
import type { Progress } from '../contract.ts'
import { type Bytes, compareBytes, equalBytes, utf8 } from '../core/encoding.ts'
import { isError, P2pnsError } from '../core/errors.ts'
import type { KeyPair } from '../core/keys.ts'
import { type Entry, type SignedManifest, signManifest, totals } from '../core/manifest.ts'
import { checkPath, collisionKey } from '../core/path.ts'
import { CHUNK_SIZE, chunkCount, HASH_SIZE, SpanRoots } from '../core/tree.ts'
import { diskError, withFile } from './disk.ts'
import { hashFiles } from './hash-pool.ts'
import type { LeafFile } from './leaves.ts'

/** How a file looked when it was hashed; when it looks different, it is not what was shared. */
export interface Stamp {
  size: bigint
  mtimeNs: bigint
}

/** `path`: inside the content. `source`: absolute, on this machine. */
export interface SharedFile {
  path: string
  source: string
  stamp: Stamp
}

export interface Share {
  manifest: SignedManifest
  /** Absolute, without symbolic links. */
  path: string
  /** By their path inside the content. */
  files: ReadonlyMap<string, SharedFile>
  bytes: number
  /** What was left out, because it is neither file nor folder: paths inside the content. */
  skipped: string[]
  leaves: LeafFile
}

export interface ShareOptions {
  pair: KeyPair
  /** Seconds since 1970. */
  created: number
  /** Default: the name of the file or folder. */
  hint?: string
  /** Its manifest is used again if the content is still the same, so that sharing again gives the same CID. */
  previous?: SignedManifest
  /** The folder that the leaf hashes are kept in, in a file named after the content. */
  leaves: string
  signal?: AbortSignal
  onProgress?: (progress: Progress) => void
}

interface Found {
  path: string
  source: string
  mode: number
  size: number
  folder: boolean
}

/**
 * Throws `file_missing`, `file_name_invalid` (a name that no manifest may hold), `too_large`, `file_changed` (while it was
 * hashed), `disk_error`, `interrupted`.
 */
export async function sharePath(target: string, options: ShareOptions): Promise<Share> {
  const { pair, created, previous, leaves: folder, signal, onProgress } = options
  const fresh = await freshLeaves(folder)
  try {
    const content = await hashContent(target, { leaves: fresh, signal, onProgress })
    const hint = options.hint ?? hintOf(content.path)
    const { entries } = content
    const signed = signManifest(pair, { created, hint, entries })
    const same = previous && signManifest(pair, { created: previous.created, hint, entries })
    const manifest = previous && same?.id === previous.id ? same : signed
    const leaves = await leavesFrom(fresh, manifest)
    const { path: where, files, skipped } = content
    return { manifest, path: where, files, skipped, bytes: totals(entries).bytes, leaves }
  } catch (cause) {
    await fs.rm(fresh, { force: true })
    throw isError(cause) ? cause : diskError(cause, folder)
  }
}

/** A new file for leaves; two contents, and two places of one content, never share one. */
export async function freshLeaves(folder: string): Promise<string> {
  await fs.mkdir(folder, { recursive: true, mode: 0o700 })
  return path.join(folder, randomUUID())
}

/** Leaves that begin with those of the first file, on the disk from now on. */
export async function leavesFrom(file: string, { list }: SignedManifest): Promise<LeafFile> {
  await withFile(file, fs.constants.O_RDWR, (handle) => handle.sync())
  return { file, offset: -chunkCount(list?.size ?? 0) * HASH_SIZE }
}

export interface HashedContent {
  path: string
  /** In the order of a manifest. */
  entries: Entry[]
  files: Map<string, SharedFile>
  skipped: string[]
}

/**
 * Walks and hashes without signing. Symbolic links inside a folder are left out: they may point anywhere. `leaves`: where the
 * leaf hashes go, one file's after the other's; those of a file of one chunk are left out.
 */
export async function hashContent(
  target: string,
  { leaves, signal, onProgress }: { leaves?: string } & Pick<ShareOptions, 'signal' | 'onProgress'>,
): Promise<HashedContent> {
  const real = await fs.realpath(target).catch((cause) => {
    throw cause.code === 'ENOENT' ? new P2pnsError('file_missing', `there is no ${target}`) : diskError(cause, target)
  })
  const skipped: string[] = []
  const found: Found[] = []
  for await (const item of walk(real, '', skipped)) found.push(item)
  if (found.length === 0) throw new P2pnsError('file_missing', `${target} is neither a file nor a folder`)
  found.sort((a, b) => compareBytes(utf8(a.path), utf8(b.path)))
  const files = new Map<string, SharedFile>()
  const roots = new Map<string, Bytes>()
  const hash = async (handle?: fs.FileHandle): Promise<void> => {
    for await (const { item, stamp, root } of hashFound(found, handle, signal, onProgress)) {
      files.set(item.path, { path: item.path, source: item.source, stamp })
      roots.set(item.path, root)
    }
  }
  const { O_CREAT, O_EXCL, O_WRONLY } = fs.constants
  if (leaves === undefined) await hash()
  else await withFile(leaves, O_WRONLY | O_CREAT | O_EXCL, hash)
  const entries = found.map(({ path, size, mode, folder }): Entry => {
    if (folder) return { type: 'folder', path, mode }
    return { type: 'file', path, size, root: roots.get(path) as Bytes, mode }
  })
  return { path: real, entries, files, skipped }
}

/** The files among `found`, hashed; their leaves written to `handle`, at 32 bytes for every chunk before them. */
async function* hashFound(
  found: readonly Found[],
  handle: fs.FileHandle | undefined,
  signal: AbortSignal | undefined,
  onProgress: ((progress: Progress) => void) | undefined,
): AsyncGenerator<{ item: Found; stamp: Stamp; root: Bytes }> {
  const items = found.filter(({ folder }) => !folder)
  const total = items.reduce((sum, { size }) => sum + size, 0)
  let done = 0
  let next = 0
  let first = 0
  let roots = new SpanRoots()
  let stamp: Stamp | undefined
  for await (const piece of hashFiles(items, signal)) {
    const item = items[next] as Found
    stamp ??= stampOf(piece)
    if (piece.size !== BigInt(item.size) || !sameStamp(stamp, piece)) {
      throw new P2pnsError('file_changed', `${item.source} was written to while it was hashed`)
    }
    const chunks = chunkCount(item.size)
    if (handle && chunks > 1)
      await handle.write(piece.leaves, 0, piece.leaves.length, (first + piece.at / CHUNK_SIZE) * HASH_SIZE)
    roots.add(piece.leaves)
    done += piece.length
    onProgress?.({ phase: 'hashing', done, total })
    if (piece.at + piece.length < item.size) continue
    yield { item, stamp, root: roots.top(chunks).root }
    stamp = undefined
    roots = new SpanRoots()
    first += chunks
    next++
  }
}

/** Whether two lists of entries stand for the same content; modes do not count, as not every system keeps them. */
export function sameContent(a: readonly Entry[], b: readonly Entry[]): boolean {
  const known = new Map(a.map((entry) => [entry.path, entry]))
  return (
    a.length === b.length &&
    b.every((entry) => {
      const other = known.get(entry.path)
      if (entry.type === 'folder') return other?.type === 'folder'
      return other?.type === 'file' && other.size === entry.size && equalBytes(other.root, entry.root)
    })
  )
}

/** Whether something with the paths and sizes of `entries` is at `target`: then it is worth hashing. */
export async function looksLike(target: string, entries: readonly Entry[]): Promise<boolean> {
  const known = new Map(entries.map((entry) => [entry.path, entry]))
  let found = 0
  try {
    for await (const { path, size, folder } of walk(target, '', [])) {
      const entry = known.get(path)
      if (!entry || (entry.type === 'folder') !== folder || (entry.type === 'file' && entry.size !== size)) return false
      found++
    }
  } catch {
    return false
  }
  return found === entries.length
}

/** What is not as it was when it was shared or fetched: a path, and how it differs; undefined when nothing is. */
export async function differenceOf({ path: where, manifest, files }: Share): Promise<string | undefined> {
  const known = new Map((manifest.entries ?? []).map((entry) => [entry.path, entry]))
  const skipped: string[] = []
  let found = 0
  for await (const { path: inner, source, folder } of walk(where, '', skipped)) {
    const entry = known.get(inner)
    if (!entry || (entry.type === 'folder') !== folder) return `${JSON.stringify(inner)} is not of it`
    found++
    const stamp = files.get(inner)?.stamp
    if (folder) continue
    if (!stamp || !sameStamp(stamp, await fs.stat(source, { bigint: true })))
      return `${JSON.stringify(inner)} was changed`
  }
  if (skipped.length > 0) return `${JSON.stringify(skipped[0])} is not of it`
  return found === known.size ? undefined : 'something of it was removed'
}

async function* walk(source: string, inner: string, skipped: string[]): AsyncGenerator<Found> {
  if (inner !== '') checkName(source, inner)
  const stat = await fs.lstat(source).catch((cause) => {
    throw diskError(cause, source)
  })
  const mode = stat.mode & 0o777
  if (stat.isFile()) yield { path: inner, source, mode, size: stat.size, folder: false }
  else if (!stat.isDirectory()) skipped.push(inner)
  else {
    yield { path: inner, source, mode, size: 0, folder: true }
    for (const { name, file } of await namesIn(source)) {
      yield* walk(file, path.posix.join(inner, name), skipped)
    }
  }
}

/** A name that no manifest may hold is what its owner has to change. */
function checkName(source: string, inner: string): void {
  try {
    checkPath(inner)
  } catch (cause) {
    const why = isError(cause) ? cause.what : 'its name is not allowed'
    throw new P2pnsError('file_name_invalid', `${JSON.stringify(source)} cannot be shared: ${why}`, { cause })
  }
}

/** What lies in a folder, sorted: as the manifest names it, and where it is. Throws `file_name_invalid`, `disk_error`. */
async function namesIn(folder: string): Promise<{ name: string; file: string }[]> {
  const raw = await fs.readdir(folder, { encoding: 'buffer' }).catch((cause) => {
    throw diskError(cause, folder)
  })
  const seen = new Map<string, string>()
  return raw
    .sort((a, b) => a.compare(b))
    .map((bytes) => {
      const text = bytes.toString('utf8')
      const file = path.join(folder, text)
      const refuse = (why: string): never => {
        throw new P2pnsError('file_name_invalid', `${JSON.stringify(file)} cannot be shared: ${why}`)
      }
      if (!bytes.equals(Buffer.from(text))) refuse('its name is not UTF-8')
      const name = text.normalize('NFC')
      const key = collisionKey(name)
      const twin = seen.get(key)
      if (twin !== undefined) refuse(`some systems cannot tell it from ${JSON.stringify(twin)}`)
      seen.set(key, text)
      return { name, file }
    })
}

export function stampOf({ size, mtimeNs }: Stamp): Stamp {
  return { size, mtimeNs }
}

export function sameStamp(a: Stamp, b: Stamp): boolean {
  return a.size === b.size && a.mtimeNs === b.mtimeNs
}

/** The last component, or none if that would be no safe name. */
function hintOf(source: string): string {
  const name = path.basename(source).normalize('NFC')
  try {
    checkPath(name)
    return name
  } catch {
    return ''
  }
}
