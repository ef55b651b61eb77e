/**
 * Damage that leveldb does not report when it opens a database: where CURRENT is gone it starts anew and deletes the old
 * files, and from a damaged place in its log it drops acknowledged writes without a word. A witness that forgot what it
 * signed would sign again. Format: leveldb doc/log_format.md.
 */
import * as fs from 'node:fs/promises'
import * as path from 'node:path'
import { P2pnsError } from './core/errors.ts'

const BLOCK = 32_768
/** Checksum 4, length 2, type 1. */
const HEADER = 7
/** FULL, FIRST, MIDDLE, LAST are 1 to 4. */
const MAX_TYPE = 4
/** Nothing but a first, empty database is described by it. */
const FIRST_MANIFEST = 'MANIFEST-000001\n'

/** Whether a database is in `folder`. Throws db_corrupt, before anything is touched, when opening it would lose data. */
export async function holdsDatabase(folder: string): Promise<boolean> {
  const names: string[] = await fs.readdir(folder).catch(() => [])
  const logs = names.filter((name) => name.endsWith('.log'))
  const corrupt = (why: string) => new P2pnsError('db_corrupt', `The database ${folder} is damaged: ${why}`)
  if (!names.includes('CURRENT')) {
    if (logs.length > 0 || names.some((name) => name.endsWith('.ldb'))) throw corrupt('CURRENT is missing')
    return false
  }
  if (logs.length === 0 && (await fs.readFile(path.join(folder, 'CURRENT'), 'utf8')) !== FIRST_MANIFEST) {
    throw corrupt('its log is missing')
  }
  for (const log of logs) {
    if (!isWholeLog(await fs.readFile(path.join(folder, log)))) throw corrupt(`${log} was altered`)
  }
  return true
}

/** Whether a log is as it was written; the last write may be torn, since a crash can do that to one not acknowledged. */
export function isWholeLog(log: Buffer): boolean {
  for (let block = 0; block < log.length; block += BLOCK) {
    const end = block + BLOCK
    let at = block
    while (at + HEADER <= end && at + HEADER <= log.length) {
      const next = at + HEADER + log.readUInt16LE(at + 4)
      const type = log.readUInt8(at + 6)
      // Zeros: space that a file system gave and that was never written.
      if (type === 0) return log.subarray(at).every((byte) => byte === 0)
      if (type > MAX_TYPE || next > end) return false
      if (next > log.length) return true
      if (log.readUInt32LE(at) !== masked(crc32c(log.subarray(at + 6, next)))) return false
      at = next
    }
  }
  return true
}

/** A log may hold checksums of its own; leveldb rotates its by 15 bits and adds a constant to tell them apart. */
function masked(crc: number): number {
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0
}

/** CRC-32C (RFC 3720 appendix B.4); node:zlib has only the other polynomial. */
function crc32c(bytes: Uint8Array): number {
  let crc = ~0
  for (const byte of bytes) crc = (crc >>> 8) ^ (CRC_TABLE[(crc ^ byte) & 0xff] as number)
  return ~crc >>> 0
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1
  return crc >>> 0
})
