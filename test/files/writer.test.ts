import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { type TestContext, test } from 'node:test'
import { CHUNK_SIZE, leavesOf, MAX_SPAN, rootOf, Tree } from '../../node/core/tree.ts'
import { Layout, type Part } from '../../node/files/layout.ts'
import { createMap, MapShape, mapKey, readMapHead, readMarks, readProof } from '../../node/files/map.ts'
import { ChunkWriter, type WriteAt } from '../../node/files/writer.ts'
import { bytesOf, tempFolder } from './rig.ts'

const KEY = mapKey(bytesOf(32), '')
const A = bytesOf(CHUNK_SIZE + 10, 'a')
const B = bytesOf(5)
const part = (path: string, first: number, bytes: Buffer): Part => {
  const leaves = leavesOf(bytes)
  return { path, size: bytes.length, root: rootOf(leaves), first, count: leaves.length / 32 }
}
const PARTS = [part('a', 0, A), part('b', 2, B)]
const SHAPE = new MapShape(new Layout(PARTS))
const ALL = { first: 0, count: 3 }

async function rig(t: TestContext) {
  const folder = await tempFolder(t)
  const base = path.join(folder, 'x.part')
  const map = `${base}.map`
  fs.mkdirSync(base)
  await createMap(map, KEY)
  const open = (writeAt?: WriteAt): ChunkWriter => {
    const writer = new ChunkWriter({ base, map, parts: PARTS }, writeAt)
    t.after(() => writer.close())
    return writer
  }
  return { folder, base, map, open }
}

test('a chunk is written in its place and marked', async (t) => {
  const { base, map, open } = await rig(t)
  const writer = open()
  const data = bytesOf(10)
  assert.deepEqual(fs.readdirSync(base), [])
  writer.write(1, data)
  assert.deepEqual(fs.readFileSync(path.join(base, 'a')).subarray(CHUNK_SIZE), data)
  assert.deepEqual(await readMarks(map, SHAPE, ALL), Buffer.of(0, 1, 0))
})

test('a mark is believed only if the chunk on disk is the marked one', async (t) => {
  const { base, open } = await rig(t)
  const writer = open()
  const data = bytesOf(5)
  writer.write(2, data)
  assert.deepEqual(
    [0, 1, 2].map((chunk) => open().check(chunk)),
    [false, false, true],
  )
  fs.writeFileSync(path.join(base, 'b'), 'wrong')
  assert.ok(!open().check(2))
  fs.writeFileSync(path.join(base, 'b'), data)
  assert.ok(!open().check(2), 'the mark was taken back')
})

test('a proven span can be proven again, and its chunks checked against it', async (t) => {
  const { map, open } = await rig(t)
  const tree = new Tree(leavesOf(A))
  const { leaves, uncles } = tree.prove(0, MAX_SPAN)
  const writer = open()
  writer.write(1, A.subarray(CHUNK_SIZE))
  assert.ok(!open().check(1), 'its hash is not known')
  assert.equal(await readProof(map, SHAPE, PARTS[0] as Part, 0), undefined)
  writer.write(1, A.subarray(CHUNK_SIZE))
  writer.prove(0, leaves, uncles)
  assert.ok(open().check(1))
  const proof = await readProof(map, SHAPE, PARTS[0] as Part, 0)
  assert.deepEqual(proof && { leaves: Buffer.from(proof.leaves), uncles: Buffer.from(proof.uncles) }, {
    leaves: Buffer.from(leaves),
    uncles: Buffer.from(uncles),
  })
})

test('a full disk is an error that says so, and marks nothing that is not written', async (t) => {
  const { map, open } = await rig(t)
  let room = 7
  const writer = open((fd, data, offset, length, position) => {
    if (room === 0) throw Object.assign(new Error('write'), { code: 'ENOSPC' })
    const count = Math.min(room, length)
    room -= count
    return fs.writeSync(fd, data, offset, count, position)
  })
  const data = bytesOf(10)
  assert.throws(() => writer.write(1, data), { code: 'disk_full' })
  assert.deepEqual(await readMarks(map, SHAPE, ALL), Buffer.alloc(3))
})

test('a symbolic link in the way of a file, or of a folder, is refused', async (t) => {
  const { folder, base, open } = await rig(t)
  const outside = path.join(folder, 'outside')
  fs.writeFileSync(outside, 'untouched')
  fs.symlinkSync(outside, path.join(base, 'b'))
  const data = bytesOf(5)
  assert.throws(() => open().write(2, data), { code: 'path_unsafe' })
  assert.equal(fs.readFileSync(outside, 'utf8'), 'untouched')
})

test('a map belongs to one content and one entry of it, and other files are no maps', async (t) => {
  const { folder, map } = await rig(t)
  assert.equal(await readMapHead(map, KEY), 'ours')
  assert.equal(await readMapHead(map, mapKey(bytesOf(32), 'docs')), 'other')
  assert.equal(await readMapHead(`${map}.none`, KEY), 'none')
  fs.writeFileSync(path.join(folder, 'text'), 'just some text, as long as a map has a head, and longer')
  assert.equal(await readMapHead(path.join(folder, 'text'), KEY), 'none')
  fs.symlinkSync(map, path.join(folder, 'link'))
  await assert.rejects(readMapHead(path.join(folder, 'link'), KEY), { code: 'path_unsafe' })
})
