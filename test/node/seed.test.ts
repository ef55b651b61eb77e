import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import * as fs from 'node:fs/promises'
import * as path from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { toHex } from '../../node/core/encoding.ts'
import { loadSeed } from '../../node/seed.ts'
import { temporaryFolder } from '../helpers/folder.ts'

const SEED = 'a5'.repeat(32)

test('a new home gets a seed that only its owner can read, and keeps it', async (t) => {
  const home = path.join(await temporaryFolder(t), 'new', 'home')
  const seed = await loadSeed(home, randomBytes)
  assert.equal(seed.length, 32)
  assert.equal((await fs.stat(path.join(home, 'seed'))).mode & 0o777, 0o600)
  assert.equal((await fs.stat(home)).mode & 0o777, 0o700)
  assert.equal(await fs.readFile(path.join(home, 'seed'), 'utf8'), `${toHex(seed)}\n`)
  assert.deepEqual(await loadSeed(home, randomBytes), seed)
})

test('starts at once in one process agree on one seed and leave nothing else behind', async (t) => {
  const home = await temporaryFolder(t)
  const seeds = await Promise.all(Array.from({ length: 8 }, () => loadSeed(home, randomBytes)))
  assert.equal(new Set(seeds.map(toHex)).size, 1)
  assert.deepEqual(await fs.readdir(home), ['seed'])
})

test('starts at once in several processes agree on one seed', async (t) => {
  const home = await temporaryFolder(t)
  const command = `
    const { loadSeed } = await import(${JSON.stringify(path.join(import.meta.dirname, '../../node/seed.ts'))})
    const { randomBytes } = await import('node:crypto')
    process.stdout.write(Buffer.from(await loadSeed(process.argv[1], randomBytes)).toString('hex'))`
  const start = async () =>
    (await promisify(execFile)(process.execPath, ['--input-type=module', '-e', command, home])).stdout
  const seeds = await Promise.all([start(), start(), start()])
  assert.match(seeds[0], /^[0-9a-f]{64}$/)
  assert.equal(new Set(seeds).size, 1)
  assert.deepEqual(await fs.readdir(home), ['seed'])
})

test('a seed that was put back by hand is taken, with and without a final newline', async (t) => {
  const home = await temporaryFolder(t)
  for (const text of [SEED, `${SEED}\n`]) {
    await fs.writeFile(path.join(home, 'seed'), text)
    assert.equal(toHex(await loadSeed(home, randomBytes)), SEED)
  }
})

test('a damaged seed is an error and is never replaced', async (t) => {
  const home = await temporaryFolder(t)
  const file = path.join(home, 'seed')
  for (const text of ['', '\n', SEED.slice(1), `${SEED}a5`, `${SEED}\n\n`, SEED.replace('a', 'g'), '\0'.repeat(64)]) {
    await fs.writeFile(file, text)
    await assert.rejects(loadSeed(home, randomBytes), { code: 'seed_unreadable' })
    assert.equal(await fs.readFile(file, 'utf8'), text)
  }
})

test('a seed that cannot be read is an error and is never replaced', async (t) => {
  const home = await temporaryFolder(t)
  await fs.mkdir(path.join(home, 'seed'))
  await assert.rejects(loadSeed(home, randomBytes), { code: 'disk_error', message: /seed cannot be read/ })
  assert.deepEqual(await fs.readdir(home), ['seed'])
})

test('a seed that is a link to a file that is not there is an error, not a new seed', async (t) => {
  const home = await temporaryFolder(t)
  await fs.symlink(path.join(home, 'usb/seed'), path.join(home, 'seed'))
  await assert.rejects(loadSeed(home, randomBytes), { code: 'seed_unreadable' })
  assert.deepEqual(await fs.readdir(home), ['seed'])
})

test('a home that cannot be written to is an error', async (t) => {
  const folder = await temporaryFolder(t)
  await fs.writeFile(path.join(folder, 'file'), '')
  await assert.rejects(loadSeed(path.join(folder, 'file'), randomBytes), { code: 'disk_error' })
})
