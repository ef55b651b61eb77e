import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { addressText, parseAddress } from '../../node/receive.ts'

const bytes = fc.uint8Array({ minLength: 32, maxLength: 32 })

test('an address comes back from its text, also in capitals', () => {
  fc.assert(
    fc.property(bytes, bytes, (owner, recoveryHash) => {
      const text = addressText({ owner, recoveryHash })
      assert.match(text, /^[a-z1-9]{52}\.[a-z1-9]{52}\.[a-z1-9]{7}$/)
      for (const spelled of [text, text.toUpperCase(), ` ${text}\n`]) {
        const read = parseAddress(spelled)
        assert.deepEqual(Uint8Array.from(read.owner), owner)
        assert.deepEqual(Uint8Array.from(read.recoveryHash), recoveryHash)
      }
    }),
    { numRuns: 50 },
  )
})

test('an address with one character wrong, missing or too many is none', () => {
  fc.assert(
    fc.property(bytes, bytes, fc.nat(112), fc.constantFrom('y', 'b', '9', ''), (owner, recoveryHash, at, instead) => {
      const text = addressText({ owner, recoveryHash })
      const wrong = text.slice(0, at) + instead + text.slice(at + 1)
      fc.pre(wrong !== text)
      assert.throws(() => parseAddress(wrong), { code: 'usage' })
      assert.throws(() => parseAddress(text.slice(0, at)), { code: 'usage' })
    }),
    { numRuns: 200 },
  )
})

test('any other text is refused, and not repeated at length', () => {
  for (const text of ['', '.', '..', 'alice.p2p', 'x'.repeat(100_000), 'a.'.repeat(1000)]) {
    assert.throws(
      () => parseAddress(text),
      (error: Error & { code: string }) => error.code === 'usage' && error.message.length < 200,
    )
  }
})
