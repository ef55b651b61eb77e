import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import * as fs from 'node:fs/promises'
import * as path from 'node:path'
import { test } from 'node:test'
import { equalBytes } from '../../node/core/encoding.ts'
import type { P2pnsError } from '../../node/core/errors.ts'
import { CHUNK_SIZE, leavesOf } from '../../node/core/tree.ts'
import { Layout } from '../../node/files/layout.ts'
import { readLeaves, topOf } from '../../node/files/leaves.ts'
import { sharePath } from '../../node/files/share.ts'
import { bytesOf, LEAVES, pair, share, shareBytes, shareFiles, tempFolder } from './rig.ts'

test('a file becomes one entry, hashed where it lies', async (t) => {
  const folder = await tempFolder(t)
  const bytes = bytesOf(CHUNK_SIZE * 20 + 5)
  const { manifest, files, leaves, ...rest } = await shareBytes(path.join(folder, 'film.bin'), bytes)
  assert.equal(manifest.hint, 'film.bin')
  assert.equal(rest.bytes, bytes.length)
  assert.deepEqual(
    manifest.entries?.map(({ path, type }) => [path, type]),
    [['', 'file']],
  )
  const [part] = Layout.of(manifest).parts
  assert.deepEqual(await readLeaves(leaves, 0, 21), Buffer.from(leavesOf(bytes)))
  assert.ok(part && equalBytes((await topOf(leaves, part)).root, part.root))
  assert.equal(files.size, 1)
  assert.deepEqual(await fs.readdir(folder), ['film.bin'])
})

test('a folder keeps nested and empty folders, empty files and modes', async (t) => {
  const folder = await tempFolder(t)
  const shared = await shareFiles(path.join(folder, 'site'), {
    'a/b/deep.txt': bytesOf(10),
    'a-b.txt': bytesOf(20),
    'empty/': Buffer.alloc(0),
    nothing: Buffer.alloc(0),
  })
  assert.deepEqual(
    shared.manifest.entries?.map(({ path, type }) => `${type} ${path}`),
    ['folder ', 'folder a', 'file a-b.txt', 'folder a/b', 'file a/b/deep.txt', 'folder empty', 'file nothing'],
  )
  await fs.chmod(path.join(folder, 'site/a-b.txt'), 0o755)
  const again = await share(path.join(folder, 'site'))
  assert.equal(again.manifest.entries?.find(({ path }) => path === 'a-b.txt')?.mode, 0o755)
})

test('the same content shared later keeps its CID, other content does not', async (t) => {
  const file = path.join(await tempFolder(t), 'x')
  const first = await shareBytes(file, bytesOf(1000))
  const options = { pair, created: 1_900_000_000, leaves: LEAVES, previous: first.manifest }
  assert.equal((await sharePath(file, options)).manifest.id, first.manifest.id)
  assert.notEqual((await sharePath(file, { ...options, hint: 'y' })).manifest.id, first.manifest.id)
  await fs.writeFile(file, bytesOf(1000, 'other'))
  const other = await sharePath(file, options)
  assert.notEqual(other.manifest.id, first.manifest.id)
  assert.equal(other.manifest.created, 1_900_000_000)
})

test('links and pipes inside a folder are left out and named', async (t) => {
  const folder = await tempFolder(t)
  await fs.symlink('/etc/passwd', path.join(folder, 'link'))
  execFileSync('mkfifo', [path.join(folder, 'pipe')])
  const shared = await shareFiles(folder, { 'real.txt': bytesOf(5) })
  assert.deepEqual(shared.skipped, ['link', 'pipe'])
  assert.equal(shared.files.size, 1)
})

test('what is not there is an error', async (t) => {
  await assert.rejects(share(path.join(await tempFolder(t), 'nowhere')), { code: 'file_missing' })
})

test("a name that no other system could hold is its owner's to change, and is told", async (t) => {
  const folder = await tempFolder(t)
  const refused = async (name: string, ...files: (string | Buffer)[]) => {
    const inner = path.join(folder, crypto.randomUUID())
    await fs.mkdir(inner)
    for (const file of files) await fs.writeFile(Buffer.concat([Buffer.from(`${inner}/`), Buffer.from(file)]), 'x')
    await assert.rejects(share(inner), (error: P2pnsError) => {
      assert.equal(error.code, 'file_name_invalid')
      assert.equal(error.exitCode, 2)
      assert.ok(error.message.includes(JSON.stringify(path.join(inner, name))), error.message)
      assert.match(error.message, /Rename it/)
      return true
    })
  }
  for (const name of ['back\\slash', 'new\nline', 'esc\u001b[31m']) await refused(name, name)
  await refused('readme', 'README', 'readme')
  await refused('\u00e9', 'e\u0301', '\u00e9')
  await refused('caf\ufffd', Buffer.from('caf\xe9', 'latin1'))
})

test('a file that is written to while it is hashed is refused', async (t) => {
  const file = path.join(await tempFolder(t), 'x')
  await fs.writeFile(file, bytesOf(CHUNK_SIZE * 200))
  let touched: Promise<void> | undefined
  const onProgress = () => {
    touched ??= fs.appendFile(file, 'more')
  }
  await assert.rejects(sharePath(file, { pair, created: 1, leaves: LEAVES, onProgress }), { code: 'file_changed' })
  await touched
})

test('sharing stops when it is told to', async (t) => {
  const file = path.join(await tempFolder(t), 'x')
  await fs.writeFile(file, bytesOf(CHUNK_SIZE * 40))
  const stop = new AbortController()
  const sharing = sharePath(file, {
    pair,
    created: 1,
    leaves: LEAVES,
    signal: stop.signal,
    onProgress: () => stop.abort(),
  })
  await assert.rejects(sharing, { code: 'interrupted' })
})
