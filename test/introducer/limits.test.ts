import assert from 'node:assert/strict'
import { test } from 'node:test'
import { addressBlock, dailyLimit, MAX_PER_DAY, windowLimit } from '../../introducer/limits.ts'

test('a block is what one customer has: /24 of IPv4, /48 of IPv6; private addresses are none', () => {
  const cases: [host: string, block: string | undefined][] = [
    ['192.0.2.77', '192.0.2.0/24'],
    ['::ffff:192.0.2.77', '192.0.2.0/24'],
    ['2001:db8:1:2::3', '2001:db8:1::/48'],
    ['2001:0DB8:0001:ffff:0:0:0:1', '2001:db8:1::/48'],
    ['2001:db8::1', '2001:db8:0::/48'],
    ['2001::1', '2001:0:0::/48'],
    ['2001:db8:1::', '2001:db8:1::/48'],
    ['127.0.0.1', undefined],
    ['192.168.1.9', undefined],
    ['172.17.0.1', undefined],
    ['::ffff:10.0.0.1', undefined],
    ['::1', undefined],
    ['fd00::1', undefined],
  ]
  for (const [host, block] of cases) assert.equal(addressBlock(host), block, host)
})

test('a source is counted by itself, and anew each day', () => {
  let now = 5 * 86_400_000
  const limit = dailyLimit(() => now)
  for (let i = 0; i < MAX_PER_DAY; i++) limit.take('a')
  assert.throws(() => limit.take('a'), { code: 'limit_reached' })
  limit.take('b')
  now += 86_399_999
  assert.throws(() => limit.take('a'), { code: 'limit_reached' })
  now += 1
  limit.take('a')
})

test('at most so many of each source come in one window', () => {
  let now = 1000
  const limit = windowLimit({ now: () => now, length: 1000, max: 2 })
  assert.deepEqual([limit.take('a'), limit.take('a'), limit.take('a'), limit.take('b')], [true, true, false, true])
  now += 999
  assert.equal(limit.take('a'), false)
  now += 1
  assert.equal(limit.take('a'), true)
})

test('an amount that is too much is not counted, and a smaller one still fits', () => {
  const limit = windowLimit({ now: () => 0, length: 1000, max: 10 })
  assert.equal(limit.take('a', 11), false)
  assert.equal(limit.take('a', 7), true)
  assert.equal(limit.take('a', 4), false)
  assert.equal(limit.take('a', 3), true)
  assert.equal(limit.take('a', 1), false)
})

test('a clock that is set back begins a window anew', () => {
  let now = 5000
  const limit = windowLimit({ now: () => now, length: 1000, max: 1 })
  assert.equal(limit.take('a'), true)
  now = 3000
  assert.equal(limit.take('a'), true)
  assert.equal(limit.take('a'), false)
})
