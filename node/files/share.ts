/** A file or folder of this machine becomes content: walked, hashed where it lies, described by a signed manifest. */
import * as fs from 'node:fs/promises'
import * as path from 'node:path'
import type { Progress } from '../contract.ts'
import { equalBytes } from '../core/encoding.ts'
import { isError, P2pnsError } from '../core/errors.ts'
import type { KeyPair } from '../core/keys.ts'
import { type Entry, type SignedManifest, signManifest, totals } from '../core/manifest.ts'
import { checkPath, collisionKey } from '../core/path.ts'
import { CHUNK_SIZE, chunkCount, HASH_SIZE, leavesOf, Tree } from '../core/tree.ts'
import { diskError, readFully, withFile } from './disk.ts'

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
  tree: Tree
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
}

export interface ShareOptions {
  pair: KeyPair
  /** Seconds since 1970. */
  created: number
  /** Default: the name of the file or folder. */
  hint?: string
  /** Its manifest is used again if the content is still the same, so that sharing again gives the same CID. */
  previous?: SignedManifest
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

const READ_SIZE = 16 * CHUNK_SIZE

/**
 * Throws `file_missing`, `file_name_invalid` (a name that no manifest may hold), `too_large`, `file_changed` (while it was
 * hashed), `disk_error`, `interrupted`.
 */
export async function sharePath(target: string, options: ShareOptions): Promise<Share> {
  const { pair, created, previous } = options
  const content = await hashContent(target, options)
  const hint = options.hint ?? hintOf(content.path)
  const { entries } = content
  const fresh = signManifest(pair, { created, hint, entries })
  const same = previous && signManifest(pair, { created: previous.created, hint, entries })
  const manifest = previous && same?.id === previous.id ? same : fresh
  return { manifest, path: content.path, files: content.files, skipped: content.skipped, bytes: totals(entries).bytes }
}

export interface HashedContent {
  path: string
  entries: Entry[]
  files: Map<string, SharedFile>
  skipped: string[]
}

/** Walks and hashes without signing. Symbolic links inside a folder are left out: they may point anywhere. */
export async function hashContent(
  target: string,
  { signal, onProgress }: Pick<ShareOptions, 'signal' | 'onProgress'>,
): Promise<HashedContent> {
  const real = await fs.realpath(target).catch((cause) => {
    throw cause.code === 'ENOENT' ? new P2pnsError('file_missing', `there is no ${target}`) : diskError(cause, target)
  })
  const skipped: string[] = []
  const found: Found[] = []
  for await (const item of walk(real, '', skipped)) found.push(item)
  if (found.length === 0) throw new P2pnsError('file_missing', `${target} is neither a file nor a folder`)

  const total = found.reduce((sum, { size }) => sum + size, 0)
  let done = 0
  const files = new Map<string, SharedFile>()
  const entries: Entry[] = []
  for (const { path, source, mode, size, folder } of found) {
    if (folder) {
      entries.push({ type: 'folder', path, mode })
      continue
    }
    const hashed = await hashFile(source, size, signal, (bytes) => {
      done += bytes
      onProgress?.({ phase: 'hashing', done, total })
    })
    files.set(path, { path, source, ...hashed })
    entries.push({ type: 'file', path, size, root: hashed.tree.root, mode })
  }
  return { path: real, entries, files, skipped }
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

/** Throws `file_changed` when the file is not `size` bytes long, or is written to meanwhile. */
async function hashFile(
  source: string,
  size: number,
  signal: AbortSignal | undefined,
  onBytes: (bytes: number) => void,
): Promise<{ stamp: Stamp; tree: Tree }> {
  const changed = new P2pnsError('file_changed', `${source} was written to while it was hashed`)
  const hash = async (handle: fs.FileHandle): Promise<{ stamp: Stamp; tree: Tree }> => {
    const stamp = stampOf(await handle.stat({ bigint: true }))
    if (stamp.size !== BigInt(size)) throw changed
    const leaves = Buffer.allocUnsafeSlow(chunkCount(size) * HASH_SIZE)
    const buffer = Buffer.allocUnsafeSlow(Math.min(READ_SIZE, size))
    for (let at = 0; at < size; at += READ_SIZE) {
      if (signal?.aborted) throw new P2pnsError('interrupted', 'hashing was stopped')
      const block = buffer.subarray(0, Math.min(READ_SIZE, size - at))
      if (!(await readFully(handle, block, at))) throw changed
      leaves.set(leavesOf(block), (at / CHUNK_SIZE) * HASH_SIZE)
      onBytes(block.length)
    }
    if (!sameStamp(stamp, await handle.stat({ bigint: true }))) throw changed
    return { stamp, tree: new Tree(leaves) }
  }
  const { O_RDONLY, O_NONBLOCK } = fs.constants
  return withFile(source, O_RDONLY | O_NONBLOCK, hash).catch((cause) => {
    throw diskError(cause, source)
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
