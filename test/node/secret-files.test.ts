import assert from 'node:assert/strict'
import { readdir, readFile, stat } from 'node:fs/promises'
import * as path from 'node:path'
import { test } from 'node:test'
import { secretTable } from '../../node/secret-files.ts'
import { temporaryFolder } from '../helpers/folder.ts'

test('a secret is there until it is deleted, and then no file holds it any more', async (t) => {
  const folder = path.join(await temporaryFolder(t), 'pending')
  const table = secretTable<{ seed: string }>(folder)
  assert.equal(await table.get('a/b'), undefined)
  await table.put('a/b', { seed: 'first' })
  await table.put('a/b', { seed: 'second' })
  assert.deepEqual(await table.get('a/b'), { seed: 'second' })
  assert.deepEqual(await Array.fromAsync(table.entries()), [['a/b', { seed: 'second' }]])
  const [file = ''] = await readdir(folder)
  assert.equal((await stat(path.join(folder, file))).mode & 0o777, 0o600)
  assert.equal((await stat(folder)).mode & 0o777, 0o700)
  assert.ok((await readFile(path.join(folder, file), 'utf8')).includes('second'))
  await table.delete('a/b')
  assert.deepEqual(await readdir(folder), [])
  assert.equal(await table.get('a/b'), undefined)
})

test('a key with any characters stays inside the folder', async (t) => {
  const parent = await temporaryFolder(t)
  const table = secretTable<number>(path.join(parent, 'pending'))
  await table.put('../../escape\0', 1)
  assert.deepEqual(await readdir(parent), ['pending'])
  assert.equal(await table.get('../../escape\0'), 1)
})
