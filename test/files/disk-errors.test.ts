import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { writeSync } from 'node:fs'
import * as fs from 'node:fs/promises'
import * as path from 'node:path'
import { type TestContext, test } from 'node:test'
import type { P2pnsError } from '../../node/core/errors.ts'
import { CHUNK_SIZE, leavesOf, MAX_SPAN, rootOf, Tree } from '../../node/core/tree.ts'
import type { FetchOptions } from '../../node/files/fetch.ts'
import { createMap, mapKey } from '../../node/files/map.ts'
import type { Share } from '../../node/files/share.ts'
import { ChunkWriter, type WriteAt } from '../../node/files/writer.ts'
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

const CHUNKS = 6
const DATA = bytesOf(CHUNK_SIZE * CHUNKS)
const MIB = 1024 * 1024

/** A file that is being made, and writers for it. */
async function writerRig(t: TestContext) {
  const base = path.join(await tempFolder(t), 'y.part')
  const map = `${base}.map`
  await createMap(map, mapKey(bytesOf(32), ''))
  const leaves = leavesOf(DATA)
  const parts = [{ path: '', size: DATA.length, root: rootOf(leaves), first: 0, count: CHUNKS }]
  const { leaves: proven, uncles } = new Tree(leaves).prove(0, MAX_SPAN)
  const prove = (writer: ChunkWriter) => writer.prove(0, proven, uncles)
  const write = (writer: ChunkWriter, chunk: number) => {
    writer.write(chunk, DATA.subarray(chunk * CHUNK_SIZE, (chunk + 1) * CHUNK_SIZE))
  }
  const using = <Result>(work: (writer: ChunkWriter) => Result, writeAt?: WriteAt): Result => {
    const writer = new ChunkWriter({ base, map, parts }, writeAt)
    try {
      return work(writer)
    } finally {
      writer.close()
    }
  }
  const kept = () => using((writer) => Array.from({ length: CHUNKS }, (_, chunk) => writer.check(chunk)))
  return { base, using, prove, write, kept }
}

/** A disk that takes so many bytes, and then fails with `code`. */
function diskOf(room: number, code = 'ENOSPC'): WriteAt {
  return (fd, data, offset, length, position) => {
    if (room === 0) throw Object.assign(new Error('write'), { code })
    const count = writeSync(fd, data, offset, Math.min(room, length), position)
    room -= count
    return count
  }
}

test('wherever the disk fills up, what was kept before is known, and the rest goes on where there is room', async (t) => {
  const proofs = CHUNKS * 32 + 1
  for (const room of [
    0,
    10,
    proofs,
    proofs + 100,
    proofs + CHUNK_SIZE,
    proofs + (CHUNK_SIZE + 1) * 3 + CHUNK_SIZE / 2,
  ]) {
    const { base, using, prove, write, kept } = await writerRig(t)
    const fill = (writer: ChunkWriter) => {
      prove(writer)
      for (let chunk = 0; chunk < CHUNKS; chunk++) write(writer, chunk)
    }
    assert.throws(
      () => using(fill, diskOf(room)),
      { code: 'disk_full', message: /no space is left.*goes on/ },
      `${room}`,
    )
    const whole = Math.max(0, Math.floor((room - proofs) / (CHUNK_SIZE + 1)))
    const before = kept()
    assert.deepEqual(
      before,
      Array.from({ length: CHUNKS }, (_, chunk) => chunk < whole),
      `${room}`,
    )
    using((writer) => {
      prove(writer)
      before.forEach((here, chunk) => !here && write(writer, chunk))
    })
    assert.ok(kept().every(Boolean))
    assert.ok((await fs.readFile(base)).equals(DATA))
  }
})

test('a quota that is used up is a full disk, and any other failure is an error of the disk with its name', async (t) => {
  const { base, using, prove } = await writerRig(t)
  assert.throws(() => using(prove, diskOf(0, 'EDQUOT')), { code: 'disk_full' })
  for (const code of ['EIO', 'EROFS']) {
    assert.throws(
      () => using(prove, diskOf(0, code)),
      (error: P2pnsError) => {
        assert.equal(error.code, 'disk_error')
        assert.ok(error.message.includes(base) && error.message.includes(code), error.message)
        return true
      },
    )
  }
})

/** A disk of 4 MiB, and a way to make it larger; undefined without the right to mount one. */
async function smallDisk(t: TestContext, folder: string) {
  const small = path.join(folder, 'small')
  await fs.mkdir(small)
  const mount = (...args: string[]) => execFileSync('mount', [...args, small], { stdio: 'ignore' })
  try {
    mount('-t', 'tmpfs', '-o', 'size=4m', 'tmpfs')
  } catch {
    t.skip('needs the right to mount a small tmpfs; the tests above fake one')
    return undefined
  }
  return {
    small,
    grow: () => mount('-o', 'remount,size=64m'),
    [Symbol.dispose]: () => void execFileSync('umount', [small]),
  }
}

function fetch(wanted: Share, out: string, options: Partial<FetchOptions> = {}) {
  return fetchFrom(wanted, out, linksOf(linkTo(seederOf(wanted))), { manifest: wanted.manifest, ...options })
}

test('a folder that does not fit leaves no folder, and what is whole of it is not fetched again', async (t) => {
  const folder = await tempFolder(t)
  using disk = await smallDisk(t, folder)
  if (!disk) return
  const files = Object.fromEntries(Array.from({ length: 12 }, (_, i) => [`a/f${i}`, bytesOf(MIB, `${i}`)]))
  const wanted = await shareFiles(path.join(folder, 'site'), files)
  const out = path.join(disk.small, 'y')
  await assert.rejects(fetch(wanted, out), { code: 'disk_full' })
  assert.deepEqual((await fs.readdir(disk.small)).sort(), ['y.part', 'y.part.map'])
  disk.grow()
  const { resumed, peers } = await fetch(wanted, out)
  assert.ok(resumed >= 3 * MIB, `${resumed}`)
  assert.equal(peers[0]?.bytes, 12 * MIB - resumed)
  assert.deepEqual(await contentOf(out), await contentOf(path.join(folder, 'site')))
  assert.deepEqual(await fs.readdir(disk.small), ['y'])
})

test('what is to be replaced stays as it is when the new does not fit', async (t) => {
  const folder = await tempFolder(t)
  using disk = await smallDisk(t, folder)
  if (!disk) return
  const wanted = await shareBytes(path.join(folder, 'x'), bytesOf(8 * MIB))
  const out = path.join(disk.small, 'y')
  await fs.writeFile(out, 'mine')
  await assert.rejects(fetch(wanted, out, { force: true }), { code: 'disk_full' })
  assert.equal(await fs.readFile(out, 'utf8'), 'mine')
  disk.grow()
  await fetch(wanted, out, { force: true })
  assert.ok((await fs.readFile(out)).equals(bytesOf(8 * MIB)))
})

test('a local copy that does not fit is a full disk too, and goes on when there is room', async (t) => {
  const folder = await tempFolder(t)
  using disk = await smallDisk(t, folder)
  if (!disk) return
  const wanted = await shareBytes(path.join(folder, 'x'), bytesOf(8 * MIB))
  const out = path.join(disk.small, 'y')
  await assert.rejects(fetch(wanted, out, { previous: [wanted] }), { code: 'disk_full' })
  disk.grow()
  await fetch(wanted, out, { previous: [wanted] })
  assert.ok((await fs.readFile(out)).equals(bytesOf(8 * MIB)))
})

test('a file that its seeder cannot read ends in an error that names it, and another seeder completes it', async (t) => {
  const folder = await tempFolder(t)
  const site = path.join(folder, 'site')
  const files = { a: bytesOf(CHUNK_SIZE * 2, 'a'), 'b/data': DATA }
  for (const [how, spoil] of [
    ['removed', (file: string) => fs.rm(file)],
    ['a folder now', (file: string) => fs.rm(file).then(() => fs.mkdir(file))],
    ['a link now', (file: string) => fs.rename(file, `${file}2`).then(() => fs.symlink(`${file}2`, file))],
    ['cut short', (file: string) => fs.truncate(file, CHUNK_SIZE * 2)],
  ] as [string, (file: string) => Promise<void>][]) {
    const wanted = await shareFiles(site, files)
    // Under the same name it is the same content.
    await fs.cp(site, path.join(folder, 'good/site'), { recursive: true })
    const good = await share(path.join(folder, 'good/site'))
    assert.equal(good.manifest.id, wanted.manifest.id)
    await spoil(path.join(site, 'b/data'))
    const out = path.join(folder, 'y')
    const why = { code: 'file_changed', message: /^"b\/data" changed on seeder.* share it again\.$/ }
    await assert.rejects(fetch(wanted, out), why, how)
    const { manifest } = wanted
    const links = linksOf(linkTo(seederOf(wanted), 'spoilt'), linkTo(seederOf(good), 'good'))
    await fetchFrom(wanted, out, links, { manifest })
    assert.deepEqual(await contentOf(out), await contentOf(good.path), how)
    for (const name of ['site', 'good', 'y']) await fs.rm(path.join(folder, name), { recursive: true })
  }
})
