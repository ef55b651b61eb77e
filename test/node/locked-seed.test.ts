import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import * as fs from 'node:fs/promises'
import * as path from 'node:path'
import { test } from 'node:test'
import { toHex } from '../../node/core/encoding.ts'
import { importSeed, loadSeed, lockSeed, readSeed, seedText, unlockSeed } from '../../node/seed.ts'
import { temporaryFolder } from '../helpers/folder.ts'

const SEED = 'a5'.repeat(32)
/** Base-2 logarithm of scrypt's N: quick. */
const QUICK = 2
const right = async () => 'correct horse'

async function homeWithSeed(t: Parameters<typeof temporaryFolder>[0]) {
  const home = await temporaryFolder(t)
  await fs.writeFile(path.join(home, 'seed'), `${SEED}\n`, { mode: 0o600 })
  return home
}

test('a locked seed is not on the disk, opens with its passphrase, and can be unlocked', async (t) => {
  const home = await homeWithSeed(t)
  await lockSeed(home, await right(), randomBytes, QUICK)
  assert.doesNotMatch(await seedText(home), new RegExp(SEED))
  assert.equal((await fs.stat(path.join(home, 'seed'))).mode & 0o777, 0o600)
  assert.equal(toHex(await loadSeed(home, randomBytes, right)), SEED)
  await unlockSeed(home, await right(), randomBytes)
  assert.equal(await seedText(home), `${SEED}\n`)
  assert.equal((await fs.stat(path.join(home, 'seed'))).mode & 0o777, 0o600)
  assert.deepEqual(await fs.readdir(home), ['seed'])
})

test('the passphrase is asked for only when the seed is locked', async (t) => {
  const home = await homeWithSeed(t)
  const never = () => assert.fail('nobody is to be asked')
  assert.equal(toHex(await loadSeed(home, randomBytes, never)), SEED)
  await loadSeed(path.join(home, 'new'), randomBytes, never)
})

test('a wrong passphrase, or none, opens nothing and changes nothing', async (t) => {
  const home = await homeWithSeed(t)
  await lockSeed(home, await right(), randomBytes, QUICK)
  const locked = await seedText(home)
  const wrong = async () => 'wrong horse'
  await assert.rejects(loadSeed(home, randomBytes), { code: 'seed_locked' })
  await assert.rejects(loadSeed(home, randomBytes, wrong), { code: 'passphrase_wrong', message: /does not open/ })
  await assert.rejects(unlockSeed(home, await wrong(), randomBytes), { code: 'passphrase_wrong' })
  await assert.rejects(lockSeed(home, await wrong(), randomBytes, QUICK), { code: 'usage', message: /locked already/ })
  assert.equal(await seedText(home), locked)
  await unlockSeed(home, await right(), randomBytes)
  await assert.rejects(unlockSeed(home, await right(), randomBytes), { code: 'usage', message: /not locked/ })
  await assert.rejects(lockSeed(home, '', randomBytes, QUICK), { code: 'usage' })
  assert.equal(await seedText(home), `${SEED}\n`)
})

test('a home without a seed has nothing to lock, to read or to copy, and gets none by it', async (t) => {
  const home = await temporaryFolder(t)
  const works = [
    () => lockSeed(home, 'p', randomBytes, QUICK),
    () => unlockSeed(home, 'p', randomBytes),
    () => readSeed(home),
    () => seedText(home),
  ]
  for (const work of works) await assert.rejects(work, { code: 'file_missing' })
  assert.deepEqual(await fs.readdir(home), [])
})

test('a damaged locked seed is an error and is never replaced', async (t) => {
  const home = await homeWithSeed(t)
  await lockSeed(home, await right(), randomBytes, QUICK)
  const text = await seedText(home)
  for (const damaged of [text.slice(0, -20), text.slice(0, 40), text.replace('\n-----END', 'x\n-----END')]) {
    await fs.writeFile(path.join(home, 'seed'), damaged)
    await assert.rejects(loadSeed(home, randomBytes, right), { code: 'seed_unreadable' })
    assert.equal(await seedText(home), damaged)
  }
})

test('what a killed unlock left in the clear is gone after the next lock and the next start', async (t) => {
  const home = await homeWithSeed(t)
  const left = path.join(home, 'seed.0123456789abcdef.new')
  const other = path.join(home, 'seed.backup')
  await fs.writeFile(other, 'mine')
  await fs.writeFile(left, SEED)
  await lockSeed(home, await right(), randomBytes, QUICK)
  assert.deepEqual((await fs.readdir(home)).sort(), ['seed', 'seed.backup'])
  await fs.writeFile(left, SEED)
  await loadSeed(home, randomBytes, right)
  assert.deepEqual((await fs.readdir(home)).sort(), ['seed', 'seed.backup'])
})

test('a seed that is a link stays one: what it leads to is locked', async (t) => {
  const home = await temporaryFolder(t)
  const stick = await homeWithSeed(t)
  await fs.symlink(path.join(stick, 'seed'), path.join(home, 'seed'))
  await lockSeed(home, await right(), randomBytes, QUICK)
  assert.ok((await fs.lstat(path.join(home, 'seed'))).isSymbolicLink())
  assert.doesNotMatch(await fs.readFile(path.join(stick, 'seed'), 'utf8'), new RegExp(SEED))
  assert.deepEqual(await fs.readdir(stick), ['seed'])
})

test('a seed is brought into a home that has none, locked or not, and replaces none', async (t) => {
  const folder = await homeWithSeed(t)
  const home = path.join(folder, 'new', 'home')
  await importSeed(home, `${SEED}\n`, randomBytes)
  assert.equal(toHex(await loadSeed(home, randomBytes)), SEED)
  assert.equal((await fs.stat(path.join(home, 'seed'))).mode & 0o777, 0o600)
  await assert.rejects(importSeed(home, 'b6'.repeat(32), randomBytes), { code: 'seed_exists' })
  assert.equal(await seedText(home), `${SEED}\n`)

  await lockSeed(folder, await right(), randomBytes, QUICK)
  const other = path.join(folder, 'other')
  await importSeed(other, await seedText(folder), randomBytes)
  assert.equal(toHex(await loadSeed(other, randomBytes, right)), SEED)
  for (const text of ['', 'words', SEED.slice(1)]) {
    await assert.rejects(importSeed(path.join(folder, 'third'), text, randomBytes), { code: 'seed_unreadable' })
  }
})

test('a seed is whole, in the one form or the other, however often locking and unlocking is killed', async (t) => {
  const home = await homeWithSeed(t)
  const module = JSON.stringify(path.join(import.meta.dirname, '../../node/seed.ts'))
  const work = `
    const { lockSeed, unlockSeed } = await import(${module})
    const { randomBytes } = await import('node:crypto')
    const home = process.argv[1]
    await unlockSeed(home, 'correct horse', randomBytes).catch(() => {})
    process.stdout.write('ready')
    for (;;) {
      await lockSeed(home, 'correct horse', randomBytes, ${QUICK})
      await unlockSeed(home, 'correct horse', randomBytes)
    }`
  for (let round = 0; round < 8; round++) {
    const child = spawn(process.execPath, ['--input-type=module', '-e', work, home], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const closed = once(child, 'close')
    child.stdout.once('data', () => setTimeout(() => child.kill('SIGKILL'), 3 * round))
    await closed
    assert.equal(toHex(await readSeed(home, right)), SEED)
  }
  await unlockSeed(home, await right(), randomBytes).catch(() => {})
  await lockSeed(home, await right(), randomBytes, QUICK)
  assert.deepEqual(await fs.readdir(home), ['seed'])
})
