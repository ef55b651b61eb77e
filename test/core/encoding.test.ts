import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import * as fc from 'fast-check'
import {
  type CborValue,
  compareBytes,
  concat,
  equalBytes,
  fromCbor,
  fromHex,
  fromZ32,
  toCbor,
  toHex,
  toZ32,
  utf8,
} from '../../node/core/encoding.ts'
import { isError } from '../../node/core/errors.ts'
import { asBytes, asList, asText, asUint } from '../../node/core/shape.ts'

const ALPHABET = 'ybndrfg8ejkmcpqxot1uwisza345h769'
const malformed = (error: unknown) => isError(error, 'malformed')

test('the public z-base-32 vectors encode and decode', () => {
  const { bytes, hexBytes } = JSON.parse(
    readFileSync(new URL('../vectors/zbase32.json', import.meta.url), 'utf8'),
  ) as Record<'bytes' | 'hexBytes', [string, string][]>
  for (const [plain, z32] of [
    ...bytes.map(([text, z32]) => [utf8(text), z32] as const),
    ...hexBytes.map(([hex, z32]) => [fromHex(hex), z32] as const),
  ]) {
    assert.equal(toZ32(plain), z32)
    assert.equal(toHex(fromZ32(z32)), toHex(plain))
  }
})

test('any bytes come back from z-base-32, whatever case a resolver gave it', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), fc.boolean(), (bytes, upper) => {
      const text = toZ32(bytes)
      assert.match(text, /^[ybndrfg8ejkmcpqxot1uwisza345h769]*$/)
      assert.ok(equalBytes(fromZ32(upper ? text.toUpperCase() : text), bytes))
    }),
  )
})

test('of the 16 spellings that decode to one key only one is accepted', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), (key) => {
      const text = toZ32(key)
      const bit = ALPHABET.indexOf(text.at(-1) as string) & 16
      const spellings = Array.from({ length: 16 }, (_, spare) => text.slice(0, -1) + ALPHABET[bit | spare])
      const accepted = spellings.filter((spelling) => {
        try {
          return equalBytes(fromZ32(spelling), key)
        } catch (error) {
          assert.ok(malformed(error))
          return false
        }
      })
      assert.deepEqual(accepted, [text])
    }),
    { numRuns: 30 },
  )
})

test('text that is not z-base-32 is refused', () => {
  for (const text of ['0', 'l', '2', 'v', 'yb=', 'yb ', 'y.b', 'ÿ', 'y', 'yyy']) {
    assert.throws(() => fromZ32(text), malformed, text)
  }
})

test('hex comes back, also from a view into a longer buffer', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 2 }), (bytes) => {
      const view = bytes.subarray(1, bytes.length - 1)
      assert.ok(equalBytes(fromHex(toHex(view)), view))
    }),
  )
})

test('compareBytes orders as hex text does, and agrees with equalBytes', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 4 }), fc.uint8Array({ maxLength: 4 }), (a, b) => {
      const [left, right] = [toHex(a), toHex(b)]
      assert.equal(Math.sign(compareBytes(a, b)), left < right ? -1 : Number(left > right))
      assert.equal(equalBytes(a, b), left === right)
      assert.equal(toHex(concat(a, b)), left + right)
    }),
  )
})

const { cbor } = fc.letrec<{ cbor: CborValue }>((tie) => ({
  cbor: fc.oneof(
    { maxDepth: 3 },
    fc.nat({ max: Number.MAX_SAFE_INTEGER }),
    fc.string(),
    fc.uint8Array({ maxLength: 40 }),
    fc.array(tie('cbor'), { maxLength: 5 }),
  ),
}))

test('what we encode we read back', () => {
  fc.assert(
    fc.property(cbor, (value) => {
      const bytes = toCbor(value)
      assert.deepEqual(toHex(toCbor(fromCbor(bytes, bytes.length, 'A value'))), toHex(bytes))
    }),
  )
})

test('random bytes are either refused as malformed or the one encoding of what they mean', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
      try {
        assert.ok(equalBytes(toCbor(fromCbor(bytes, 40, 'A value')), bytes))
      } catch (error) {
        assert.ok(malformed(error))
      }
    }),
    { numRuns: 2000 },
  )
})

test('CBOR that is not canonical, or not whole, is refused', () => {
  const cases = {
    'no bytes': '',
    'an integer one byte too long': '1817',
    'an integer two bytes too long': '190001',
    'an integer eight bytes long': '1b0000000000000001',
    'a length that is too long': '5801ff',
    'an array length that is too long': '980101',
    'an indefinite array': '9f01ff',
    'indefinite bytes': '5f41ffff',
    'indefinite text': '7f6161ff',
    'a float that is an integer': 'fb3ff0000000000000',
    'a half float': 'f93e00',
    'a single float': 'fa3fc00000',
    'not a number': 'fb7ff8000000000000',
    infinity: 'fb7ff0000000000000',
    undefined: 'f7',
    'a tag': 'c001',
    'a big integer tag': 'c24101',
    'an unassigned simple value': 'f8ff',
    'two values': '0101',
    'a cut array': '8201',
    'a cut string': '4401',
    'a length beyond any memory': '5bffffffffffffffff',
    'an array of any memory': '9bffffffffffffffff',
    'text that is not UTF-8': '61ff',
    'a break alone': 'ff',
    'a duplicate map key': 'a201010102',
    'a thousand nested arrays, cut': '81'.repeat(1000),
  }
  for (const [what, hex] of Object.entries(cases)) {
    assert.throws(() => fromCbor(fromHex(hex), 4096, what), malformed, what)
  }
})

test('bytes over the limit are refused before they are decoded', () => {
  assert.throws(
    () => fromCbor(new Uint8Array(11).fill(0xff), 10, 'A value'),
    (error) => isError(error, 'too_large'),
  )
})

test('what CBOR can say and our formats cannot is refused by every shape', () => {
  // A map, negative integers, a float, booleans, null and an integer beyond 2^53 are canonical CBOR all the same.
  for (const hex of ['a0', 'a1616101', '20', '3903e7', 'fb3ff8000000000000', 'f4', 'f5', 'f6', '1bffffffffffffffff']) {
    const value = fromCbor(fromHex(hex), 16, 'A value')
    assert.throws(() => asList(value, 'it', 0, 9), malformed, hex)
    assert.throws(() => asBytes(value, 'it'), malformed, hex)
    assert.throws(() => asUint(value, 'it', Number.MAX_SAFE_INTEGER), malformed, hex)
    assert.throws(() => asText(value, 'it'), malformed, hex)
  }
})

test('a shape holds its bounds', () => {
  assert.deepEqual(asList([1, 2], 'it', 2), [1, 2])
  assert.throws(() => asList([1, 2], 'it', 3), malformed)
  assert.throws(() => asList([1, 2], 'it', 0, 1), malformed)
  assert.throws(() => asList(undefined, 'it', 0, 1), malformed)
  assert.equal(asUint(7, 'it', 7), 7)
  assert.throws(() => asUint(8, 'it', 7), malformed)
  assert.throws(() => asBytes(new Uint8Array(3), 'it', 0, 32), malformed)
  assert.equal(asBytes(new Uint8Array(0), 'it', 0, 32).length, 0)
  assert.equal(asText('', 'it'), '')
})
