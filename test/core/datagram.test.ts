import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import {
  encodeCookie,
  encodePoke,
  encodeProbe,
  encodeQuestion,
  encodeReflection,
  MAGIC,
  PROBE,
  type Probe,
  parseProbe,
  parseQuestion,
  parseReflection,
  parseSeen,
  probeNonce,
  QUESTION_SIZE,
  REFLECT,
  seenBytes,
  streamIds,
  TCP_ANSWER_SIZE,
} from '../../node/core/datagram.ts'
import { type Bytes, equalBytes, toHex, utf8 } from '../../node/core/encoding.ts'
import { addressText } from '../../node/core/hosts.ts'

const sized = (length: number) => fc.uint8Array({ minLength: length, maxLength: length })
const seenHost = fc
  .tuple(fc.oneof(sized(4), sized(16)), fc.integer({ min: 1, max: 65_535 }))
  .map(([address, port]) => ({ host: addressText(address), port }))
const probe = fc.record({
  type: fc.constantFrom(...(Object.keys(PROBE) as Probe['type'][])),
  nonce: sized(8),
  seq: fc.nat(0xffff_ffff),
  fromCaller: fc.boolean(),
})
/** Any bytes, among them many that begin as a datagram does and have the length of one. */
const junk = fc.oneof(
  fc.uint8Array({ maxLength: 80 }),
  fc
    .record({
      length: fc.constantFrom(0, 1, 2, 13, 14, 15, 29, 30, 31, 32, 33, 34, 47, 48, 49),
      type: fc.constantFrom(...Object.values(REFLECT), ...Object.values(PROBE), 0, 5, 19, 255),
      rest: sized(64),
    })
    .map(({ length, type, rest }) => Uint8Array.of(MAGIC, type, ...rest).subarray(0, length)),
)
const KEY = new Uint8Array(32).fill(7)

/** What is told of views into other buffers, as plain bytes. */
const plain = (bytes: Bytes | undefined) => bytes && toHex(bytes)

test('no bytes make a parser throw', () => {
  fc.assert(
    fc.property(junk, sized(32), (bytes, key) => {
      for (const parse of [parseQuestion, parseReflection, parseSeen, probeNonce]) parse(bytes)
      assert.equal(parseProbe(bytes, key), undefined)
    }),
    { numRuns: 1000 },
  )
})

test('what is read of junk is written as the same bytes again', () => {
  fc.assert(
    fc.property(junk, (bytes) => {
      const told = parseReflection(bytes)
      if (told?.type === 'cookie') assert.deepEqual(plain(encodeCookie(told.nonce, told.cookie)), toHex(bytes))
      if (told?.type === 'poke') assert.deepEqual(plain(encodePoke(told.nonce)), toHex(bytes))
      if (told?.type !== 'answer') return
      const again = parseReflection(encodeReflection(told.nonce, told.seen))
      assert.deepEqual({ ...again, nonce: plain(told.nonce) }, { ...told, nonce: plain(told.nonce) })
    }),
    { numRuns: 1000 },
  )
})

test('a question, a cookie, an answer and a poke are byte for byte what the specification says', () => {
  const nonce = '0102030405060708090a0b0c'
  const cookie = '00112233445566778899aabbccddeeff'
  const [n, c] = [Buffer.from(nonce, 'hex'), Buffer.from(cookie, 'hex')]
  assert.equal(toHex(encodeQuestion(n)), `7001${nonce}${'00'.repeat(34)}`)
  assert.equal(toHex(encodeQuestion(n, c)), `7001${nonce}${cookie}${'00'.repeat(18)}`)
  assert.equal(toHex(encodeCookie(n, c)), `7002${nonce}${cookie}`)
  const four = encodeReflection(n, { host: '192.0.2.1', port: 0x1234 })
  assert.equal(toHex(four), `7003${nonce}041234c0000201${'00'.repeat(12)}`)
  const six = encodeReflection(n, { host: '2001:db8::1', port: 1 })
  assert.equal(toHex(six), `7003${nonce}06000120010db8${'00'.repeat(11)}01`)
  assert.equal(toHex(encodePoke(n)), `7004${nonce}`)
})

test('no answer is longer than a question', () => {
  fc.assert(
    fc.property(sized(12), sized(16), seenHost, (nonce, cookie, seen) => {
      assert.equal(encodeQuestion(nonce, cookie).length, QUESTION_SIZE)
      for (const answer of [encodeCookie(nonce, cookie), encodeReflection(nonce, seen), encodePoke(nonce)]) {
        assert.ok(answer.length <= QUESTION_SIZE)
      }
    }),
  )
})

test('what a reflector says is read as it was written', () => {
  fc.assert(
    fc.property(sized(12), sized(16), seenHost, (nonce, cookie, seen) => {
      const question = parseQuestion(encodeQuestion(nonce, cookie))
      assert.deepEqual([plain(question?.nonce), plain(question?.cookie)], [toHex(nonce), toHex(cookie)])
      const answer = parseReflection(encodeReflection(nonce, seen))
      assert.ok(answer?.type === 'answer')
      assert.deepEqual(answer.seen, seen)
      assert.ok(equalBytes(answer.nonce, nonce))
      const told = parseReflection(encodeCookie(nonce, cookie))
      assert.ok(told?.type === 'cookie' && equalBytes(told.cookie, cookie))
      assert.equal(parseReflection(encodePoke(nonce))?.type, 'poke')
    }),
  )
})

test('a question is none for a reflector that hears another, and the other way round', () => {
  const [nonce, cookie] = [new Uint8Array(12), new Uint8Array(16)]
  assert.equal(parseReflection(encodeQuestion(nonce)), undefined)
  const answers = [encodeCookie(nonce, cookie), encodeReflection(nonce, { host: '::1', port: 1 }), encodePoke(nonce)]
  for (const bytes of answers) assert.equal(parseQuestion(bytes), undefined)
})

test('an address with an unknown family, port 0 or another length is none', () => {
  const bytes = Buffer.from(seenBytes({ host: '192.0.2.1', port: 256 }))
  assert.equal(bytes.length, TCP_ANSWER_SIZE)
  assert.deepEqual(parseSeen(bytes), { host: '192.0.2.1', port: 256 })
  for (const family of [0, 5, 255]) assert.equal(parseSeen(Buffer.from(bytes).fill(family, 0, 1)), undefined)
  assert.equal(parseSeen(Buffer.from(bytes).fill(0, 1, 3)), undefined)
  assert.equal(parseSeen(bytes.subarray(0, -1)), undefined)
  assert.equal(parseSeen(Buffer.concat([bytes, Buffer.alloc(1)])), undefined)
})

test('a probe is read as it was written, by who has the key', () => {
  fc.assert(
    fc.property(probe, sized(32), (sent, key) => {
      const bytes = encodeProbe(sent, key)
      assert.equal(bytes.length, 33)
      assert.equal(plain(probeNonce(bytes)), toHex(sent.nonce))
      const read = parseProbe(bytes, key)
      assert.deepEqual({ ...read, nonce: plain(read?.nonce) }, { ...sent, nonce: toHex(sent.nonce) })
    }),
  )
})

test('a probe of another key, and one with any bit changed, is none', () => {
  const change = fc.record({ at: fc.nat(32), bit: fc.nat(7) })
  fc.assert(
    fc.property(probe, change, (sent, { at, bit }) => {
      const bytes = Uint8Array.from(encodeProbe(sent, KEY))
      assert.equal(parseProbe(bytes, new Uint8Array(32)), undefined)
      bytes[at] = (bytes[at] as number) ^ (1 << bit)
      assert.equal(parseProbe(bytes, KEY), undefined)
    }),
    { numRuns: 500 },
  )
})

test('a probe names the first 8 bytes of the nonce of its meeting', () => {
  const nonce = Uint8Array.from({ length: 16 }, (_, i) => i)
  const bytes = encodeProbe({ type: 'probe', nonce, seq: 0, fromCaller: true }, KEY)
  assert.equal(plain(probeNonce(bytes)), '0001020304050607')
})

test('an answer of a reflector is no probe, whatever its length', () => {
  const answer = encodeReflection(new Uint8Array(12), { host: '192.0.2.1', port: 1 })
  assert.equal(answer.length, 33)
  assert.equal(probeNonce(answer), undefined)
})

test('the two streams of a meeting have different ids, the same for both sides, and others in another meeting', () => {
  const ids = streamIds(KEY)
  assert.deepEqual(streamIds(Uint8Array.from(KEY)), ids)
  assert.notEqual(ids.caller, ids.callee)
  assert.notDeepEqual(streamIds(utf8('another key')), ids)
})
