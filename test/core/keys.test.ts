import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import * as noble from '@noble/ed25519'
import * as fc from 'fast-check'
import { fromHex, toHex, utf8 } from '../../node/core/encoding.ts'
import { keyPairFromSeed, nodeKey, sha256, verify, zoneKey } from '../../node/core/keys.ts'
import { keyNameOf } from '../../node/core/name.ts'
import { workedExample } from '../helpers/worked-example.ts'

function vectors(file: string): unknown {
  return JSON.parse(readFileSync(new URL(`../vectors/${file}`, import.meta.url), 'utf8'))
}

const bytes32 = fc.uint8Array({ minLength: 32, maxLength: 32 })

test('the vectors of RFC 8032 give the same keys and signatures, and verify', () => {
  const cases = vectors('rfc8032-ed25519.json') as { priv: string; pub: string; msg: string; sig: string }[]
  for (const { priv, pub, msg, sig } of cases) {
    const pair = keyPairFromSeed(fromHex(priv))
    assert.equal(toHex(pair.publicKey), pub)
    assert.equal(toHex(pair.sign(fromHex(msg))), sig)
    assert.ok(verify(fromHex(pub), fromHex(msg), fromHex(sig)))
  }
})

test('each of the 151 Wycheproof cases is judged as Wycheproof does', () => {
  const { testGroups } = vectors('wycheproof-ed25519_test.json') as {
    testGroups: {
      publicKey: { pk: string }
      tests: { tcId: number; comment: string; msg: string; sig: string; result: string }[]
    }[]
  }
  let cases = 0
  for (const { publicKey, tests } of testGroups) {
    for (const { tcId, comment, msg, sig, result } of tests) {
      cases++
      const valid = verify(fromHex(publicKey.pk), fromHex(msg), fromHex(sig))
      assert.equal(valid, result === 'valid', `case ${tcId}: ${comment}`)
    }
  }
  assert.equal(cases, 151)
})

test('of the crafted signatures on which verifiers disagree only that of a full-order key passes', () => {
  const cases = vectors('edge-cases.json') as { message: string; pub_key: string; signature: string }[]
  const accepted = cases.flatMap(({ message, pub_key, signature }, i) =>
    verify(fromHex(pub_key), fromHex(message), fromHex(signature)) ? [i] : [],
  )
  // Case 3: key and R carry a small component, but the equation holds as it stands and S is in range (RFC 8032, 5.1.7).
  assert.deepEqual(accepted, [3])
})

test('every small-order and non-canonical case of ZIP 215 is refused', () => {
  const cases = vectors('zip215.json') as { vk_bytes: string; sig_bytes: string }[]
  assert.equal(cases.length, 196)
  for (const { vk_bytes, sig_bytes } of cases) {
    assert.equal(verify(fromHex(vk_bytes), utf8('Zcash'), fromHex(sig_bytes)), false, `${vk_bytes} ${sig_bytes}`)
  }
})

test('a signature that fits every message is refused under the keys of small order that would take it', () => {
  // R = B and S = 1: the equation holds whenever the key is the identity or k is a multiple of its order.
  const signature = fromHex(`58${'66'.repeat(31)}01${'00'.repeat(31)}`)
  for (const key of [
    `01${'00'.repeat(31)}`,
    `ec${'ff'.repeat(30)}7f`,
    '00'.repeat(32),
    `${'00'.repeat(31)}80`,
    'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
    'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa',
    '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
    '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85',
  ]) {
    for (let i = 0; i < 16; i++) assert.equal(verify(fromHex(key), utf8(`message ${i}`), signature), false, key)
  }
})

test('every key whose order divides 8 is refused, in every spelling', () => {
  // R = A and S = 0 fit a message whenever k = -1 modulo the order of A; R = identity and S = 0 whenever k = 0 modulo it.
  const generator = noble.Point.fromHex('c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a')
  const points = [noble.Point.ZERO, ...Array.from({ length: 7 }, (_, i) => generator.multiply(BigInt(i + 1), false))]
  const spellings = points.flatMap((point) => {
    const bytes = point.toBytes()
    return [0, 0x80].map((sign) => Uint8Array.from(bytes, (byte, i) => (i === 31 ? (byte & 0x7f) | sign : byte)))
  })
  assert.equal(new Set(spellings.map(toHex)).size, 10)
  const neutral = [fromHex(`01${'00'.repeat(31)}`), ...spellings].map((r) => Buffer.concat([r, new Uint8Array(32)]))
  for (const key of spellings) {
    for (let i = 0; i < 32; i++) {
      for (const signature of neutral) assert.equal(verify(key, utf8(`message ${i}`), signature), false, toHex(key))
    }
  }
})

test('a signature that was found good is good only for the same key and message', () => {
  const [pair, other] = [keyPairFromSeed(new Uint8Array(32).fill(1)), keyPairFromSeed(new Uint8Array(32).fill(2))]
  const signature = pair.sign(utf8('a message'))
  for (let i = 0; i < 2; i++) {
    assert.equal(verify(pair.publicKey, utf8('a message'), signature), true)
    assert.equal(verify(other.publicKey, utf8('a message'), signature), false)
    assert.equal(verify(pair.publicKey, utf8('another message'), signature), false)
    assert.equal(verify(pair.publicKey, utf8('a message'), other.sign(utf8('a message'))), false)
  }
})

test('the signed items of BEP 44 verify', () => {
  const { mutable } = vectors('bep44.json') as { mutable: { signed: string; k: string; sig: string }[] }
  assert.equal(mutable.length, 2)
  for (const { signed, k, sig } of mutable) assert.ok(verify(fromHex(k), utf8(signed), fromHex(sig)))
})

test('keys and honest signatures are those of @noble/ed25519', () => {
  noble.hashes.sha512 = (message) => Uint8Array.from(createHash('sha512').update(message).digest())
  fc.assert(
    fc.property(bytes32, fc.uint8Array({ maxLength: 300 }), (seed, message) => {
      const pair = keyPairFromSeed(seed)
      const signature = pair.sign(message)
      assert.equal(toHex(pair.publicKey), toHex(noble.getPublicKey(seed)))
      assert.equal(toHex(signature), toHex(noble.sign(message, seed)))
      assert.ok(verify(pair.publicKey, message, signature))
    }),
    { numRuns: 30 },
  )
})

test('a flipped bit in key, message or signature is refused', () => {
  const bit = fc.nat({ max: 8 * (32 + 64 + 20) - 1 })
  fc.assert(
    fc.property(bytes32, fc.uint8Array({ minLength: 20, maxLength: 20 }), bit, (seed, message, position) => {
      const pair = keyPairFromSeed(seed)
      const all = Buffer.concat([pair.publicKey, pair.sign(message), message])
      all[position >> 3] = (all[position >> 3] as number) ^ (1 << (position & 7))
      assert.equal(verify(all.subarray(0, 32), all.subarray(96), all.subarray(32, 96)), false)
    }),
    { numRuns: 100 },
  )
})

test('keys and signatures of a wrong length, and S plus the order, are refused without throwing', () => {
  const pair = keyPairFromSeed(new Uint8Array(32).fill(1))
  const message = utf8('hello')
  const signature = Uint8Array.from(pair.sign(message))
  for (const length of [0, 31, 33, 63]) assert.equal(verify(new Uint8Array(length), message, signature), false)
  for (const length of [0, 63, 65]) {
    assert.equal(verify(pair.publicKey, message, Buffer.concat([signature, signature]).subarray(0, length)), false)
  }
  assert.ok(verify(pair.publicKey, message, signature))
  assert.equal(verify(pair.publicKey, message, plusOrder(signature)), false)
})

/** The same signature with S + L for S: the classic malleable twin. */
function plusOrder(signature: Uint8Array): Uint8Array {
  const order = fromHex('edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010')
  const twin = Uint8Array.from(signature)
  let carry = 0
  for (let i = 0; i < 32; i++) {
    const sum = (twin[32 + i] as number) + (order[i] as number) + carry
    twin[32 + i] = sum & 0xff
    carry = sum >> 8
  }
  return twin
}

test('a verdict does not depend on what was verified before', () => {
  const pair = keyPairFromSeed(new Uint8Array(32).fill(2))
  const message = utf8('again')
  const signature = pair.sign(message)
  const verdicts = [1, 2, 3].map(() => [
    verify(pair.publicKey, message, signature),
    verify(pair.publicKey, utf8('other'), signature),
    verify(new Uint8Array(32), message, signature),
  ])
  for (const verdict of verdicts) assert.deepEqual(verdict, [true, false, false])
})

test('one seed gives every name another key, and the same one each time', () => {
  fc.assert(
    fc.property(bytes32, fc.string(), fc.string(), (master, a, b) => {
      const node = toHex(nodeKey(master).publicKey)
      const [first, second] = [zoneKey(master, a), zoneKey(master, b)].map((pair) => toHex(pair.publicKey))
      assert.equal(first === second, a === b)
      assert.notEqual(first, node)
      assert.equal(toHex(nodeKey(master).publicKey), node)
    }),
    { numRuns: 30 },
  )
})

test('sha256 of parts is sha256 of the whole', () => {
  assert.equal(toHex(sha256(utf8('abc'))), 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad')
  fc.assert(
    fc.property(fc.array(fc.uint8Array(), { minLength: 1, maxLength: 4 }), (parts) => {
      assert.equal(toHex(sha256(...parts)), toHex(sha256(Buffer.concat(parts))))
    }),
  )
})

test('docs/spec/keys.md: the worked example is right', () => {
  const shown = workedExample('keys.md')
  const master = fromHex(shown('master seed'))
  const node = nodeKey(master)
  const alice = zoneKey(master, 'alice')
  assert.equal(toHex(node.seed), shown('node seed'))
  assert.equal(toHex(node.publicKey), shown('node public key'))
  assert.equal(toHex(alice.seed), shown('zone seed of alice'))
  assert.equal(toHex(alice.publicKey), shown('zone public key of alice'))
  assert.equal(keyNameOf(alice.publicKey), shown('key name of alice'))
  assert.equal(toHex(alice.sign(utf8(shown('message')))), shown('signature of alice'))
})
