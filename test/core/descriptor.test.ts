import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type Descriptor, MAX_DESCRIPTOR_BYTES, parseDescriptor } from '../../node/core/descriptor.ts'
import { type Bytes, type CborValue, concat, fromHex, toCbor, toHex, utf8 } from '../../node/core/encoding.ts'
import { P2pnsError } from '../../node/core/errors.ts'
import type { KeyPair } from '../../node/core/keys.ts'
import { type Realm, realmFields, realmOf } from '../../node/core/realm.ts'
import { zoneDhtKey } from '../../node/core/zone.ts'
import { pairOf, realmOfWitnesses, witnessesOf } from '../helpers/leases.ts'
import { signDescriptor } from '../helpers/signed.ts'
import { workedExample } from '../helpers/worked-example.ts'

const alone = realmOfWitnesses(1, 16)
const [witness] = witnessesOf(1) as [KeyPair]
const descriptor: Descriptor = {
  realm: alone,
  displayName: 'Ünïted realm',
  addresses: ['/ip4/198.51.100.1/tcp/4001/p2p/12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp'],
  issued: 1_800_000_000,
}
const signed = signDescriptor(descriptor, witness)

/** As another implementation, or a hostile one, would write it. */
function written(
  realm: Realm,
  signers: [index: number, pair: KeyPair][],
  change: Partial<Record<string, CborValue>> = {},
) {
  const { version = 1, fields = realmFields(realm), name = 'x', addresses = ['a'], issued = 5 } = change
  const body = toCbor([version, fields, name, addresses, issued])
  return withSignatures(body, signers)
}

function withSignatures(body: Bytes, signers: [index: number, pair: KeyPair][]): Bytes {
  const text = concat(utf8('p2pns/realm-descriptor/v1\0'), body)
  return toCbor([body, signers.map(([index, pair]) => [index, pair.sign(text)])])
}

const refuses = (bytes: Bytes, code: string, message?: string) =>
  assert.throws(
    () => parseDescriptor(bytes),
    (error) => error instanceof P2pnsError && error.code === code,
    message,
  )

test('a descriptor that is signed and read again is the same', () => {
  const read = parseDescriptor(signed)
  assert.deepEqual(
    { ...read, realm: { ...read.realm, keys: read.realm.keys.map((key) => Buffer.from(key).toString('hex')) } },
    { ...descriptor, realm: { ...alone, keys: alone.keys.map((key) => Buffer.from(key).toString('hex')) } },
  )
})

test('any descriptor that fits goes through', () => {
  const descriptors = fc.record({
    realm: fc.constant(alone),
    displayName: fc.string({ unit: 'binary', maxLength: 30 }).filter((name) => name.isWellFormed()),
    addresses: fc.array(fc.string({ unit: 'grapheme-ascii', maxLength: 60 }), { maxLength: 100 }),
    issued: fc.integer({ min: 0, max: 2 ** 40 }),
  })
  fc.assert(
    fc.property(descriptors, (given) => {
      const { displayName, addresses, issued } = parseDescriptor(signDescriptor(given, witness))
      assert.deepEqual({ realm: alone, displayName, addresses, issued }, { ...given })
    }),
  )
})

test('no bit of a descriptor can be flipped', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: signed.length * 8 - 1 }), (bit) => {
      const altered = Uint8Array.from(signed)
      altered[bit >> 3] = (altered[bit >> 3] as number) ^ (1 << (bit & 7))
      assert.throws(() => parseDescriptor(altered), P2pnsError)
    }),
    { numRuns: 300 },
  )
})

test('no bytes throw anything but an error of ours', () => {
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 300 }),
    fc.tuple(fc.nat({ max: signed.length }), fc.uint8Array({ maxLength: 20 })).map(([at, more]) => {
      return concat(signed.subarray(0, at), more)
    }),
    fc.array(fc.oneof(fc.nat(), fc.uint8Array(), fc.string(), fc.array(fc.nat()))).map((items) => toCbor(items)),
  )
  fc.assert(
    fc.property(bytes, (given) => {
      try {
        parseDescriptor(given)
      } catch (error) {
        assert.ok(error instanceof P2pnsError, String(error))
      }
    }),
    { numRuns: 1000 },
  )
})

test('a quorum of the witnesses has to sign, each counted once', () => {
  const realm = realmOfWitnesses(4)
  const pairs = witnessesOf(4)
  const by = (...indices: number[]): [number, KeyPair][] => indices.map((i) => [i, pairs[i] as KeyPair])
  assert.equal(realm.quorum, 3)
  for (const enough of [by(0, 1, 2), by(3, 1, 2), by(0, 1, 2, 3)]) assert.ok(parseDescriptor(written(realm, enough)))
  refuses(written(realm, by(0, 1)), 'signature_invalid')
  refuses(written(realm, by(0, 0, 0)), 'signature_invalid')
  refuses(written(realm, by(0, 1, 1, 1)), 'signature_invalid')
  refuses(written(realm, []), 'malformed')
  refuses(written(realm, by(0, 1, 2, 3, 3)), 'malformed')
})

test('a signature of somebody else, or under the index of somebody else, is refused', () => {
  const realm = realmOfWitnesses(4)
  const pairs = witnessesOf(4) as [KeyPair, KeyPair, KeyPair, KeyPair]
  const good: [number, KeyPair][] = [
    [0, pairs[0]],
    [1, pairs[1]],
    [2, pairs[2]],
  ]
  refuses(written(realm, [...good, [3, pairOf(4)]]), 'signature_invalid')
  refuses(written(realm, [...good, [3, pairs[0]]]), 'signature_invalid')
  refuses(written(realm, [...good, [4, pairs[3]]]), 'malformed')
})

test('a signature over anything else than a descriptor is none of a descriptor', () => {
  const body = toCbor([1, realmFields(alone), 'x', ['a'], 5])
  for (const text of [body, concat(utf8('p2pns/claim/v1\0'), body), concat(utf8('p2pns/receipt/v1\0'), body)]) {
    refuses(toCbor([body, [[0, witness.sign(text)]]]), 'signature_invalid')
  }
})

test('each field has one form and a limit', () => {
  const by: [number, KeyPair][] = [[0, witness]]
  assert.ok(parseDescriptor(written(alone, by)))
  for (const change of [
    { version: 0 },
    { version: 2 },
    { version: '1' },
    { name: 'x'.repeat(65) },
    { name: new Uint8Array(1) },
    { addresses: Array.from({ length: 129 }, () => 'a') },
    { addresses: 'a' },
    { addresses: [7] },
    { issued: -1 },
    { issued: 2 ** 40 + 1 },
    { issued: 'now' },
    { fields: [1, [], 0] },
    { fields: [1, [new Uint8Array(31)], 0] },
  ] as Partial<Record<string, CborValue>>[]) {
    refuses(written(alone, by, change), 'malformed', JSON.stringify(change))
  }
  refuses(written(alone, by, { fields: [2, alone.keys, 16] }), 'lease_invalid')
  refuses(new Uint8Array(MAX_DESCRIPTOR_BYTES + 1), 'too_large')
  refuses(withSignatures(concat(toCbor([1, realmFields(alone), 'x', [], 5]), new Uint8Array(1)), by), 'malformed')
})

test('docs/spec/introducer.md: the worked example is right', () => {
  const shown = workedExample('introducer.md')
  const pair = pairOf(fromHex(shown('witness seed'))[0] as number)
  const made = signDescriptor(
    {
      realm: realmOf([pair.publicKey], Number(shown('bits'))),
      displayName: shown('display name'),
      addresses: [shown('address')],
      issued: Number(shown('issued')),
    },
    pair,
  )
  assert.equal(toHex(made), shown('descriptor'))
  assert.ok(shown('descriptor').includes(shown('body')))
  const question = toCbor([1, 'get', [zoneDhtKey(pairOf(1).publicKey)]])
  assert.equal(toHex(question), shown('question 1, get'))
  assert.equal(toHex(concat(Uint8Array.of(question.length), question)), shown('on the wire'))
  assert.equal(toHex(toCbor([1, '', []])), shown('answer 1, none'))
  assert.equal(toHex(toCbor([2, 'lease', ['alice']])), shown('question 2, lease'))
})
