import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PATHS, rankOf } from '../../node/core/path-rank.ts'

test('within the process is best, then the same network, a direct connection, a punched one, and last through a relay', () => {
  const order = ['local', 'lan', 'direct-tcp', 'reversed-tcp', 'punched-tcp', 'punched-udp', 'relayed']
  assert.deepEqual(
    PATHS.toReversed().toSorted((a, b) => rankOf(a) - rankOf(b)),
    order,
  )
})

test('no two paths rank the same', () => {
  assert.equal(new Set(PATHS.map(rankOf)).size, PATHS.length)
})

test('a path that is not known is worse than any that is', () => {
  for (const path of PATHS) assert.ok(rankOf(path) < rankOf('by pigeon'), path)
  assert.equal(rankOf(''), rankOf('by pigeon'))
})
