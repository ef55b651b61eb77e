import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { signClaim } from '../../node/core/claim.ts'
import { type Bytes, concat, fromHex, toCbor, toHex, utf8 } from '../../node/core/encoding.ts'
import { type ErrorCode, isError, P2pnsError } from '../../node/core/errors.ts'
import { sha256 } from '../../node/core/keys.ts'
import { encodeNamed, leaseDhtKey, MAX_NAMED_BYTES } from '../../node/core/lease.ts'
import { MAX_DHT_MANIFEST, manifestDhtKey, signManifest } from '../../node/core/manifest.ts'
import { realmId } from '../../node/core/realm.ts'
import { checkRecord, compareRecords, kindOf, RECORD_KINDS } from '../../node/core/records.ts'
import { MAX_ZONE_BYTES, zoneDhtKey } from '../../node/core/zone.ts'
import { DAY, firstClaim, leaseOf, owner, pairOf, realmOfWitnesses, START, thief } from '../helpers/leases.ts'
import { workedExample } from '../helpers/worked-example.ts'
import { zoneAt } from '../helpers/zones.ts'

const NOW = (START + DAY) * 1000
const realm = realmOfWitnesses(1)
const claim = firstClaim(realm)
const lease = leaseOf(claim, realm)

const zone = zoneAt(owner, NOW - 1000)
const zoneKey = zoneDhtKey(owner.publicKey)
const namedKey = leaseDhtKey(realmId(realm), 'alice')
const named = encodeNamed(lease, zone.bytes)

const refuses = (key: Bytes, value: Bytes, code: ErrorCode, now = NOW) =>
  assert.throws(
    () => checkRecord(key, value, now),
    (error) => {
      assert.ok(isError(error), String(error))
      assert.equal(error.code, code, error.message)
      return true
    },
  )

const manifest = signManifest(owner, {
  created: START,
  hint: 'x',
  entries: [{ type: 'file', path: '', size: 5, root: new Uint8Array(32), mode: 0o644 }],
})
const manifestKey = manifestDhtKey(manifest.id)

const kinds: [what: string, key: Bytes, value: Bytes][] = [
  ['zone record', zoneKey, zone.bytes],
  ['lease', namedKey, named],
  ['manifest', manifestKey, manifest.stored],
]

for (const [what, key, value] of kinds) {
  test(`a ${what} stands under its own key and no other`, () => {
    checkRecord(key, value, NOW)
    fc.assert(
      fc.property(
        fc.integer({ min: key.length - 32, max: key.length - 1 }),
        fc.integer({ min: 1, max: 255 }),
        (at, by) => {
          const other = Uint8Array.from(key)
          other[at] = (other[at] as number) ^ by
          refuses(other, value, 'key_mismatch')
        },
      ),
    )
    for (const [, otherKey] of kinds.filter(([kind]) => kind !== what)) {
      assert.throws(() => checkRecord(otherKey, value, NOW), P2pnsError)
    }
  })

  test(`no bit of a ${what} can be flipped`, () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: value.length * 8 - 1 }), (bit) => {
        const altered = Uint8Array.from(value)
        altered[bit >> 3] = (altered[bit >> 3] as number) ^ (1 << (bit & 7))
        assert.throws(() => checkRecord(key, altered, NOW), P2pnsError)
      }),
      { numRuns: 200 },
    )
  })

  test(`a ${what} that was cut or has bytes after it is refused`, () => {
    for (let length = 0; length < value.length; length += 7) {
      assert.throws(() => checkRecord(key, value.subarray(0, length), NOW), P2pnsError)
    }
    assert.throws(() => checkRecord(key, concat(value, new Uint8Array(1)), NOW), P2pnsError)
  })
}

test('no key and no bytes throw anything but an error of ours', () => {
  const pieces = kinds.map(([, , value]) => value)
  const mixed = fc
    .tuple(fc.constantFrom(...pieces), fc.nat({ max: 600 }), fc.uint8Array({ maxLength: 40 }), fc.nat({ max: 600 }))
    .map(([value, at, middle, skip]) => concat(value.subarray(0, at), middle, value.subarray(at + skip)))
  const values = fc.oneof(fc.uint8Array({ maxLength: 400 }), mixed)
  const keys = fc.oneof(fc.constantFrom(...kinds.map(([, key]) => key)), fc.uint8Array({ maxLength: 60 }))
  fc.assert(
    fc.property(keys, values, (key, value) => {
      try {
        checkRecord(key, value, NOW)
      } catch (error) {
        assert.ok(error instanceof P2pnsError, String(error))
      }
    }),
    { numRuns: 2000 },
  )
})

test('what a hostile key signs around any packet throws nothing but an error of ours', () => {
  const hostile = pairOf(50)
  const key = zoneDhtKey(hostile.publicKey)
  const header = fc.constantFrom('840000000001', '800000000003', '84000000ffff', '000000000000').map((hex) => {
    return Buffer.from(`0000${hex}00000000`, 'hex')
  })
  const record = fc.tuple(header, fc.uint8Array({ maxLength: 200 })).map((parts) => concat(...parts))
  const compressed = fc.array(fc.constantFrom(0, 1, 12, 63, 64, 0xc0, 0xff), { maxLength: 60 }).map((bytes) => {
    return concat(Buffer.from('000084000000000200000000', 'hex'), Uint8Array.from(bytes))
  })
  fc.assert(
    fc.property(fc.oneof(record, compressed), fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), (packet, seq) => {
      const seqBytes = Buffer.alloc(8)
      seqBytes.writeBigUInt64BE(seq)
      const signature = hostile.sign(concat(utf8(`3:seqi${seq}e1:v${packet.length}:`), packet))
      const value = concat(hostile.publicKey, signature, seqBytes, packet)
      try {
        checkRecord(key, value, Number.MAX_SAFE_INTEGER)
      } catch (error) {
        assert.ok(error instanceof P2pnsError, String(error))
      }
    }),
    { numRuns: 500 },
  )
})

test('size comes first: a record that is too large is not even read', () => {
  for (const [key, limit] of [
    [zoneKey, MAX_ZONE_BYTES],
    [namedKey, MAX_NAMED_BYTES],
    [manifestKey, MAX_DHT_MANIFEST],
  ] as const) {
    assert.equal(kindOf(key).maxBytes, limit)
    refuses(key, new Uint8Array(limit + 1), 'too_large')
    assert.throws(
      () => checkRecord(key, new Uint8Array(limit), NOW),
      (error) => isError(error) && error.code !== 'too_large',
    )
  }
})

test('a key of no namespace of ours is none', () => {
  const tail = owner.publicKey
  for (const key of [
    new Uint8Array(0),
    utf8('/p2pns-z/'),
    concat(utf8('/p2pns-x/'), tail),
    concat(utf8('/P2PNS-Z/'), tail),
    concat(utf8('p2pns-z/'), tail),
    concat(zoneKey, new Uint8Array(1)),
    zoneKey.subarray(0, -1),
    concat(utf8('/pk/'), tail),
    concat(utf8('/ipns/'), tail),
  ]) {
    refuses(key, zone.bytes, 'key_mismatch')
  }
})

test('a zone from the future, and one whose lease has ended, are refused by the clock', () => {
  refuses(zoneKey, zoneAt(owner, NOW + 601_000).bytes, 'seq_in_future')
  checkRecord(zoneKey, zoneAt(owner, NOW + 599_000).bytes, NOW)
  refuses(namedKey, named, 'lease_expired', claim.until * 1000)
  checkRecord(namedKey, named, claim.until * 1000 - 1)
  refuses(namedKey, encodeNamed(lease, zoneAt(owner, NOW + 601_000).bytes), 'seq_in_future')
})

test('a short name with the zone of another key is refused', () => {
  refuses(namedKey, encodeNamed(lease, zoneAt(thief, NOW).bytes), 'key_mismatch')
  const forged = Uint8Array.from(zone.bytes)
  forged[100] = (forged[100] as number) ^ 1
  refuses(namedKey, encodeNamed(lease, forged), 'signature_invalid')
})

test('a short name of another realm, or without its witness, is refused', () => {
  const other = realmOfWitnesses(1, 1)
  const elsewhere = leaseOf(firstClaim(other), other)
  refuses(namedKey, encodeNamed(elsewhere, zone.bytes), 'key_mismatch')
  const [receipt] = lease.receipts
  refuses(namedKey, encodeNamed({ ...lease, receipts: [] }, zone.bytes), 'malformed')
  const unseen = { ...lease, receipts: [{ ...receipt, time: (receipt?.time ?? 0) + 1 } as typeof receipt & object] }
  refuses(namedKey, encodeNamed(unseen, zone.bytes), 'signature_invalid')
  const unsigned = { ...lease, auth: signClaim(claim, 0, thief) }
  refuses(namedKey, encodeNamed(unsigned, zone.bytes), 'lease_invalid')
})

test('whoever adds a receipt to a lease cannot bring an old zone back with it', () => {
  const three = realmOfWitnesses(3)
  const theirs = firstClaim(three)
  const key = leaseDhtKey(realmId(three), 'alice')
  const fewer = encodeNamed(leaseOf(theirs, three, { indices: [0, 1] }), zoneAt(owner, NOW - 1000).bytes)
  const more = encodeNamed(leaseOf(theirs, three), zoneAt(owner, NOW - 2000).bytes)
  for (const value of [fewer, more]) checkRecord(key, value, NOW)
  assert.ok(compareRecords(key, fewer, more, NOW) > 0)
  assert.ok(compareRecords(key, more, fewer, NOW) < 0)
})

test('of any records of one key there is one best, whatever order they come in', () => {
  const three = realmOfWitnesses(3)
  const claims = [
    firstClaim(three),
    firstClaim(three, { owner: thief.publicKey }),
    firstClaim(three, { from: START + 60 }),
  ]
  const owners = [owner, thief, owner]
  const zones = [1, 2, 3].flatMap((ms) => ['192.0.2.1', '192.0.2.2'].map((address) => ({ ms, address })))
  const values = claims.flatMap((one, i) =>
    [undefined, [0, 1], [1, 2]].flatMap((indices) =>
      zones.map(({ ms, address }) => {
        const by = owners[i] as typeof owner
        const held = leaseOf(one, three, { by, ...(indices ? { indices } : {}) })
        return encodeNamed(held, zoneAt(by, NOW - ms, address).bytes)
      }),
    ),
  )
  const sets: [Bytes, Bytes[]][] = [
    [zoneKey, zones.map(({ ms, address }) => zoneAt(owner, NOW - ms, address).bytes)],
    [leaseDhtKey(realmId(three), 'alice'), values],
    [manifestKey, [manifest.stored, toCbor([1]), toCbor([2])]],
  ]
  for (const [key, all] of sets) {
    const compare = (a: Bytes, b: Bytes) => compareRecords(key, a, b, NOW)
    const sorted = [...all].sort(compare)
    fc.assert(
      fc.property(fc.shuffledSubarray(all, { minLength: all.length }), (shuffled) => {
        assert.ok(shuffled.sort(compare).every((value, i) => value === sorted[i]))
      }),
      { numRuns: 10 },
    )
    for (const [i, value] of sorted.entries()) {
      assert.equal(compare(value, Uint8Array.from(value)), 0)
      if (i > 0) assert.ok(compare(value, sorted[i - 1] as Bytes) > 0 && compare(sorted[i - 1] as Bytes, value) < 0)
    }
  }
})

test('every namespace begins with the name of this network', () => {
  assert.deepEqual(Object.keys(RECORD_KINDS), ['p2pns-z', 'p2pns-n', 'p2pns-m'])
})

test('docs/spec/dht.md: the worked example is right', () => {
  const shown = workedExample('dht.md')
  const key = zoneDhtKey(fromHex(shown('public key')))
  assert.equal(toHex(key), shown('DHT key'))
  assert.equal(toHex(sha256(key)), shown('lies near'))
})
