/** Leaf hashes of what is served, in a file: the list of a large content is long, and rarely asked for. */
import * as fs from 'node:fs/promises'
import type { Bytes } from '../core/encoding.ts'
import { HASH_SIZE, MAX_SPAN, SpanRoots, type TreeTop } from '../core/tree.ts'
import { diskError, readFully, withFile } from './disk.ts'
import type { Part } from './layout.ts'

/** The leaf of a chunk stands at byte `offset + 32 * chunk`. Parts of one chunk have their root for a leaf, and none here. */
export interface LeafFile {
  file: string
  offset: number
}

/** Leaves read at a time while a whole tree is looked at: 1 MiB. */
const STEP = 64 * MAX_SPAN

/** Throws `disk_error` when they are not all there. */
export async function readLeaves({ file, offset }: LeafFile, first: number, count: number): Promise<Bytes> {
  const leaves = Buffer.alloc(count * HASH_SIZE)
  try {
    await withFile(file, fs.constants.O_RDONLY, async (handle) => {
      if (!(await readFully(handle, leaves, offset + first * HASH_SIZE))) throw new Error('the file is cut')
    })
  } catch (cause) {
    throw diskError(cause, `reading ${file}`)
  }
  return leaves
}

/** The tree of `part`, from the spans up. Throws as `readLeaves`. */
export async function topOf(leaves: LeafFile, part: Part): Promise<TreeTop> {
  const roots = new SpanRoots()
  for (let at = 0; at < part.count; at += STEP) {
    roots.add(await readLeaves(leaves, part.first + at, Math.min(STEP, part.count - at)))
  }
  return roots.top(part.count)
}
