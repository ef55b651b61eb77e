import assert from 'node:assert/strict'
import { test } from 'node:test'
import { clientOf, Shares } from '../../resolver/shares.ts'

test('first is what the greediest client has not used for the longest time', () => {
  const shares = new Shares<number>()
  assert.equal(shares.first(), undefined)
  for (const item of [1, 2, 3]) shares.add('many', item)
  for (const item of [4, 5]) shares.add('few', item)
  shares.add('many', 1)
  assert.deepEqual([shares.first(), shares.size], [{ client: 'many', item: 2 }, 5])
  shares.delete('many', 2)
  shares.delete('many', 2)
  shares.delete('many', 3)
  assert.deepEqual([shares.first(), shares.size, shares.countOf('many')], [{ client: 'few', item: 4 }, 3, 1])
})

test('all addresses of one IPv6 network are one client', () => {
  assert.equal(clientOf('2001:db8:1:2:3:4:5:6'), clientOf('2001:db8:1:2:ffff::1'))
  assert.notEqual(clientOf('2001:db8:1:2::1'), clientOf('2001:db8:1:3::1'))
  assert.equal(clientOf('2001:db8::1'), clientOf('2001:db8:0:0:1::'))
  assert.notEqual(clientOf('2001::b:1:2:3:4'), clientOf('2001::c:1:2:3:4'))
  assert.notEqual(clientOf('192.0.2.1'), clientOf('192.0.2.2'))
  assert.notEqual(clientOf('::ffff:192.0.2.1'), clientOf('::ffff:192.0.2.2'))
})
