import assert from 'node:assert/strict'
import * as fs from 'node:fs/promises'
import * as path from 'node:path'
import { test } from 'node:test'
import { CHUNK_SIZE, MAX_SPAN } from '../../node/core/tree.ts'
import type { FetchOptions } from '../../node/files/fetch.ts'
import type { Share } from '../../node/files/share.ts'
import {
  bytesOf,
  contentOf,
  fetchFrom,
  linksOf,
  linkTo,
  seederOf,
  share,
  shareBytes,
  shareFiles,
  tempFolder,
} from './rig.ts'

const SEVERAL = bytesOf(CHUNK_SIZE * 4 + 5, 'several')
const SMALL = bytesOf(30, 'small')

/** What a fetch of `wanted` with `previous` on this machine brought, and what it found. */
async function fetchWith(wanted: Share, out: string, previous: Share[], options: Partial<FetchOptions> = {}) {
  const links = linksOf(linkTo(seederOf(wanted)))
  const { manifest } = wanted
  const { resumed, peers } = await fetchFrom(wanted, out, links, { manifest, previous, ...options })
  return { here: resumed, brought: peers.reduce((sum, { bytes }) => sum + bytes, 0) }
}

/** Other bytes of the same length that look as if nobody had touched the file. */
async function forge(file: string, bytes: Buffer): Promise<void> {
  await fs.writeFile(file, bytes)
  await fs.utimes(file, 1_700_000_000, 1_700_000_000)
}

test('what this machine has under the same roots is not fetched, wherever it lies and whatever its name', async (t) => {
  const folder = await tempFolder(t)
  const one = await shareFiles(path.join(folder, 'one'), { 'a/several': SEVERAL, small: SMALL })
  const two = await shareBytes(path.join(folder, 'two'), bytesOf(CHUNK_SIZE * 2, 'two'))
  const wanted = await shareFiles(path.join(folder, 'wanted'), {
    'b/renamed': SEVERAL,
    'b/same': SMALL,
    'c/twice': SMALL,
    nothing: Buffer.alloc(0),
    two: bytesOf(CHUNK_SIZE * 2, 'two'),
    'fresh.bin': bytesOf(100, 'fresh'),
  })
  const out = path.join(folder, 'y')
  assert.deepEqual(await fetchWith(wanted, out, [one, two]), {
    here: SEVERAL.length + 2 * SMALL.length + CHUNK_SIZE * 2,
    brought: 100,
  })
  assert.deepEqual(await contentOf(out), await contentOf(path.join(folder, 'wanted')))
})

test('a file whose tree has several spans is copied with all of its hashes', async (t) => {
  const folder = await tempFolder(t)
  const bytes = bytesOf(CHUNK_SIZE * (MAX_SPAN + 2), 'big')
  const one = await shareBytes(path.join(folder, 'x'), bytes)
  const out = path.join(folder, 'y')
  assert.deepEqual(await fetchWith(one, out, [one]), { here: bytes.length, brought: 0 })
  assert.ok((await fs.readFile(out)).equals(bytes))
})

test('what was copied can be edited without a change of the file that it came from', async (t) => {
  const folder = await tempFolder(t)
  const one = await shareBytes(path.join(folder, 'one'), SEVERAL)
  const wanted = await shareFiles(path.join(folder, 'wanted'), { a: SEVERAL })
  await fetchWith(wanted, path.join(folder, 'y'), [one])
  await fs.writeFile(path.join(folder, 'y/a'), 'mine')
  assert.ok((await fs.readFile(path.join(folder, 'one'))).equals(SEVERAL))
})

test('a file of a content whose entry list is set apart is found too', async (t) => {
  const folder = await tempFolder(t)
  const many = Object.fromEntries(Array.from({ length: 400 }, (_, i) => [`f${i}`, bytesOf(20, `${i}`)]))
  const one = await shareFiles(path.join(folder, 'one'), { ...many, several: SEVERAL })
  assert.ok(one.manifest.list)
  const wanted = await shareBytes(path.join(folder, 'x'), SEVERAL)
  const out = path.join(folder, 'y')
  assert.deepEqual(await fetchWith(wanted, out, [one]), { here: SEVERAL.length, brought: 0 })
})

test('of a part of a content, only what is selected is copied', async (t) => {
  const folder = await tempFolder(t)
  const one = await shareFiles(path.join(folder, 'one'), { several: SEVERAL, small: SMALL })
  const wanted = await shareFiles(path.join(folder, 'wanted'), { 'a/several': SEVERAL, 'b/small': SMALL })
  const out = path.join(folder, 'y')
  assert.deepEqual(await fetchWith(wanted, out, [one], { entry: 'b' }), { here: SMALL.length, brought: 0 })
  assert.deepEqual(Object.keys(await contentOf(out)), ['small'])
})

test('a file that was touched or removed since is fetched, and another place of it is taken first', async (t) => {
  const folder = await tempFolder(t)
  const wanted = await shareBytes(path.join(folder, 'x'), SEVERAL)
  const touched = await shareBytes(path.join(folder, 'touched'), SEVERAL)
  const removed = await shareBytes(path.join(folder, 'removed'), SEVERAL)
  const kept = await shareBytes(path.join(folder, 'kept'), SEVERAL)
  await fs.utimes(touched.path, 1, 1)
  await fs.rm(removed.path)
  const all = { here: 0, brought: SEVERAL.length }
  assert.deepEqual(await fetchWith(wanted, path.join(folder, 'y'), [touched, removed]), all)
  assert.deepEqual(await fetchWith(wanted, path.join(folder, 'z'), [touched, removed, kept]), {
    here: SEVERAL.length,
    brought: 0,
  })
})

test('a file that only looks untouched is hashed, and what is wrong in it is fetched', async (t) => {
  const folder = await tempFolder(t)
  const wanted = await shareFiles(path.join(folder, 'wanted'), { several: SEVERAL, small: SMALL })
  await fs.cp(path.join(folder, 'wanted'), path.join(folder, 'one'), { recursive: true })
  const [several, small] = [path.join(folder, 'one/several'), path.join(folder, 'one/small')]
  await forge(several, SEVERAL)
  await forge(small, SMALL)
  const one = await share(path.join(folder, 'one'))
  const wrong = Buffer.from(SEVERAL)
  wrong[CHUNK_SIZE * 2] = (wrong[CHUNK_SIZE * 2] as number) ^ 1
  await forge(several, wrong)
  await forge(small, bytesOf(SMALL.length, 'other'))
  const out = path.join(folder, 'y')
  assert.deepEqual(await fetchWith(wanted, out, [one]), {
    here: SEVERAL.length - CHUNK_SIZE,
    brought: CHUNK_SIZE + SMALL.length,
  })
  assert.deepEqual(await contentOf(out), await contentOf(path.join(folder, 'wanted')))
})

test('a file whose kept hashes are damaged or gone is fetched', async (t) => {
  const folder = await tempFolder(t)
  const wanted = await shareBytes(path.join(folder, 'x'), SEVERAL)
  const all = { here: 0, brought: SEVERAL.length }
  const one = await shareBytes(path.join(folder, 'one'), SEVERAL)
  await fs.writeFile(one.leaves.file, bytesOf((await fs.stat(one.leaves.file)).size))
  assert.deepEqual(await fetchWith(wanted, path.join(folder, 'y'), [one]), all)
  await fs.rm(one.leaves.file)
  assert.deepEqual(await fetchWith(wanted, path.join(folder, 'z'), [one]), all)
  assert.ok((await fs.readFile(path.join(folder, 'z'))).equals(SEVERAL))
})
