import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { type Bytes, type CborValue, concat, toCbor, utf8 } from '../../node/core/encoding.ts'
import { P2pnsError } from '../../node/core/errors.ts'
import { keyPairFromSeed, sha256 } from '../../node/core/keys.ts'
import {
  cidOfHash,
  type Entry,
  encodeEntries,
  hashOfCid,
  MAX_DHT_MANIFEST,
  MAX_ENTRIES,
  MAX_LIST,
  manifestDhtKey,
  parseManifest,
  signManifest,
  stepsWithList,
  totals,
  withList,
} from '../../node/core/manifest.ts'
import { EMPTY_ROOT, leavesOf, MAX_CHUNKS, rootOf } from '../../node/core/tree.ts'

const pair = keyPairFromSeed(sha256(utf8('manifest test')))
const root = sha256(utf8('some root'))

const folder = (path: string): Entry => ({ type: 'folder', path, mode: 0o755 })
const file = (path: string, size = 5): Entry => ({
  type: 'file',
  path,
  size,
  root: size === 0 ? EMPTY_ROOT : root,
  mode: 0o644,
})
const sign = (entries: Entry[], hint = 'photos') => signManifest(pair, { created: 1_800_000_000, hint, entries })

/** A manifest that our own writer would never make, rightly signed. */
function forge(content: CborValue, fields: CborValue[] = [1, pair.publicKey, 1, 'x']): Bytes {
  const bytes = toCbor([...fields, content])
  return toCbor([bytes, pair.sign(concat(utf8('p2pns/manifest/v1\0'), bytes))])
}
const fileRow = (path: string): CborValue => [path, 5, root, 0o644, 0]
const folderRow = (path: string): CborValue => [path, 0, new Uint8Array(0), 0o755, 1]

test('what was signed is read back, entries in order, under one identifier', () => {
  const entries = [file('b.txt'), folder('a'), file('a/x', 0), folder(''), file('a-b')]
  const made = sign(entries)
  const read = parseManifest(made.stored, { id: made.id })
  assert.deepEqual(read, made)
  assert.deepEqual(
    read.entries?.map((entry) => entry.path),
    ['', 'a', 'a-b', 'a/x', 'b.txt'],
  )
  assert.match(made.id, /^bafyrei[a-z2-7]{52}$/)
  assert.deepEqual(totals(made.entries as Entry[]), { bytes: 10, files: 3 })
  assert.equal(sign(entries.toReversed()).id, made.id)
})

test('an identifier is a hash, a hash a DHT key', () => {
  const { id, hash } = sign([file('')])
  assert.deepEqual(Buffer.from(hashOfCid(id)), hash)
  assert.equal(cidOfHash(hash), id)
  assert.deepEqual(Buffer.from(manifestDhtKey(id)), Buffer.concat([Buffer.from('/p2pns-m/'), hash]))
  const others = [
    '',
    'b',
    id.toUpperCase(),
    `${id}a`,
    'QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWKU3',
    `z${id}`,
    'x'.repeat(1e5),
  ]
  for (const text of others) assert.throws(() => hashOfCid(text), { code: 'cid_invalid' }, text.slice(0, 60))
})

test('a manifest under another identifier, altered or signed by nobody is refused', () => {
  const made = sign([file('')])
  const other = sign([file('', 6)])
  assert.throws(() => parseManifest(made.stored, { id: other.id }), { code: 'key_mismatch' })
  const altered = Uint8Array.from(made.stored)
  altered[altered.length - 1] = (altered.at(-1) as number) ^ 1
  assert.throws(() => parseManifest(altered), { code: 'signature_invalid' })
  assert.throws(() => parseManifest(concat(made.stored, Uint8Array.of(0))), { code: 'malformed' })
  assert.throws(() => parseManifest(new Uint8Array(MAX_DHT_MANIFEST + 1)), { code: 'too_large' })
})

test('a flipped bit anywhere is noticed', () => {
  const { stored, id } = sign([folder(''), file('a')])
  fc.assert(
    fc.property(fc.nat({ max: stored.length * 8 - 1 }), (bit) => {
      const bytes = Uint8Array.from(stored)
      bytes[bit >> 3] = (bytes[bit >> 3] as number) ^ (1 << (bit & 7))
      assert.throws(() => parseManifest(bytes, { id }), P2pnsError)
    }),
  )
})

test('arbitrary bytes are refused with an error of ours', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => assert.throws(() => parseManifest(bytes), P2pnsError)),
  )
})

test('hostile paths are refused', () => {
  const paths = [
    '../x',
    'a/../../x',
    '/etc/passwd',
    'a//b',
    'a/',
    './a',
    '.',
    '..',
    'C:',
    'c:\\x',
    'a\\b',
    'a\0b',
    'a\nb',
    'a\u0085b',
    'e\u0301',
    'x'.repeat(256),
    `${'x'.repeat(250)}/`.repeat(5),
  ]
  for (const path of paths) {
    const rows = [folderRow(''), ...(path.startsWith('a/') ? [folderRow('a')] : []), fileRow(path)]
    assert.throws(() => parseManifest(forge(rows)), { code: 'path_unsafe' }, JSON.stringify(path))
    assert.throws(() => sign([folder(''), file(path)]), { code: 'path_unsafe' }, JSON.stringify(path))
  }
  for (const hint of ['..', 'a/b', 'a\0', '/', 'x'.repeat(256)]) {
    assert.throws(() => parseManifest(forge([fileRow('')], [1, pair.publicKey, 1, hint])), { code: 'path_unsafe' })
  }
})

test('two entries that some system takes for one are refused', () => {
  for (const [a, b] of [
    ['README', 'readme'],
    ['Straße', 'STRASSE'],
    ['Å', 'å'],
  ] as const) {
    assert.throws(() => sign([folder(''), file(a), file(b)]), { code: 'path_unsafe' }, a)
  }
  assert.throws(() => sign([folder(''), folder('A'), folder('a'), file('a/x')]), { code: 'path_unsafe' })
})

test('a file that is also a folder, a lost parent and a double entry are refused', () => {
  assert.throws(() => sign([folder(''), file('a'), file('a/b')]), { code: 'path_unsafe' })
  assert.throws(() => sign([folder(''), file('a/b')]), { code: 'path_unsafe' })
  assert.throws(() => sign([file(''), file('b')]), { code: 'path_unsafe' })
  assert.throws(() => sign([folder(''), file('a'), file('a')]), { code: 'malformed' })
  assert.throws(() => sign([file('a')]), { code: 'malformed' })
  assert.throws(() => sign([]), { code: 'malformed' })
})

test('entries of another shape are refused', () => {
  const rows: CborValue[] = [
    [],
    ['', 5, root, 0o644],
    ['', 5, root, 0o1777, 0],
    ['', 5, root, 0o644, 2],
    ['', 5, new Uint8Array(31), 0o644, 0],
    ['', 0, root, 0o644, 0],
    ['', 5, EMPTY_ROOT, 0o644, 0],
    ['', 1, new Uint8Array(0), 0o755, 1],
    [5, 5, root, 0o644, 0],
    ['', -1, root, 0o644, 0],
    'x',
  ]
  for (const row of rows) assert.throws(() => parseManifest(forge([row])), { code: 'malformed' })
  for (const fields of [
    [2, pair.publicKey, 1, 'x'],
    [1, pair.publicKey.subarray(1), 1, 'x'],
    [1, pair.publicKey, 'now', 'x'],
    [1, pair.publicKey, 1],
  ] as CborValue[][]) {
    assert.throws(() => parseManifest(forge([fileRow('')], fields)), { code: 'malformed' })
  }
  assert.throws(() => parseManifest(forge([fileRow('b'), fileRow('a')])), { code: 'malformed' })
})

test('content larger than its chunks can be numbered is refused', () => {
  const half = (MAX_CHUNKS / 2) * 256 * 1024
  assert.doesNotThrow(() => sign([folder(''), file('a', half)]))
  assert.throws(() => sign([folder(''), file('a', half), file('b', half)]), { code: 'too_large' })
  assert.throws(() => sign([file('', half * 3)]), { code: 'malformed' })
})

test('a long entry list is set apart, and only the right one completes the manifest', () => {
  const entries = [folder(''), ...Array.from({ length: 500 }, (_, i) => file(`file ${i}`))]
  const made = sign(entries)
  assert.ok(made.stored.length <= MAX_DHT_MANIFEST)
  assert.equal(made.entries?.length, 501)
  const read = parseManifest(made.stored, { id: made.id })
  assert.equal(read.entries, undefined)
  const list = encodeEntries(made.entries)
  assert.deepEqual(read.list?.size, list.length)
  assert.deepEqual(withList(read, list), made)
  const altered = Uint8Array.from(list)
  altered[100] = (altered[100] as number) ^ 1
  assert.throws(() => withList(read, altered), { code: 'key_mismatch' })
  assert.throws(() => withList(read, list.subarray(1)), { code: 'key_mismatch' })
  assert.throws(() => parseManifest(forge([MAX_LIST + 1, root])), { code: 'too_large' })
})

/** The manifest that names `bytes` as its entry list, as a hostile publisher would sign it. */
const withListOf = (bytes: Bytes) => parseManifest(forge([bytes.length, rootOf(leavesOf(bytes))]))

test('more entries than the limit are refused before any is read', () => {
  const rows = Array.from({ length: MAX_ENTRIES + 1 }, () => 0)
  const list = toCbor(rows)
  assert.throws(() => withList(withListOf(list), list), { code: 'too_large' })
  assert.throws(() => sign(Array.from({ length: MAX_ENTRIES + 1 }, (_, i) => file(`${i}`))), { code: 'too_large' })
})

test('a long list is read in steps, between which others get a turn', () => {
  const entries = [folder(''), ...Array.from({ length: 2000 }, (_, i) => file(`file ${i}`))]
  const list = encodeEntries(sign(entries).entries as Entry[])
  const steps = stepsWithList(withListOf(list), list)
  let turns = 0
  while (!steps.next().done) turns++
  assert.ok(turns >= 4)
})

test('a list that is cut, too long, not canonical or no list is refused', () => {
  const good = toCbor([folderRow(''), fileRow('a')])
  assert.equal(withList(withListOf(good), good).entries?.length, 2)
  for (const bytes of [
    good.subarray(0, -1),
    concat(good, Uint8Array.of(0)),
    concat(Uint8Array.of(0x98, 2), good.subarray(1)),
    concat(Uint8Array.of(0x9f), good.subarray(1), Uint8Array.of(0xff)),
    concat(Uint8Array.of(0x83), good.subarray(1)),
    Uint8Array.of(0x80),
    toCbor([[folderRow('')], 5]),
    toCbor('x'),
    toCbor([['x'.repeat(5000), 5, root, 0o644, 0]]),
  ]) {
    assert.throws(() => withList(withListOf(bytes), bytes), { code: 'malformed' }, Buffer.from(bytes).toString('hex'))
  }
})
