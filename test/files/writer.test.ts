import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { type TestContext, test } from 'node:test'
import { CHUNK_SIZE, leafHash } from '../../node/core/tree.ts'
import type { Part } from '../../node/files/layout.ts'
import { createMap, mapKey, readMapHead, readMarks } from '../../node/files/map.ts'
import { ChunkWriter, type WriteAt } from '../../node/files/writer.ts'
import { bytesOf, tempFolder } from './rig.ts'

const KEY = mapKey(bytesOf(32), '')
const part = (name: string, first: number, size: number): Part => ({
  path: name,
  size,
  root: bytesOf(32),
  first,
  count: Math.ceil(size / CHUNK_SIZE),
})
const PARTS = [part('a', 0, CHUNK_SIZE + 10), part('b', 2, 5)]

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

test('a right chunk is written in its place and marked, a wrong one is neither', async (t) => {
  const { base, map, open } = await rig(t)
  const writer = open()
  const data = bytesOf(10)
  assert.ok(!writer.write(1, data, leafHash(bytesOf(10, 'other'))))
  assert.deepEqual(fs.readdirSync(base), [])
  assert.ok(writer.write(1, data, leafHash(data)))
  assert.deepEqual(fs.readFileSync(path.join(base, 'a')).subarray(CHUNK_SIZE), data)
  const marks = await readMarks(map, { first: 0, count: 3 })
  assert.deepEqual(marks, Buffer.concat([Buffer.alloc(32), leafHash(data), Buffer.alloc(32)]))
})

test('a mark is believed only if the chunk on disk is the marked one', async (t) => {
  const { base, open } = await rig(t)
  const writer = open()
  const data = bytesOf(5)
  writer.write(2, data, leafHash(data))
  assert.deepEqual(
    [0, 1, 2].map((chunk) => open().check(chunk)),
    [false, false, true],
  )
  fs.writeFileSync(path.join(base, 'b'), 'wrong')
  assert.ok(!open().check(2))
  fs.writeFileSync(path.join(base, 'b'), data)
  assert.ok(!open().check(2), 'the mark was taken back')
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
  assert.throws(() => writer.write(1, data, leafHash(data)), { code: 'disk_full' })
  assert.deepEqual(await readMarks(map, { first: 0, count: 3 }), Buffer.alloc(96))
})

test('a symbolic link in the way of a file, or of a folder, is refused', async (t) => {
  const { folder, base, open } = await rig(t)
  const outside = path.join(folder, 'outside')
  fs.writeFileSync(outside, 'untouched')
  fs.symlinkSync(outside, path.join(base, 'b'))
  const data = bytesOf(5)
  assert.throws(() => open().write(2, data, leafHash(data)), { code: 'path_unsafe' })
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
