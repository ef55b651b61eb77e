import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { fromHex, toHex, toZ32 } from '../../node/core/encoding.ts'
import { recoverySeed, seedFromWords, wordsOf } from '../../node/words.ts'

/** Those of 256 bits from https://github.com/trezor/python-mnemonic/blob/master/vectors.json, the vectors of BIP 39. */
const VECTORS: [entropy: string, words: string][] = [
  ['00'.repeat(32), `${'abandon '.repeat(23)}art`],
  [
    '7f'.repeat(32),
    'legal winner thank year wave sausage worth useful legal winner thank year wave sausage worth useful legal winner thank year wave sausage worth title',
  ],
  [
    '80'.repeat(32),
    'letter advice cage absurd amount doctor acoustic avoid letter advice cage absurd amount doctor acoustic avoid letter advice cage absurd amount doctor acoustic bless',
  ],
  ['ff'.repeat(32), `${'zoo '.repeat(23)}vote`],
]

test('seeds and words are those of BIP 39', () => {
  for (const [entropy, words] of VECTORS) {
    assert.equal(wordsOf(fromHex(entropy)), words)
    assert.equal(toHex(seedFromWords(words)), entropy)
  }
})

test('every seed comes back from its words, in any case and with any blanks', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), (seed) => {
      const words = wordsOf(seed)
      assert.equal(words.split(' ').length, 24)
      assert.deepEqual(Uint8Array.from(seedFromWords(`\n ${words.toUpperCase().replaceAll(' ', ' \t\n')} `)), seed)
    }),
    { numRuns: 50 },
  )
})

test('a word that is missing, strange, wrong or out of order is an error that says which', () => {
  const words = wordsOf(new Uint8Array(32).fill(7)).split(' ')
  const [first = '', second = ''] = words
  const cases: [string[], RegExp][] = [
    [words.slice(1), /23 words, not 24/],
    [[], /words, not 24/],
    [words.with(4, 'abandonn'), /Word 5, "abandonn", is not in the list/],
    [words.with(4, 'x'.repeat(1000)), /Word 5, "x{20}", is not/],
    [words.with(0, second).with(1, first), /wrong, or they are not in order/],
    [words.with(23, 'zoo'), /wrong, or they are not in order/],
  ]
  for (const [wrong, message] of cases) {
    assert.throws(() => seedFromWords(wrong.join(' ')), { code: 'words_invalid', message })
  }
})

test('a recovery key is read as words and in z-base-32, and what is neither is not repeated', () => {
  const seed = new Uint8Array(32).fill(9)
  assert.deepEqual(Uint8Array.from(recoverySeed(` ${toZ32(seed)}\n`)), seed)
  assert.deepEqual(Uint8Array.from(recoverySeed(wordsOf(seed))), seed)
  for (const text of ['', 'secretsecret', toZ32(seed).slice(1), toZ32(new Uint8Array(33))]) {
    assert.throws(
      () => recoverySeed(text),
      (error: Error & { code: string }) =>
        error.code === 'recovery_wrong' && (text === '' || !error.message.includes(text)),
    )
  }
  assert.throws(() => recoverySeed('two words'), { code: 'words_invalid' })
})
