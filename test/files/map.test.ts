import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import * as fs from 'node:fs/promises'
import * as path from 'node:path'
import { type TestContext, test } from 'node:test'
import * as fc from 'fast-check'
import { CHUNK_SIZE, HASH_SIZE, leavesOf, MAX_SPAN, rootOf } from '../../node/core/tree.ts'
import { Layout, type Part } from '../../node/files/layout.ts'
import {
  createMap,
  MAP_HEAD,
  MapShape,
  mapKey,
  PROOF_SIZE,
  proofBytes,
  readLeavesOf,
  readMapHead,
  readMarks,
  readProof,
  unclesIn,
} from '../../node/files/map.ts'
import { bytesOf, fetchFrom, linksOf, linkTo, seederOf, shareBytes, tempFolder } from './rig.ts'

const CONTENT = bytesOf(32)
const KEY = mapKey(CONTENT, '')

async function freshMap(t: TestContext): Promise<string> {
  const map = path.join(await tempFolder(t), 'y.part.map')
  await createMap(map, KEY)
  return map
}

test('a map is of one content and of one selection of it', async (t) => {
  const map = await freshMap(t)
  assert.equal(await readMapHead(map, KEY), 'ours')
  for (const key of [mapKey(CONTENT, 'docs'), mapKey(CONTENT, '["","docs"]'), mapKey(bytesOf(32, 'other'), '')]) {
    assert.equal(await readMapHead(map, key), 'other')
  }
})

test('a map with any bit of its head damaged is not of this download, and one that is cut short neither', async (t) => {
  const map = await freshMap(t)
  const whole = await fs.readFile(map)
  assert.equal(whole.length, MAP_HEAD)
  for (let at = 0; at < MAP_HEAD; at++) {
    const damaged = Buffer.from(whole)
    damaged[at] = (damaged[at] as number) ^ (1 << (at % 8))
    await fs.writeFile(map, damaged)
    assert.equal(await readMapHead(map, KEY), at < MAP_HEAD - HASH_SIZE ? 'none' : 'other', `byte ${at}`)
    await fs.writeFile(map, whole.subarray(0, at))
    assert.equal(await readMapHead(map, KEY), at < MAP_HEAD - HASH_SIZE ? 'none' : 'other', `${at} bytes`)
  }
})

test('a map of another version is no map', async (t) => {
  const map = await freshMap(t)
  const head = await fs.readFile(map, 'latin1')
  for (const version of ['0', '1', '3']) {
    await fs.writeFile(map, head.replace('map 2', `map ${version}`), 'latin1')
    assert.equal(await readMapHead(map, KEY), 'none', version)
  }
})

test('a folder or a pipe that has the name is no map, and none is waited for', async (t) => {
  const folder = await tempFolder(t)
  assert.equal(await readMapHead(folder, KEY), 'none')
  assert.equal(await readMapHead(path.join(folder, 'nothing'), KEY), 'none')
  execFileSync('mkfifo', [path.join(folder, 'pipe')])
  assert.equal(await readMapHead(path.join(folder, 'pipe'), KEY), 'none')
})

test('what a crash left of a map that was being made is not in the way', async (t) => {
  const map = await freshMap(t)
  await fs.writeFile(`${map}.new`, 'p2pns part m')
  await createMap(map, mapKey(CONTENT, 'docs'))
  assert.equal(await readMapHead(map, mapKey(CONTENT, 'docs')), 'ours')
  assert.deepEqual(await fs.readdir(path.dirname(map)), ['y.part.map'])
})

test('a fetch leaves the part alone whose map is damaged, and goes on once it is moved away', async (t) => {
  const folder = await tempFolder(t)
  const bytes = bytesOf(CHUNK_SIZE * 3)
  const share = await shareBytes(path.join(folder, 'x'), bytes)
  const out = path.join(folder, 'y')
  const fetch = () => fetchFrom(share, out, linksOf(linkTo(seederOf(share))))
  await fs.writeFile(`${out}.part`, 'half')
  await createMap(`${out}.part.map`, mapKey(share.manifest.hash, ''))
  const map = await fs.open(`${out}.part.map`, 'r+')
  await map.write('P')
  await map.close()
  await assert.rejects(fetch(), { code: 'target_blocked' })
  assert.equal(await fs.readFile(`${out}.part`, 'utf8'), 'half')
  await fs.rm(`${out}.part.map`)
  await fs.rm(`${out}.part`)
  await fetch()
  assert.ok((await fs.readFile(out)).equals(bytes))
})

/** Parts of so many chunks each, after so many that are not of this download. */
function partsOf(counts: readonly number[], before: number): Part[] {
  let first = before
  return counts.map((count, i) => {
    first += count
    return { path: `${i}`, size: count * CHUNK_SIZE, root: CONTENT, first: first - count, count }
  })
}

test('no two things in a map share a byte', () => {
  const counts = fc.array(fc.oneof(fc.nat({ max: 3 }), fc.integer({ min: MAX_SPAN - 1, max: MAX_SPAN * 2 + 1 })), {
    minLength: 1,
    maxLength: 5,
  })
  fc.assert(
    fc.property(counts, fc.nat({ max: 3 }), (counts, before) => {
      const parts = partsOf(counts, before)
      const shape = new MapShape(new Layout(parts))
      const taken = parts.flatMap((part): [number, number][] => {
        const { first, count } = part
        const starts = Array.from({ length: count > 1 ? Math.ceil(count / MAX_SPAN) : 0 }, (_, i) => i * MAX_SPAN)
        return [
          [shape.markOffset(first), count],
          [shape.leafOffset(first), count * HASH_SIZE],
          ...starts.map((start): [number, number] => [shape.proofOffset(part, first + start), PROOF_SIZE]),
        ]
      })
      let end = MAP_HEAD
      for (const [offset, length] of taken.filter(([, length]) => length > 0).sort(([a], [b]) => a - b)) {
        assert.ok(offset >= end)
        end = offset + length
      }
    }),
    { numRuns: 300, seed: 1 },
  )
})

test('uncles are read as they were written, and a number of them that cannot be means that none are known', () => {
  for (let count = 0; count <= 15; count++) {
    const uncles = bytesOf(count * HASH_SIZE)
    const room = Buffer.alloc(PROOF_SIZE)
    room.set(proofBytes(uncles))
    assert.deepEqual(Buffer.from(unclesIn(room) ?? 'none'), uncles)
  }
  for (const known of [0, 17, 255]) assert.equal(unclesIn(Buffer.alloc(PROOF_SIZE, known)), undefined)
})

test('where a map ends, nothing is marked and no hash is known', async (t) => {
  const map = await freshMap(t)
  const bytes = bytesOf(CHUNK_SIZE * 2)
  const [part] = [{ path: '', size: bytes.length, root: rootOf(leavesOf(bytes)), first: 0, count: 2 }]
  const shape = new MapShape(new Layout([part]))
  const all = { first: 0, count: 2 }
  assert.deepEqual(Buffer.from(await readMarks(map, shape, all)), Buffer.alloc(2))
  assert.deepEqual(Buffer.from(await readLeavesOf(map, shape, all)), Buffer.alloc(64))
  assert.equal(await readProof(map, shape, part, 0), undefined)
})
