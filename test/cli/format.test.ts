import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { block, columns, count, formatBytes, formatKnown, formatSeconds } from '../../cli/format.ts'

test('bytes are shown in decimal units with one digit after the point', () => {
  const cases: [number, string][] = [
    [0, '0 B'],
    [1, '1 B'],
    [999, '999 B'],
    [1000, '1.0 kB'],
    [1536, '1.5 kB'],
    [999_949, '999.9 kB'],
    [999_950, '1.0 MB'],
    [20_000_000, '20.0 MB'],
    [1024 ** 4, '1.1 TB'],
    [Number.MAX_SAFE_INTEGER, '9.0 PB'],
  ]
  for (const [bytes, text] of cases) assert.equal(formatBytes(bytes), text)
})

test('a size never shows four digits before the point', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 9e17 }), (bytes) => /^\d{1,3}(\.\d)? [kMGTP]?B$/.test(formatBytes(bytes))),
  )
})

test('a duration shows at most two units', () => {
  const cases: [number, string][] = [
    [0, '0.0 s'],
    [0.04, '0.0 s'],
    [9.94, '9.9 s'],
    [9.96, '10 s'],
    [59.4, '59 s'],
    [59.6, '1 min'],
    [125, '2 min 5 s'],
    [3600, '1 h'],
    [3605, '1 h'],
    [11_040, '3 h 4 min'],
    [2 * 86_400 + 3 * 3600 + 59, '2 d 3 h'],
  ]
  for (const [seconds, text] of cases) assert.equal(formatSeconds(seconds), text)
})

test('one is singular, everything else is plural', () => {
  assert.equal(count(1, 'peer'), '1 peer')
  assert.equal(count(0, 'peer'), '0 peers')
  assert.equal(count(12_345, 'witness', 'witnesses'), '12,345 witnesses')
})

test('columns are padded to their widest cell, lines never end in spaces', () => {
  assert.deepEqual(
    columns([
      ['a', 'bbb', 'c'],
      ['aaa', 'b', ''],
    ]),
    ['a    bbb  c', 'aaa  b'],
  )
  assert.deepEqual(columns([]), [])
})

test('a block leaves out what is not there and puts a list under its title', () => {
  assert.deepEqual(block({ name: 'x', until: undefined, list: ['1', '2'], none: [] }), [
    'name  x',
    'list  1',
    '      2',
  ])
})

test('an answer says how it is known', () => {
  const fresh = { stale: false, source: 'own' } as const
  assert.equal(formatKnown({ kind: 'key', ...fresh }), 'known by its key')
  assert.equal(formatKnown({ kind: 'own', ...fresh }), 'name of this home')
  assert.equal(formatKnown({ kind: 'petname', ...fresh }), 'petname of this machine')
  assert.equal(
    formatKnown({ kind: 'lease', receipts: 1, witnesses: 1, stale: false, source: 'cache' }),
    'lease signed by 1 of 1 witness, from the cache',
  )
  assert.match(
    formatKnown({ kind: 'lease', receipts: 3, witnesses: 4, stale: true, source: 'dht' }),
    /^lease signed by 3 of 4 witnesses, from the DHT; stale: /,
  )
})

test('an answer by a lease says who stands behind it, since when, and what is wrong', () => {
  const lease = {
    kind: 'lease',
    receipts: 3,
    witnesses: 4,
    pinned: '2026-11-20T08:00:00.000Z',
    stale: false,
    source: 'dht',
  } as const
  const owner = 'lease signed by 3 of 4 witnesses, the owner you have known since 2026-11-20'
  assert.equal(formatKnown(lease), `${owner}, from the DHT`)
  assert.equal(
    formatKnown({ ...lease, receipts: 2, liars: 1 }),
    'lease signed by 2 of 4 witnesses (1 is proven to have lied, and does not count), the owner you have known since 2026-11-20, from the DHT',
  )
  assert.match(
    formatKnown({ ...lease, receipts: 1, liars: 2 }),
    /1 of 4 witnesses \(2 are proven to have lied, and do not count\)/,
  )
  const since = '2026-11-21T00:00:00.000Z'
  assert.equal(
    formatKnown({ ...lease, conflict: { owner: 'x.p2p', since } }),
    `${owner}, from the DHT; conflict: since 2026-11-21 another lease says x.p2p`,
  )
  assert.match(formatKnown({ ...lease, conflict: { owner: null, since } }), /another lease says nobody \(given up\)$/)
})
