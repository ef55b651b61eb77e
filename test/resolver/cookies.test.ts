import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Cookies } from '../../resolver/cookies.ts'
import { Clock } from './harness.ts'

const client = Buffer.from('0102030405060708', 'hex')

test('a server cookie holds for who it was made for, from the address it went to, and for nobody else', () => {
  const cookies = new Cookies(new Clock().now)
  const cookie = cookies.answer(client, '192.0.2.1')
  assert.equal(cookie.length, 24)
  assert.deepEqual(cookie.subarray(0, 8), client)
  assert.ok(cookies.holds(cookie, '192.0.2.1'))
  assert.ok(!cookies.holds(cookie, '192.0.2.2'))
  for (let at = 0; at < cookie.length; at++) {
    const forged = Buffer.from(cookie)
    forged[at] = (forged[at] as number) ^ 1
    assert.ok(!cookies.holds(forged, '192.0.2.1'), `byte ${at}`)
  }
  assert.ok(!new Cookies(new Clock().now).holds(cookie, '192.0.2.1'), 'another secret')
  assert.ok(!cookies.holds(client, '192.0.2.1'), 'no server cookie at all')
})

test('a server cookie is good for an hour, and a newer one comes after half of that', () => {
  const clock = new Clock()
  const cookies = new Cookies(clock.now)
  const cookie = cookies.answer(client, '192.0.2.1')
  clock.ms += 1_800_000
  assert.deepEqual(cookies.answer(cookie, '192.0.2.1'), cookie)
  clock.ms += 1_000
  const newer = cookies.answer(cookie, '192.0.2.1')
  assert.notDeepEqual(newer, cookie)
  assert.ok(cookies.holds(newer, '192.0.2.1') && cookies.holds(cookie, '192.0.2.1'))
  clock.ms += 1_800_000
  assert.ok(!cookies.holds(cookie, '192.0.2.1'))
  clock.ms -= 4_000_000
  assert.ok(!cookies.holds(newer, '192.0.2.1'), 'one from the future')
})
