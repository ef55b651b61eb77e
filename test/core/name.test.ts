import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { toHex, toZ32 } from '../../node/core/encoding.ts'
import { isError } from '../../node/core/errors.ts'
import { isOurs, keyNameOf, parseName, SUFFIX } from '../../node/core/name.ts'
import { workedExample } from '../helpers/worked-example.ts'

const refused = (text: string) =>
  assert.throws(
    () => parseName(text),
    (error) => isError(error, 'name_invalid'),
    JSON.stringify(text),
  )

const key = new Uint8Array(32).fill(7)
const label = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?$/).filter((text) => !text.startsWith('xn--'))
const shortLabel = label.filter((text) => !['pet', 'key', 'local', 'localhost', 'wpad', 'isatap'].includes(text))
const randomCase = (text: string) =>
  fc
    .array(fc.boolean(), { minLength: text.length, maxLength: text.length })
    .map((upper) => text.replace(/./g, (character, i: number) => (upper[i] ? character.toUpperCase() : character)))

test('the three kinds are told apart', () => {
  assert.deepEqual(parseName('alice.p2p'), {
    kind: 'short',
    short: 'alice',
    labels: [],
    apex: 'alice.p2p',
    text: 'alice.p2p',
  })
  assert.deepEqual(parseName('bob.pet.p2p'), {
    kind: 'pet',
    pet: 'bob',
    labels: [],
    apex: 'bob.pet.p2p',
    text: 'bob.pet.p2p',
  })
  const name = parseName(keyNameOf(key))
  assert.equal(name.kind, 'key')
  assert.equal(name.kind === 'key' && toHex(name.key), toHex(key))
  assert.equal(name.apex, `${toZ32(key)}.p2p`)
})

test('what stands below the apex is kept, leftmost first', () => {
  for (const apex of ['alice.p2p', 'bob.pet.p2p', keyNameOf(key)]) {
    const name = parseName(`_http._tcp.www.${apex}`)
    assert.deepEqual(name.labels, ['_http', '_tcp', 'www'])
    assert.equal(name.apex, apex)
    assert.equal(name.text, `_http._tcp.www.${apex}`)
  }
})

test('any short name reads the same in any case, with a final dot, and under .alt', () => {
  const cases = fc
    .tuple(fc.array(label, { maxLength: 3 }), shortLabel)
    .map(([labels, short]) => [...labels, short, SUFFIX].join('.'))
    .chain((plain) => fc.tuple(fc.constant(plain), randomCase(`${plain}.alt`), fc.constantFrom('', '.')))
  fc.assert(
    fc.property(cases, ([plain, aliased, dot]) => {
      const expected = parseName(plain)
      assert.equal(expected.text, plain)
      assert.equal(expected.kind, 'short')
      assert.deepEqual(parseName(aliased + dot), expected)
      assert.deepEqual(parseName(aliased.slice(0, -4) + dot), expected)
      assert.ok(isOurs(aliased + dot))
    }),
  )
})

test('the name of any key comes back as that key, in any case', () => {
  const cases = fc
    .uint8Array({ minLength: 32, maxLength: 32 })
    .chain((bytes) => fc.tuple(fc.constant(bytes), randomCase(keyNameOf(bytes))))
  fc.assert(
    fc.property(cases, ([bytes, text]) => {
      const name = parseName(text)
      assert.ok(name.kind === 'key')
      assert.equal(toHex(name.key), toHex(bytes))
      assert.equal(name.text, keyNameOf(bytes))
    }),
  )
})

test('a key spelled with spare bits is no name at all, not even a short one', () => {
  const spare = keyNameOf(new Uint8Array(32)).replace(/y\.p2p$/, 'b.p2p')
  refused(spare)
  refused(`www.${spare}`)
})

test('52 characters that could be a key are never a short name; 51 or 53 may be', () => {
  refused(`${'y'.repeat(51)}b.p2p`)
  assert.equal(parseName(`${'y'.repeat(52)}.p2p`).kind, 'key')
  assert.equal(parseName(`${'y'.repeat(51)}.p2p`).kind, 'short')
  assert.equal(parseName(`${'y'.repeat(53)}.p2p`).kind, 'short')
  assert.equal(parseName(`${'y'.repeat(51)}0.p2p`).kind, 'short')
})

test('reserved names belong to nobody, but may stand below one', () => {
  for (const reserved of ['pet', 'key', 'local', 'localhost', 'wpad', 'isatap', 'WPAD']) {
    refused(`${reserved}.p2p`)
    if (reserved !== 'pet') refused(`www.${reserved}.p2p`)
    assert.deepEqual(parseName(`${reserved}.alice.p2p`).labels, [reserved.toLowerCase()])
  }
})

test('a label has letters, digits and inner hyphens, 1 to 63 of them, and is no punycode', () => {
  const bad = [
    '-a',
    'a-',
    '-',
    'a_b',
    'a b',
    'a\0b',
    'ä',
    'a/b',
    'a*',
    '*',
    'a@b',
    '\u00adx',
    'xn--mnchen-3ya',
    '_http',
  ]
  for (const text of [...bad, 'a'.repeat(64)]) {
    refused(`${text}.p2p`)
    refused(`${text}.pet.p2p`)
  }
  for (const text of ['a', '0', 'a-b', 'a--b', 'a'.repeat(63)]) assert.equal(parseName(`${text}.p2p`).kind, 'short')
})

test('empty labels and other suffixes are no names', () => {
  for (const text of [
    '',
    '.',
    'p2p',
    '.p2p',
    'p2p.',
    'alice',
    'alice.p2p..',
    'alice..p2p',
    '.alice.p2p',
    'www..alice.p2p',
    'alice.p2p.alt.alt',
    'alice.alt',
    'alice.com',
    'alice.p2p.com',
    'alicep2p',
    'pet.p2p',
    'alice.p2p/..',
    ' alice.p2p',
    'alice.p2p\n',
  ]) {
    refused(text)
  }
})

test('a name has at most 253 characters', () => {
  const long = `${'a'.repeat(63)}.${'b'.repeat(63)}.${'c'.repeat(63)}`
  const fits = `${'d'.repeat(57)}.${long}.p2p`
  assert.equal(fits.length, 253)
  assert.equal(parseName(fits).labels.length, 3)
  refused(`d${fits}`)
  refused(`${'a.'.repeat(5000)}p2p`)
})

test('any text is a name or refused as name_invalid, and a name reads itself', () => {
  const text = fc.oneof(fc.string(), fc.string({ unit: 'binary' }), label).map((part) => `${part}.p2p`)
  fc.assert(
    fc.property(text, (candidate) => {
      try {
        const name = parseName(candidate)
        assert.deepEqual(parseName(name.text), name)
      } catch (error) {
        assert.ok(isError(error, 'name_invalid'))
      }
    }),
    { numRuns: 200 },
  )
})

test('the suffix is ours with anything below it, also under .alt, and nothing else is', () => {
  for (const text of ['p2p', 'P2P.', 'a.p2p', '*.x_y.p2p', 'p2p.alt', 'A.P2P.ALT.', '-.p2p']) assert.ok(isOurs(text))
  for (const text of ['', '.', 'alt', 'a.alt', 'ap2p', 'p2p.com', 'a.p2p.com', 'p2p.alt.com']) assert.ok(!isOurs(text))
})

test('docs/spec/names.md: the worked examples are right', () => {
  const shown = workedExample('names.md')
  const text = shown('asked')
  assert.equal(parseName(text).text, shown('canonical'))
  assert.deepEqual(parseName(text).labels, shown('labels').split(', '))
  assert.equal(parseName(text).apex, shown('apex'))
  const name = parseName(shown('key name'))
  assert.equal(name.kind === 'key' && toHex(name.key), shown('its key'))
  refused(shown('same key, other spelling'))
})
