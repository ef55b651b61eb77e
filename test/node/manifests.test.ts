import assert from 'node:assert/strict'
import * as fs from 'node:fs/promises'
import * as path from 'node:path'
import { type TestContext, test } from 'node:test'
import { type Entry, signManifest } from '../../node/core/manifest.ts'
import { verifyAt, viewOf } from '../../node/manifests.ts'
import { bytesOf, pair, shareFiles, tempFolder } from '../files/rig.ts'

/** A folder that is as its manifest says, until a test changes it. */
async function shared(t: TestContext) {
  const folder = path.join(await tempFolder(t), 'x')
  const { manifest } = await shareFiles(folder, { a: bytesOf(9), 'sub/b': bytesOf(70_000), 'empty/': bytesOf(0) })
  const verdict = async () => {
    const { ok, missing, changed, extra } = await verifyAt(manifest, folder, {})
    return { ok, missing, changed, extra }
  }
  return { folder, manifest, verdict }
}

/** A folder of `count` files that nobody has. */
function manifestOf(count: number) {
  const root = new Uint8Array(32)
  const files = Array.from(
    { length: count },
    (_, i): Entry => ({ type: 'file', path: `${i}`, size: 2, root, mode: 0o644 }),
  )
  const entries: Entry[] = [{ type: 'folder', path: '', mode: 0o755 }, ...files]
  return signManifest(pair, { created: 1_800_000_000, hint: 'many', entries })
}

test('what stands as it was shared is the same, whenever it was written and whoever may read it', async (t) => {
  const { folder, manifest } = await shared(t)
  await fs.utimes(path.join(folder, 'a'), 1, 1)
  await fs.chmod(path.join(folder, 'a'), 0o600)
  assert.deepEqual(await verifyAt(manifest, folder, {}), {
    cid: manifest.id,
    path: await fs.realpath(folder),
    ok: true,
    files: 2,
    missing: [],
    changed: [],
    extra: [],
  })
})

test('a file is changed when one bit of it is, though its size and time are the same', async (t) => {
  const { folder, verdict } = await shared(t)
  const file = path.join(folder, 'sub/b')
  const { atime, mtime } = await fs.stat(file)
  const bytes = bytesOf(70_000)
  bytes[69_999] = (bytes[69_999] as number) ^ 1
  await fs.writeFile(file, bytes)
  await fs.utimes(file, atime, mtime)
  assert.deepEqual(await verdict(), { ok: false, missing: [], changed: ['sub/b'], extra: [] })
})

test('a folder in the place of a file is a change, and what lies in it is extra', async (t) => {
  const { folder, verdict } = await shared(t)
  await fs.rm(path.join(folder, 'a'))
  await fs.mkdir(path.join(folder, 'a'))
  await fs.writeFile(path.join(folder, 'a/c'), 'new')
  assert.deepEqual(await verdict(), { ok: false, missing: [], changed: ['a'], extra: ['a/c'] })
})

test('what is not there is missing, folders too, and what is there besides is extra, links too', async (t) => {
  const { folder, verdict } = await shared(t)
  await fs.rm(path.join(folder, 'sub'), { recursive: true })
  await fs.rmdir(path.join(folder, 'empty'))
  assert.deepEqual(await verdict(), { ok: false, missing: ['empty', 'sub', 'sub/b'], changed: [], extra: [] })
  await fs.writeFile(path.join(folder, 'new'), '')
  await fs.symlink('a', path.join(folder, 'link'))
  const { extra } = await verdict()
  assert.deepEqual(extra.sort(), ['link', 'new'])
})

test('nothing at the path is an error, and so is a verification that was stopped', async (t) => {
  const { folder, manifest } = await shared(t)
  await assert.rejects(verifyAt(manifest, `${folder}2`, {}), { code: 'file_missing' })
  await assert.rejects(verifyAt(manifest, folder, { signal: AbortSignal.abort() }), { code: 'interrupted' })
})

test('a verdict names a thousand paths at most, and is not the kinder for it', async (t) => {
  const { ok, missing, files } = await verifyAt(manifestOf(1001), await tempFolder(t), {})
  assert.deepEqual([ok, missing.length, files], [false, 1000, 1001])
})

test('a manifest shows ten thousand entries unless all are asked for, and counts them all', () => {
  const manifest = manifestOf(10_000)
  const [some, all] = [viewOf(manifest, false), viewOf(manifest, true)]
  assert.deepEqual([some.entries.length, all.entries.length], [10_000, 10_001])
  for (const { cid, files, bytes, hint, created } of [some, all]) {
    const then = '2027-01-15T08:00:00.000Z'
    assert.deepEqual([cid, files, bytes, hint, created], [manifest.id, 10_000, 20_000, 'many', then])
  }
  assert.deepEqual(all.entries.slice(0, 2), [
    { path: '', type: 'folder', size: 0, mode: 0o755 },
    { path: '0', type: 'file', size: 2, mode: 0o644, root: '00'.repeat(32) },
  ])
})
