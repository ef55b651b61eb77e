import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { Reflection } from '../../introducer/reflection.ts'
import { encodeQuestion, parseReflection } from '../../node/core/datagram.ts'
import { type Bytes, toHex } from '../../node/core/encoding.ts'
import type { HostPort } from '../../node/core/hosts.ts'

const ASKER: HostPort = { host: '192.0.2.1', port: 5000 }
const NONCE = new Uint8Array(12).fill(9)
const MINUTE = 60_000

/** A reflector at a time that the test sets. */
function reflector(at = 1000 * MINUTE) {
  const clock = { now: at }
  const reflection = new Reflection({ key: new Uint8Array(32).fill(5), now: () => clock.now })
  const ask = (from: HostPort = ASKER, cookie?: Bytes) => {
    const reply = reflection.answer(encodeQuestion(NONCE, cookie), from)
    return reply && parseReflection(reply)
  }
  const cookieFor = (from: HostPort = ASKER): Bytes => {
    const told = ask(from)
    assert.ok(told?.type === 'cookie')
    return told.cookie
  }
  return { clock, reflection, ask, cookieFor }
}

test('nobody is told an address before a cookie has come back from there', () => {
  const { ask, cookieFor } = reflector()
  const cookie = cookieFor()
  const told = ask(ASKER, cookie)
  assert.ok(told?.type === 'answer')
  assert.deepEqual(told.seen, ASKER)
  assert.equal(toHex(told.nonce), toHex(NONCE))
})

test('a cookie of another address, another port or another reflector is none', () => {
  const { ask, cookieFor } = reflector()
  const cookie = cookieFor()
  for (const from of [
    { ...ASKER, host: '192.0.2.2' },
    { ...ASKER, port: 5001 },
  ]) {
    assert.equal(ask(from, cookie)?.type, 'cookie')
  }
  const other = new Reflection({ key: new Uint8Array(32).fill(6), now: () => 1000 * MINUTE })
  const reply = other.answer(encodeQuestion(NONCE, cookie), ASKER)
  assert.equal(reply && parseReflection(reply)?.type, 'cookie')
})

test('a cookie with any bit changed is none', () => {
  const { clock, ask, cookieFor } = reflector()
  const cookie = cookieFor()
  for (let bit = 0; bit < 128; bit++) {
    clock.now += 100
    const bytes = Uint8Array.from(cookie)
    bytes[bit >> 3] = (bytes[bit >> 3] as number) ^ (1 << (bit & 7))
    assert.equal(ask(ASKER, bytes)?.type, 'cookie', `bit ${bit}`)
  }
})

test('a cookie is good for the minute it was given in and the next one', () => {
  const { clock, ask, cookieFor } = reflector()
  const cookie = cookieFor()
  clock.now += 2 * MINUTE - 1
  assert.equal(ask(ASKER, cookie)?.type, 'answer')
  clock.now += 1
  assert.equal(ask(ASKER, cookie)?.type, 'cookie')
})

test('an IPv4 address that an IPv6 socket saw is told as IPv4, and its cookie is the same', () => {
  const { ask, cookieFor } = reflector()
  const told = ask({ host: '::ffff:192.0.2.1', port: 5000 }, cookieFor())
  assert.ok(told?.type === 'answer')
  assert.deepEqual(told.seen, ASKER)
})

test('an IPv6 address is told as such', () => {
  const { ask, cookieFor } = reflector()
  const from = { host: '2001:db8::7', port: 5000 }
  const told = ask(from, cookieFor(from))
  assert.ok(told?.type === 'answer')
  assert.deepEqual(told.seen, from)
})

test('a datagram from port 0, where nothing can be sent, gets no answer', () => {
  const { ask } = reflector()
  assert.equal(ask({ ...ASKER, port: 0 }), undefined)
})

test('no answer is longer than its question, and what is no question gets none', () => {
  const { clock, reflection } = reflector()
  const question = fc.uint8Array({ minLength: 46, maxLength: 46 }).map((rest) => Uint8Array.of(0x70, 1, ...rest))
  fc.assert(
    fc.property(
      fc.oneof(question, fc.uint8Array({ maxLength: 100 })),
      fc.constantFrom('192.0.2.1', '::1'),
      (bytes, host) => {
        clock.now += 1000
        const isQuestion = bytes.length === 48 && bytes[0] === 0x70 && bytes[1] === 1
        const reply = reflection.answer(bytes, { host, port: 1 })
        assert.equal(reply !== undefined, isQuestion)
        assert.ok((reply?.length ?? 0) <= bytes.length)
      },
    ),
  )
})

test('one address is answered 20 questions a second, from whichever ports, and others still are', () => {
  const { clock, ask } = reflector()
  for (let i = 0; i < 20; i++) assert.ok(ask({ ...ASKER, port: 5000 + i }))
  assert.equal(ask({ ...ASKER, port: 6000 }), undefined)
  assert.ok(ask({ ...ASKER, host: '192.0.2.2' }))
  clock.now += 999
  assert.equal(ask(), undefined)
  clock.now += 1
  assert.ok(ask())
})

test('all together are answered 2,000 questions a second', () => {
  const { clock, ask } = reflector()
  const askFrom = (i: number) => ask({ host: `192.0.${i >> 8}.${i & 255}`, port: 1 })
  for (let i = 0; i < 2000; i++) assert.ok(askFrom(i))
  assert.equal(askFrom(2000), undefined)
  clock.now += 1000
  assert.ok(askFrom(2000))
})

test('questions without a cookie, which may come in any name, keep nobody from an answer who has one', () => {
  const { ask, cookieFor } = reflector()
  const cookie = cookieFor()
  for (let i = 0; i < 20; i++) ask(ASKER)
  for (let i = 0; i < 2000; i++)
    ask({ host: `198.51.${100 + (i >> 8)}.${i & 255}`, port: 1 }, new Uint8Array(16).fill(1))
  assert.equal(ask(), undefined)
  for (let i = 0; i < 20; i++) assert.equal(ask(ASKER, cookie)?.type, 'answer')
  assert.equal(ask(ASKER, cookie), undefined)
})

test('junk is not counted as questions', () => {
  const { reflection, ask } = reflector()
  for (let i = 0; i < 100; i++) reflection.answer(new Uint8Array(48), ASKER)
  assert.ok(ask())
})
