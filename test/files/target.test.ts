import assert from 'node:assert/strict'
import * as fs from 'node:fs/promises'
import * as path from 'node:path'
import { type TestContext, test } from 'node:test'
import type { Entry } from '../../node/core/manifest.ts'
import { CHUNK_SIZE, EMPTY_ROOT, leafHash, leavesOf, rootOf } from '../../node/core/tree.ts'
import { Layout } from '../../node/files/layout.ts'
import { createMap, mapKey } from '../../node/files/map.ts'
import {
  checkPlace,
  claimTarget,
  discardPart,
  finishTarget,
  placeFor,
  prepareTarget,
  type Replacing,
} from '../../node/files/target.ts'
import { bytesOf, contentOf, fetchFrom, linksOf, linkTo, seederOf, share, shareFiles, tempFolder } from './rig.ts'

const KEY = mapKey(bytesOf(32), '')
const DATA = bytesOf(10)
const NEVER: Replacing = { force: false, previous: [] }
const FORCE: Replacing = { force: true, previous: [] }

const folderAt = (path: string, mode = 0o755): Entry => ({ type: 'folder', path, mode })
const fileAt = (path: string, mode = 0o644): Entry => {
  return { type: 'file', path, mode, size: DATA.length, root: leafHash(DATA) }
}
const emptyAt = (path: string): Entry => ({ type: 'file', path, mode: 0o644, size: 0, root: EMPTY_ROOT })
const FOLDER = [folderAt(''), folderAt('a'), fileAt('a/b'), emptyAt('c')]

/** What the files of `entries` are, each of one chunk. */
function layoutOf(entries: readonly Entry[]): Layout {
  const full = entries.filter((entry) => entry.type === 'file' && entry.size > 0)
  return new Layout(full.map(({ path }, first) => ({ path, size: 10, root: leafHash(DATA), first, count: 1 })))
}

/** A place `y` in a temp folder, and a way to fill it as a download does. */
async function rig(t: TestContext, name = 'y') {
  const folder = await fs.realpath(await tempFolder(t))
  const out = path.join(folder, name)
  const target = await placeFor(out, undefined)
  const make = async (entries: readonly Entry[], may: Replacing) => {
    await prepareTarget(target, KEY, entries)
    for (const { path: inner, type } of entries) {
      if (type === 'file' && inner !== 'c') await fs.writeFile(path.join(target.part, inner), DATA)
    }
    return finishTarget(target, layoutOf(entries), entries, may)
  }
  const names = async () => (await fs.readdir(folder)).sort()
  return { folder, out, target, make, names }
}

const modeOf = async (file: string) => (await fs.stat(file)).mode & 0o7777

test('a file is put into a folder that is there, and into no folder that is not', async (t) => {
  const { folder, out } = await rig(t)
  assert.equal((await placeFor(out, 'film')).final, out)
  await fs.mkdir(out)
  assert.equal((await placeFor(out, 'film')).final, path.join(out, 'film'))
  assert.equal((await placeFor(out, undefined)).final, out)
  await fs.symlink(out, path.join(folder, 'way'))
  assert.equal((await placeFor(path.join(folder, 'way/x'), undefined)).final, path.join(out, 'x'))
  await assert.rejects(placeFor(path.join(folder, 'none/x'), undefined), { code: 'file_missing' })
})

test('a symbolic link under any of the three names is refused, wherever it leads', async (t) => {
  const { folder, out } = await rig(t)
  for (const ending of ['', '.part', '.part.map']) {
    for (const [place, inside] of [
      [out, undefined],
      [folder, 'y'],
    ] as const) {
      await fs.symlink(path.join(folder, 'nowhere'), `${out}${ending}`)
      await assert.rejects(placeFor(place, inside), { code: 'target_blocked' }, ending)
      await fs.rm(`${out}${ending}`)
    }
  }
})

test('what is in the way and no download made is refused, and stays as it is', async (t) => {
  for (const ending of ['.part', '.part.map', '.part.old']) {
    for (const kind of ['file', 'folder']) {
      const { folder, out, target } = await rig(t)
      if (kind === 'file') await fs.writeFile(`${out}${ending}`, 'mine, and longer than the head of any map would be')
      else await fs.mkdir(path.join(`${out}${ending}`, 'mine'), { recursive: true })
      const before = await contentOf(folder)
      await assert.rejects(prepareTarget(target, KEY, FOLDER), { code: 'target_blocked' }, `${kind} ${ending}`)
      assert.deepEqual(await contentOf(folder), before)
    }
  }
})

test('what this download made is found again, and what another made gives way', async (t) => {
  const { target } = await rig(t)
  assert.equal(await prepareTarget(target, KEY, FOLDER), false)
  await fs.writeFile(path.join(target.part, 'a/b'), DATA)
  assert.equal(await prepareTarget(target, KEY, FOLDER), true)
  assert.deepEqual(Object.keys(await contentOf(target.part)).sort(), ['a', 'a/b', 'c'])
  assert.equal(await prepareTarget(target, mapKey(KEY, ''), [folderAt('')]), false)
  assert.deepEqual(await contentOf(target.part), {})
})

test('a symbolic link inside what is being made is not followed', async (t) => {
  const { folder, target } = await rig(t)
  const outside = path.join(folder, 'outside')
  const link = path.join(target.part, 'a')
  await fs.mkdir(outside)
  const below = [folderAt(''), folderAt('a'), emptyAt('a/c')]
  for (const entries of [below, [folderAt(''), emptyAt('a')], [folderAt(''), folderAt('a')]]) {
    await prepareTarget(target, KEY, [folderAt('')])
    await fs.symlink(outside, link)
    await assert.rejects(prepareTarget(target, KEY, entries), { code: 'path_unsafe' })
    await assert.rejects(finishTarget(target, new Layout([]), below, NEVER), { code: 'path_unsafe' })
    await fs.rm(link)
  }
  assert.deepEqual(await fs.readdir(outside), [])
})

test('while it is made only its owner can read it; then it has its modes, but nobody else may write', async (t) => {
  const { out, target, make } = await rig(t)
  const entries = [
    folderAt('', 0o777),
    folderAt('closed', 0),
    fileAt('closed/none', 0),
    fileAt('open', 0o777),
    fileAt('read', 0o444),
  ]
  await prepareTarget(target, KEY, entries)
  assert.deepEqual([await modeOf(target.part), await modeOf(path.join(target.part, 'closed'))], [0o700, 0o700])
  await make(entries, NEVER)
  const modes = entries.map(({ path: inner }) => modeOf(path.join(out, inner)))
  assert.deepEqual(await Promise.all(modes), [0o755, 0o700, 0o400, 0o755, 0o444])
})

test('a file that is longer than it should be is cut, and a finished one is told as it lies there', async (t) => {
  const { out, target, make } = await rig(t)
  await prepareTarget(target, KEY, FOLDER)
  await fs.writeFile(path.join(target.part, 'c'), 'more')
  const files = await make(FOLDER, NEVER)
  assert.equal((await fs.stat(path.join(out, 'c'))).size, 0)
  const { size, mtimeNs } = await fs.stat(path.join(out, 'a/b'), { bigint: true })
  assert.deepEqual(files.get('a/b'), { path: 'a/b', source: path.join(out, 'a/b'), stamp: { size, mtimeNs } })
})

test('a file replaces a file only with force, and never a folder, nor a folder a file', async (t) => {
  const { folder, out, target, make } = await rig(t)
  const file = [fileAt('')]
  await fs.writeFile(out, 'mine')
  await assert.rejects(make(FOLDER, FORCE), { code: 'target_exists' })
  await discardPart(out)
  await assert.rejects(make(file, NEVER), { code: 'target_exists' })
  assert.equal(await fs.readFile(out, 'utf8'), 'mine')
  assert.equal(await checkPlace(target, file, FORCE), 'file')
  await make(file, FORCE)
  assert.ok((await fs.readFile(out)).equals(DATA))
  await fs.rm(out)
  await fs.mkdir(out)
  await assert.rejects(make(file, FORCE), { code: 'target_exists' })
  assert.deepEqual((await fs.readdir(folder)).sort(), ['y', 'y.part', 'y.part.map'])
})

test('a folder is replaced only if it is exactly what this home had there', async (t) => {
  const { out, target, make, names } = await rig(t)
  const earlier = () => shareFiles(out, { 'old/x': DATA })
  const previous = [await earlier()]
  const changes: [string, () => Promise<unknown>][] = [
    ['changed', () => fs.writeFile(path.join(out, 'old/x'), 'mine')],
    ['added', () => fs.writeFile(path.join(out, 'old/mine'), 'mine')],
    ['added folder', () => fs.mkdir(path.join(out, 'mine'))],
    ['added link', () => fs.symlink('x', path.join(out, 'old/mine'))],
    ['removed', () => fs.rm(path.join(out, 'old/x'))],
  ]
  await assert.rejects(make(FOLDER, FORCE), { code: 'target_exists' })
  for (const [what, change] of changes) {
    await fs.rm(out, { recursive: true })
    const may = { force: true, previous: [await earlier()] }
    await change()
    const before = await contentOf(out).catch(() => 'a link')
    await assert.rejects(make(FOLDER, may), { code: 'target_exists' }, what)
    assert.deepEqual(await contentOf(out).catch(() => 'a link'), before, what)
  }
  await fs.rm(out, { recursive: true })
  previous[0] = await earlier()
  assert.equal(await checkPlace(target, FOLDER, { force: false, previous }), 'folder')
  await make(FOLDER, { force: false, previous })
  assert.deepEqual(Object.keys(await contentOf(out)).sort(), ['a', 'a/b', 'c'])
  assert.deepEqual(await names(), ['y', 'y.part.map'])
  assert.equal(await checkPlace(target, FOLDER, { force: false, previous: [await share(out)] }), 'folder')
})

test('a file whose hashes do not lead to its root never gets the name', async (t) => {
  const { target, names } = await rig(t)
  const bytes = bytesOf(CHUNK_SIZE + 1)
  const root = rootOf(leavesOf(bytes))
  await prepareTarget(target, KEY, [])
  await fs.writeFile(target.part, bytes)
  await fs.truncate(target.map, 4096)
  const layout = new Layout([{ path: '', size: bytes.length, root, first: 0, count: 2 }])
  const entries: Entry[] = [{ type: 'file', path: '', mode: 0o644, size: bytes.length, root }]
  await assert.rejects(finishTarget(target, layout, entries, NEVER), { code: 'disk_error', message: /was damaged/ })
  assert.deepEqual(await names(), [], 'the next try begins anew')
})

test('only what a download left is discarded', async (t) => {
  const { folder, out, target, names } = await rig(t)
  await fs.writeFile(out, 'mine')
  await fs.mkdir(path.join(target.part, 'mine'), { recursive: true })
  await fs.writeFile(target.map, 'mine')
  await discardPart(out)
  assert.deepEqual(await names(), ['y', 'y.part', 'y.part.map'])
  await createMap(target.map, KEY)
  await fs.symlink(folder, path.join(target.part, 'link'))
  const release = claimTarget(target)
  await assert.rejects(discardPart(out), { code: 'target_busy' })
  release()
  await discardPart(out)
  assert.deepEqual(await names(), ['y'])
})

test('two fetches that would write to one name are not made at once', async (t) => {
  const { out, target } = await rig(t)
  const release = claimTarget(target)
  const beside = await placeFor(`${out}.part`, undefined)
  assert.throws(() => claimTarget(target), { code: 'target_busy' })
  assert.throws(() => claimTarget(beside), { code: 'target_busy' })
  claimTarget(await placeFor(`${out}2`, undefined))()
  release()
  claimTarget(beside)()
})

test('a fetch writes nothing but its target, whatever lies beside it', async (t) => {
  const { folder, out } = await rig(t)
  const content = { 'a/b': bytesOf(CHUNK_SIZE * 3), c: Buffer.alloc(0) }
  const wanted = await shareFiles(path.join(await tempFolder(t), 'site'), content)
  for (const name of ['y.part2', 'y.old', 'y.map', 'y.part.map.old', '.y.part']) {
    await fs.writeFile(path.join(folder, name), 'mine')
  }
  const before = await contentOf(folder)
  await fetchFrom(wanted, out, linksOf(linkTo(seederOf(wanted))))
  await fs.rm(out, { recursive: true })
  assert.deepEqual(await contentOf(folder), before)
})
