/** Files below a folder that strangers' paths name: no step of the way may be a symbolic link. */
import * as fs from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import * as path from 'node:path'
import type { Bytes } from '../core/encoding.ts'
import { P2pnsError } from '../core/errors.ts'

/** `inner` ('' for `base` itself), as the manifest writes it, under `base`. */
export function pathInside(base: string, inner: string): string {
  return inner === '' ? base : path.join(base, ...inner.split('/'))
}

/** As `pathInside`; throws `path_unsafe` if a folder of the way is none, such as a symbolic link. Open it with O_NOFOLLOW. */
export function guardedPath(base: string, inner: string): string {
  const parts = inner === '' ? [] : inner.split('/')
  for (let depth = 0; depth < parts.length; depth++) {
    const folder = pathInside(base, parts.slice(0, depth).join('/'))
    if (!fs.lstatSync(folder).isDirectory()) throw new P2pnsError('path_unsafe', `${folder} is not a folder`)
  }
  return pathInside(base, inner)
}

/** A failed file operation in our terms: `disk_full`, `path_unsafe` or `disk_error`. */
export function diskError(cause: unknown, what: string): P2pnsError {
  if (cause instanceof P2pnsError) return cause
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : String(cause)
  if (code === 'ENOSPC' || code === 'EDQUOT') return new P2pnsError('disk_full', `${what}: no space is left`, { cause })
  if (code === 'ELOOP') return new P2pnsError('path_unsafe', `${what}: a symbolic link is in the way`, { cause })
  return new P2pnsError('disk_error', `${what}: ${code}`, { cause })
}

/** Opens `file`, which must be no symbolic link, for the time of `work`. Fails as the system does. */
export async function withFile<Result>(
  file: string,
  flags: number,
  work: (handle: FileHandle) => Promise<Result>,
): Promise<Result> {
  const handle = await open(file, flags | fs.constants.O_NOFOLLOW, 0o600)
  try {
    return await work(handle)
  } finally {
    await handle.close()
  }
}

/** Whether the file had enough bytes to fill `block` from `position` on. */
export async function readFully(handle: FileHandle, block: Bytes, position: number): Promise<boolean> {
  for (let done = 0; done < block.length; ) {
    const { bytesRead } = await handle.read(block, done, block.length - done, position + done)
    if (bytesRead === 0) return false
    done += bytesRead
  }
  return true
}
