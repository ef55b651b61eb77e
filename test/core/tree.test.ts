import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { type Bytes, concat, toHex, utf8 } from '../../node/core/encoding.ts'
import { sha256 } from '../../node/core/keys.ts'
import {
  CHUNK_SIZE,
  chunkCount,
  EMPTY_ROOT,
  HASH_SIZE,
  isAligned,
  leafHash,
  MAX_SPAN,
  rootOf,
  spanAround,
  spanLength,
  Tree,
  verifySpan,
} from '../../node/core/tree.ts'

/** RFC 6962 section 2.1, word for word: split at the largest power of two below n. */
function oracle(leaves: Bytes[]): Bytes {
  if (leaves.length === 0) return sha256(new Uint8Array(0))
  if (leaves.length === 1) return leaves[0] as Bytes
  let k = 1
  while (k * 2 < leaves.length) k *= 2
  return sha256(Uint8Array.of(1), oracle(leaves.slice(0, k)), oracle(leaves.slice(k)))
}

function leavesOf(count: number): Bytes[] {
  return Array.from({ length: count }, (_, i) => leafHash(utf8(`chunk ${i}`)))
}

function spansOf(total: number): { first: number; count: number }[] {
  const spans = []
  for (let count = 1; count <= MAX_SPAN && count < total * 2; count *= 2) {
    for (let first = 0; first < total; first += count) spans.push({ first, count })
  }
  return spans
}

test('the roots are those of the Certificate Transparency reference trees', () => {
  const inputs = ['', '00', '10', '2021', '3031', '40414243', '5051525354555657', '606162636465666768696a6b6c6d6e6f']
  const roots = [
    'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
    '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
    'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
    'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77',
    'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
    '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4',
    '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef',
    'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c',
    '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328',
  ]
  const leaves = inputs.map((hex) => leafHash(Buffer.from(hex, 'hex')))
  roots.forEach((root, n) => assert.equal(toHex(rootOf(concat(...leaves.slice(0, n)))), root))
})

test('every size from 0 to 70 leaves, and some big ones, agrees with the recursive definition', () => {
  for (const count of [...Array(71).keys(), 511, 512, 513, 1024, 1025, 1500]) {
    const leaves = leavesOf(count)
    const expected = toHex(oracle(leaves))
    assert.equal(toHex(rootOf(concat(...leaves))), expected)
    assert.equal(toHex(new Tree(concat(...leaves)).root), expected)
  }
})

test('an empty file has no chunk and the root of nothing', () => {
  assert.equal(chunkCount(0), 0)
  assert.deepEqual(rootOf(new Uint8Array(0)), EMPTY_ROOT)
  assert.deepEqual(new Tree(new Uint8Array(0)).root, EMPTY_ROOT)
  assert.equal(chunkCount(1), 1)
  assert.equal(chunkCount(CHUNK_SIZE), 1)
  assert.equal(chunkCount(CHUNK_SIZE + 1), 2)
})

test('every aligned span of a tree proves itself, and no other place, size or byte passes', () => {
  for (const total of [...Array(40).keys(), 513, 1300].filter((n) => n > 0)) {
    const tree = new Tree(concat(...leavesOf(total)))
    const spans = spansOf(total)
    for (const { first, count } of total > 40 ? spans.filter((_, i) => i % 37 === 0) : spans) {
      const { leaves, uncles } = tree.prove(first, count)
      assert.ok(verifySpan(tree.root, { total, first, count }, leaves, uncles))
      const wrong = Uint8Array.from(leaves)
      wrong[0] = (wrong[0] as number) ^ 1
      assert.ok(!verifySpan(tree.root, { total, first, count }, wrong, uncles))
      assert.ok(!verifySpan(tree.root, { total, first, count }, leaves, concat(uncles, new Uint8Array(HASH_SIZE))))
      assert.ok(!verifySpan(tree.root, { total, first: first + count, count }, leaves, uncles))
      if (uncles.length > 0) assert.ok(!verifySpan(tree.root, { total, first, count }, leaves, uncles.subarray(1)))
    }
  }
})

test('arbitrary bytes never prove a span', () => {
  const tree = new Tree(concat(...leavesOf(21)))
  fc.assert(
    fc.property(
      fc.integer({ min: -1, max: 25 }),
      fc.integer({ min: -1, max: 33 }),
      fc.uint8Array({ maxLength: 320 }),
      fc.uint8Array({ maxLength: 320 }),
      (first, count, leaves, uncles) => !verifySpan(tree.root, { total: 21, first, count }, leaves, uncles),
    ),
  )
})

test('a span that is not aligned, or lies outside the tree, is refused', () => {
  const tree = new Tree(concat(...leavesOf(20)))
  for (const [first, count] of [
    [1, 2],
    [0, 3],
    [32, 4],
    [0, MAX_SPAN * 2],
    [0, 0],
    [-4, 4],
    [0.5, 1],
  ] as const) {
    assert.ok(!isAligned({ total: 20, first, count }))
    assert.throws(() => tree.prove(first, count), { code: 'frame_invalid' })
  }
})

test('the span around a leaf holds it and stops at the end of the file', () => {
  assert.deepEqual(spanAround(1300, 1200), { total: 1300, first: 1024, count: MAX_SPAN })
  assert.equal(spanLength(spanAround(1300, 1200)), 276)
  assert.equal(spanLength(spanAround(1300, 0)), MAX_SPAN)
})
