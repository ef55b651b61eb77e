import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import * as fs from 'node:fs/promises'
import * as path from 'node:path'
import { type TestContext, test } from 'node:test'
import fc from 'fast-check'
import { Level } from 'level'
import { holdsDatabase, isWholeLog } from '../../node/level-files.ts'
import { temporaryFolder } from '../helpers/folder.ts'

/** The log that leveldb itself writes for values of these lengths; long ones go over several of its 32 KiB blocks. */
async function logOf(t: TestContext, lengths: number[]): Promise<Buffer> {
  const folder = path.join(await temporaryFolder(t), 'db')
  const db = new Level<string, Uint8Array>(folder, { valueEncoding: 'view' })
  for (const [i, length] of lengths.entries()) await db.put(`k${i}`, randomBytes(length))
  await db.close()
  const name = (await fs.readdir(folder)).find((file) => file.endsWith('.log')) as string
  return fs.readFile(path.join(folder, name))
}

const LENGTHS = [0, 1, 100, 40_000, 7, 100_000, 32_768, 3]

test('a log as leveldb writes it is whole, over block limits too', async (t) => {
  const log = await logOf(t, LENGTHS)
  assert.ok(log.length > 5 * 32_768)
  assert.ok(isWholeLog(log))
  assert.ok(isWholeLog(Buffer.alloc(0)))
})

test('a record may end anywhere within the last bytes of a block', async (t) => {
  for (let short = 0; short < 10; short++) assert.ok(isWholeLog(await logOf(t, [32_768 - 30 - short, 10])), `${short}`)
})

test('a flipped bit of a full block is found', async (t) => {
  const log = await logOf(t, LENGTHS)
  const full = log.length - (log.length % 32_768)
  fc.assert(
    fc.property(fc.integer({ min: 0, max: full * 8 - 1 }), (bit) => {
      const altered = Buffer.from(log)
      altered.writeUInt8(altered.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3)
      return !isWholeLog(altered)
    }),
  )
})

test('a log that was cut anywhere, or has zeros where the last write should be, is a crash and no damage', async (t) => {
  const log = await logOf(t, LENGTHS)
  fc.assert(fc.property(fc.integer({ min: 0, max: log.length }), (length) => isWholeLog(log.subarray(0, length))))
  assert.ok(isWholeLog(Buffer.concat([log, Buffer.alloc(70_000)])))
})

test('zeros in the midst of a log are damage', async (t) => {
  const log = await logOf(t, LENGTHS)
  assert.ok(!isWholeLog(log.fill(0, 32_768, 65_536)))
})

test('a folder that is absent or empty holds no database, and one that level has opened does', async (t) => {
  const home = await temporaryFolder(t)
  assert.equal(await holdsDatabase(path.join(home, 'absent')), false)
  assert.equal(await holdsDatabase(home), false)
  const db = new Level(path.join(home, 'db'))
  await db.open()
  assert.equal(await holdsDatabase(path.join(home, 'db')), true)
  await db.close()
  assert.equal(await holdsDatabase(path.join(home, 'db')), true)
})
