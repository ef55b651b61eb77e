/** One piece of a file: read, hashed, with what the file looked like before and after. Synchronous, the work of a thread. */
import * as fs from 'node:fs'
import type { Bytes } from '../core/encoding.ts'
import { CHUNK_SIZE, HASH_SIZE, leafHash, leavesOf } from '../core/tree.ts'
import type { HashAnswer, HashedPiece, HashJob, Piece } from './hash-pool.ts'

const { O_NOFOLLOW, O_NONBLOCK, O_RDONLY } = fs.constants
/** What stays in a core's own cache is hashed from there. */
const READ_SIZE = CHUNK_SIZE
const ZEROS = Buffer.alloc(CHUNK_SIZE)
const ZERO_LEAF = leafHash(ZEROS)

const buffer = Buffer.allocUnsafeSlow(READ_SIZE)

function hashPiece({ source, at, length }: Piece): HashedPiece {
  const fd = fs.openSync(source, O_RDONLY | O_NONBLOCK | O_NOFOLLOW)
  try {
    const before = fs.fstatSync(fd, { bigint: true })
    const leaves = new Uint8Array(Math.ceil(length / CHUNK_SIZE) * HASH_SIZE)
    for (let done = 0; done < length; done += READ_SIZE) {
      const block = buffer.subarray(0, Math.min(READ_SIZE, length - done))
      if (!readFully(fd, block, at + done)) return { changed: true }
      leaves.set(leavesOfBlock(block), (done / CHUNK_SIZE) * HASH_SIZE)
    }
    const after = fs.fstatSync(fd, { bigint: true })
    if (before.size !== after.size || before.mtimeNs !== after.mtimeNs) return { changed: true }
    return { leaves, size: after.size, mtimeNs: after.mtimeNs }
  } finally {
    fs.closeSync(fd)
  }
}

/** A hole of a sparse file need not be hashed: its leaf is known. */
function leavesOfBlock(block: Buffer): Bytes {
  if (block[0] !== 0 || block.length % CHUNK_SIZE !== 0) return leavesOf(block)
  const leaves = new Uint8Array((block.length / CHUNK_SIZE) * HASH_SIZE)
  for (let at = 0; at < block.length; at += CHUNK_SIZE) {
    const chunk = block.subarray(at, at + CHUNK_SIZE)
    leaves.set(chunk.equals(ZEROS) ? ZERO_LEAF : leafHash(chunk), (at / CHUNK_SIZE) * HASH_SIZE)
  }
  return leaves
}

function readFully(fd: number, block: Buffer, position: number): boolean {
  for (let done = 0; done < block.length; ) {
    const read = fs.readSync(fd, block, done, block.length - done, position + done)
    if (read === 0) return false
    done += read
  }
  return true
}

/** Never throws. */
export function hashJob({ pieces }: HashJob): HashAnswer {
  let source = ''
  try {
    return {
      pieces: pieces.map((piece) => {
        source = piece.source
        return hashPiece(piece)
      }),
    }
  } catch (cause) {
    return { failed: source, code: cause instanceof Error && 'code' in cause ? String(cause.code) : String(cause) }
  }
}
