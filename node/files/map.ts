/**
 * `TARGET.part.map`: what a download has, so that it goes on after kill -9. After a head that says which content it is
 * of comes one 32-byte place per chunk: the leaf hash of a chunk that is written and was verified, or zeros.
 *
 * A mark is written right after its chunk, so a killed process loses none; a power cut may keep the mark and lose the
 * chunk, so marked chunks are hashed again before they are trusted.
 */
import * as fs from 'node:fs/promises'
import { type Bytes, concat, equalBytes, utf8 } from '../core/encoding.ts'
import { sha256 } from '../core/keys.ts'
import { HASH_SIZE } from '../core/tree.ts'
import { diskError, readFully, withFile } from './disk.ts'
import type { Run } from './layout.ts'

const { O_CREAT, O_EXCL, O_RDONLY, O_WRONLY } = fs.constants
const MAGIC = utf8('p2pns part map 1\n')
export const MAP_HEAD = MAGIC.length + HASH_SIZE

/** Where the mark of `chunk` stands. */
export function markOffset(chunk: number): number {
  return MAP_HEAD + chunk * HASH_SIZE
}

/** What a map is of: a content, and the entry of it that is fetched. */
export function mapKey(content: Bytes, entry: string): Bytes {
  return sha256(content, utf8(entry))
}

/** `ours`: this download's. `other`: of another download. `none`: no map, or a file that is not a map. */
export async function readMapHead(file: string, key: Bytes): Promise<'ours' | 'other' | 'none'> {
  const head = Buffer.alloc(MAP_HEAD)
  try {
    await withFile(file, O_RDONLY, (handle) => handle.read(head, 0, MAP_HEAD, 0))
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return 'none'
    throw diskError(cause, file)
  }
  if (!equalBytes(head.subarray(0, MAGIC.length), MAGIC)) return 'none'
  return equalBytes(head.subarray(MAGIC.length), key) ? 'ours' : 'other'
}

/** A map that exists is whole: it is made beside its place and renamed. */
export async function createMap(file: string, key: Bytes): Promise<void> {
  const fresh = `${file}.new`
  await fs.rm(fresh, { force: true })
  await withFile(fresh, O_WRONLY | O_CREAT | O_EXCL, async (handle) => {
    await handle.write(concat(MAGIC, key))
    await handle.sync()
  })
  await fs.rename(fresh, file)
}

/** The marks of `run`, zeros where there is none. */
export function readMarks(file: string, run: Run): Promise<Bytes> {
  const marks = Buffer.alloc(run.count * HASH_SIZE)
  return withFile(file, O_RDONLY, async (handle) => {
    await readFully(handle, marks, markOffset(run.first))
    return marks
  })
}
