import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import {
  type Claim,
  chainId,
  checkSuccessor,
  checkWork,
  claimId,
  encodeAuth,
  encodeClaim,
  freeFrom,
  isRelease,
  mine,
  parseAuth,
  parseClaim,
  signClaim,
} from '../../node/core/claim.ts'
import {
  type Bytes,
  type CborValue,
  concat,
  equalBytes,
  fromCbor,
  fromHex,
  toCbor,
  toHex,
  utf8,
} from '../../node/core/encoding.ts'
import { type ErrorCode, isError } from '../../node/core/errors.ts'
import { sha256 } from '../../node/core/keys.ts'
import {
  compareLeases,
  encodeLease,
  encodeNamed,
  encodeReceipt,
  type Lease,
  leaseDhtKey,
  MAX_LEASE_BYTES,
  MAX_NAMED_BYTES,
  parseLease,
  parseNamed,
  parseReceipt,
  type Receipt,
  verifyLease,
} from '../../node/core/lease.ts'
import { quorumFor, type Realm, realmId, realmOf } from '../../node/core/realm.ts'
import {
  DAY,
  firstClaim,
  leaseOf,
  nextRecovery,
  owner,
  pairOf,
  realmOfWitnesses,
  recovery,
  START,
  thief,
} from '../helpers/leases.ts'
import { workedExample } from '../helpers/worked-example.ts'

const refuses = (work: () => unknown, code: ErrorCode, message?: string) => {
  assert.throws(
    work,
    (error) => {
      assert.ok(isError(error), String(error))
      assert.equal(error.code, code, error.message)
      return true
    },
    message,
  )
}

const none = new Uint8Array(0)
const one = realmOfWitnesses(1)
const four = realmOfWitnesses(4)
const first = firstClaim(one)
const soon = (START + 60) * 1000

/** The next claim of the chain; a renewal on the 40th day unless `change` says otherwise. */
function after(previous: Claim, change: Partial<Claim> = {}): Claim {
  const from = change.from ?? previous.from + 40 * DAY
  return {
    ...previous,
    chain: chainId(previous),
    version: previous.version + 1,
    from,
    until: from + 90 * DAY,
    ...change,
  }
}

function release(previous: Claim): Claim {
  return after(previous, { owner: none, recoveryHash: none, from: previous.from + DAY, until: previous.until })
}

test('a lease comes back from its bytes, for realms of 1 to 16 witnesses', () => {
  for (let n = 1; n <= 16; n++) {
    const realm = realmOfWitnesses(n)
    const lease = leaseOf(firstClaim(realm), realm)
    const bytes = encodeLease(lease)
    const again = parseLease(bytes)
    assert.equal(toHex(encodeLease(again)), toHex(bytes))
    assert.equal(again.claim.name, 'alice')
    assert.equal(again.receipts.length, n)
    verifyLease(again, soon)
  }
})

test('a lease of the longest name with 16 receipts fits', () => {
  const realm = realmOfWitnesses(16, 4)
  const claim = after(firstClaim(realm, { name: 'a'.repeat(63) }), {
    version: 2 ** 32 - 1,
    nonce: new Uint8Array(8).fill(255),
  })
  const bytes = encodeLease(leaseOf(claim, realm))
  assert.ok(bytes.length <= MAX_LEASE_BYTES, `${bytes.length} bytes`)
  verifyLease(parseLease(bytes))
})

test('any flipped bit of a lease is refused', () => {
  const bytes = encodeLease(leaseOf(first, one))
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const flipped = Uint8Array.from(bytes)
    flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7))
    assert.throws(
      () => verifyLease(parseLease(flipped), soon),
      (error) => isError(error),
      `bit ${bit}`,
    )
  }
})

test('a lease of a realm of four stands only with whole, distinct receipts of a quorum', () => {
  const claim = firstClaim(four)
  for (const indices of [
    [0, 1, 2],
    [0, 1, 3],
    [1, 2, 3],
    [0, 1, 2, 3],
  ])
    verifyLease(leaseOf(claim, four, { indices }), soon)
  for (const indices of [
    [0, 1],
    [0, 0, 1],
    [2, 1, 0],
    [0, 1, 1],
  ]) {
    refuses(() => verifyLease(leaseOf(claim, four, { indices }), soon), 'lease_invalid', String(indices))
  }
  const lease = leaseOf(claim, four)
  const forged = lease.receipts.map((receipt, i) => (i === 3 ? { ...receipt, time: receipt.time + 1 } : receipt))
  refuses(
    () => verifyLease({ ...lease, receipts: forged }, soon),
    'signature_invalid',
    'a bad receipt beyond the quorum',
  )
})

test('two quorums share more witnesses than may lie', () => {
  assert.deepEqual([1, 2, 3, 4, 5, 6, 7, 8, 10, 16].map(quorumFor), [1, 2, 2, 3, 4, 5, 5, 6, 7, 11])
  for (let n = 4; n <= 16; n++) assert.ok(2 * quorumFor(n) - n > Math.floor((n - 1) / 3))
})

test('a realm is its sorted keys, its quorum and its work, and any change makes another id', () => {
  const keys = [5, 6, 7].map((byte) => pairOf(byte).publicKey)
  const ids = [realmOf(keys, 8), realmOf(keys, 9), realmOf(keys.slice(1), 8)].map((realm) => toHex(realmId(realm)))
  assert.equal(new Set(ids).size, 3)
  assert.equal(toHex(realmId(realmOf(keys.toReversed(), 8))), ids[0])
})

/** The bytes of a good lease with one part replaced. */
function leaseWith(path: number[], value: CborValue): Bytes {
  const fields = fromCbor(encodeLease(leaseOf(first, one)), MAX_LEASE_BYTES, 'A lease')
  const replace = (whole: CborValue, [at, ...rest]: number[]): CborValue =>
    at === undefined ? value : (whole as CborValue[]).map((part, i) => (i === at ? replace(part, rest) : part))
  return toCbor(replace(fields, path))
}

test('a field of the wrong type, length or range is refused by the parser, before any signature', () => {
  const key = owner.publicKey
  const claims: [number, CborValue, ErrorCode][] = [
    [0, 2, 'malformed'],
    [1, new Uint8Array(31), 'malformed'],
    [2, utf8('alice'), 'malformed'],
    [2, '', 'name_invalid'],
    [2, 'Alice', 'name_invalid'],
    [2, 'www.alice', 'name_invalid'],
    [2, 'alice.p2p', 'name_invalid'],
    [2, 'alice.', 'name_invalid'],
    [2, 'bob.pet', 'name_invalid'],
    [2, 'wpad', 'name_invalid'],
    [2, 'xn--alice', 'name_invalid'],
    [2, 'y'.repeat(52), 'name_invalid'],
    [2, 'a'.repeat(64), 'name_invalid'],
    [3, key, 'malformed'],
    [4, 1, 'malformed'],
    [4, 2 ** 32, 'malformed'],
    [4, '0', 'malformed'],
    [5, none, 'malformed'],
    [5, new Uint8Array(33), 'malformed'],
    [6, none, 'malformed'],
    [7, START + 90 * DAY, 'lease_invalid'],
    [7, START - 1, 'lease_invalid'],
    [8, START, 'lease_invalid'],
    [8, START + 90 * DAY + 1, 'lease_invalid'],
    [8, 2 ** 40 + 1, 'malformed'],
    [9, new Uint8Array(7), 'malformed'],
  ]
  for (const [field, value, code] of claims) {
    refuses(() => parseLease(leaseWith([0, field], value)), code, `claim field ${field}: ${String(value)}`)
  }
  const others: [number[], CborValue, ErrorCode][] = [
    [[], 1, 'malformed'],
    [[], [1, 2, 3], 'malformed'],
    [[0], [], 'malformed'],
    [[1, 0], 2, 'malformed'],
    [[1, 1], new Uint8Array(31), 'malformed'],
    [[1, 2], new Uint8Array(65), 'malformed'],
    [[2], [], 'malformed'],
    [[2, 0, 0], 256, 'malformed'],
    [[2, 0, 1], 'now', 'malformed'],
    [[2, 0, 2], new Uint8Array(63), 'malformed'],
    [
      [2],
      [
        [0, START, new Uint8Array(64)],
        [0, START, new Uint8Array(64)],
      ],
      'malformed',
    ],
    [[3, 0], 2, 'lease_invalid'],
    [[3, 1], [], 'malformed'],
    [[3], [2, [key, key], 0], 'lease_invalid'],
    [[3], [2, [new Uint8Array(32).fill(2), new Uint8Array(32).fill(1)], 0], 'lease_invalid'],
    [[3, 1], Array.from({ length: 17 }, (_, i) => new Uint8Array(32).fill(i)), 'malformed'],
    [[3, 2], 49, 'malformed'],
  ]
  for (const [path, value, code] of others) refuses(() => parseLease(leaseWith(path, value)), code, String(path))
  refuses(() => parseLease(new Uint8Array(MAX_LEASE_BYTES + 1)), 'too_large')
})

test('no bytes crash the parser', () => {
  const seedBytes = encodeLease(leaseOf(first, one))
  const mutated = fc
    .array(fc.tuple(fc.nat({ max: seedBytes.length - 1 }), fc.nat({ max: 255 })), { minLength: 1, maxLength: 4 })
    .map((edits) => {
      const bytes = Uint8Array.from(seedBytes)
      for (const [at, value] of edits) bytes[at] = value
      return bytes
    })
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 200 }), mutated), (bytes) => {
      try {
        verifyLease(parseLease(bytes), soon)
        assert.ok(equalBytes(bytes, seedBytes))
      } catch (error) {
        assert.ok(isError(error), String(error))
      }
    }),
    { numRuns: 1000 },
  )
})

test('verifyLease names what is wrong, the cheap checks before the signatures', () => {
  const worked = realmOfWitnesses(1, 8)
  const good = leaseOf(first, one)
  const unsigned = { ...good, auth: { ...good.auth, signature: new Uint8Array(64) } }
  refuses(() => verifyLease(unsigned, soon), 'signature_invalid')
  // Each of these has the unsigned claim too: its own fault is found first.
  const cases: [string, Lease, number, ErrorCode][] = [
    ['another realm', { ...unsigned, realm: four }, soon, 'lease_invalid'],
    ['a receipt of no witness', { ...unsigned, receipts: [receipt(good, { index: 1 })] }, soon, 'lease_invalid'],
    ['an early receipt', { ...unsigned, receipts: [receipt(good, { time: START - 301 })] }, soon, 'lease_invalid'],
    ['a late receipt', { ...unsigned, receipts: [receipt(good, { time: START + 301 })] }, soon, 'lease_invalid'],
    ['an ended lease', unsigned, (START + 90 * DAY) * 1000, 'lease_expired'],
    ['a clock far behind', unsigned, (START - DAY - 1) * 1000, 'clock_wrong'],
    ['no work', { ...unsigned, realm: worked, claim: idle(worked) }, soon, 'work_missing'],
    ['another key', { ...unsigned, auth: signClaim(first, 0, thief) }, soon, 'lease_invalid'],
    ['a recovery key at first', { ...unsigned, auth: signClaim(first, 1, recovery) }, soon, 'lease_invalid'],
  ]
  for (const [what, lease, now, code] of cases) refuses(() => verifyLease(lease, now), code, what)
})

function receipt(lease: Lease, change: Partial<Receipt>): Receipt {
  return { ...(lease.receipts[0] as Receipt), ...change }
}

/** A first claim that does not show 8 bits of work. */
function idle(realm: Realm): Claim {
  let claim = firstClaim({ ...realm, bits: 0 }, { rid: realmId(realm) })
  while (claimId(claim)[0] === 0) claim = { ...claim, from: claim.from + 1 }
  return claim
}

test('a lease is in force to the millisecond before it ends, and on a clock a day behind', () => {
  const lease = leaseOf(first, one)
  verifyLease(lease, (START + 90 * DAY) * 1000 - 1)
  verifyLease(lease, (START - DAY) * 1000)
  verifyLease(lease)
})

test('a claim, an authorization and a receipt travel alone, too', () => {
  const { claim, auth, receipts } = leaseOf(first, one)
  assert.equal(toHex(encodeClaim(parseClaim(encodeClaim(claim)))), toHex(encodeClaim(claim)))
  assert.equal(toHex(encodeAuth(parseAuth(encodeAuth(auth)))), toHex(encodeAuth(auth)))
  const bytes = encodeReceipt(receipts[0] as Receipt)
  assert.equal(toHex(encodeReceipt(parseReceipt(bytes))), toHex(bytes))
  refuses(() => parseClaim(new Uint8Array(321)), 'too_large')
  refuses(() => parseAuth(new Uint8Array(129)), 'too_large')
  refuses(() => parseReceipt(new Uint8Array(97)), 'too_large')
})

test('mined claims show the work asked for, and only the nonce differs', () => {
  fc.assert(
    fc.property(fc.nat({ max: 10 }), fc.uint8Array({ minLength: 8, maxLength: 8 }), (bits, start) => {
      const mined = mine(first, bits, start)
      checkWork(mined, bits)
      assert.deepEqual({ ...mined, nonce: none }, { ...first, nonce: none })
      assert.deepEqual(parseClaim(encodeClaim(mined)).nonce.length, 8)
    }),
    { numRuns: 30 },
  )
  assert.equal(toHex(mine(first, 0, fromHex('0000000000000007')).nonce), '0000000000000007', 'no work, no change')
  const [last, wrapped] = ['ffffffffffffffff', '0000000000000000'].map((nonce) => ({ ...first, nonce: fromHex(nonce) }))
  const needed = Math.max(...[last, wrapped].map((claim) => leadingZeros(claimId(claim as Claim)))) + 1
  checkWork(mine(first, needed, fromHex('ffffffffffffffff')), needed)
})

function leadingZeros(hash: Bytes): number {
  return BigInt(`0x01${toHex(hash)}`)
    .toString(2)
    .slice(1)
    .indexOf('1')
}

test('work is asked of a first claim only, bit by bit', () => {
  const bits = leadingZeros(claimId(first))
  checkWork(first, bits)
  refuses(() => checkWork(first, bits + 1), 'work_missing')
  checkWork(after(first), 48)
})

test('who may follow whom in a chain', () => {
  const renewal = after(first)
  const rotation = after(first, { from: START + DAY, recoveryHash: sha256(nextRecovery.publicKey) })
  const moved = { ...rotation, owner: thief.publicKey }
  const follow = (next: Claim, mode: 0 | 1, by = mode === 0 ? owner : recovery) =>
    checkSuccessor(first, next, signClaim(next, mode, by))

  follow(renewal, 0)
  follow(after(first, { from: START + 30 * DAY }), 0)
  follow(rotation, 1)
  follow(moved, 1)
  follow(release(first), 1)
  follow({ ...renewal, rid: realmId(four) }, 0)
  checkSuccessor(renewal, after(renewal), signClaim(after(renewal), 0, owner))

  refuses(() => follow({ ...renewal, name: 'bob' }, 0), 'lease_invalid', 'another name')
  refuses(() => follow({ ...renewal, chain: new Uint8Array(32) }, 0), 'lease_invalid', 'another chain')
  refuses(() => follow(first, 0), 'lease_invalid', 'the first again')
  refuses(() => follow({ ...renewal, version: 2 }, 0), 'lease_invalid', 'a version left out')
  refuses(() => checkSuccessor(renewal, renewal, signClaim(renewal, 0, owner)), 'record_older', 'the same version')
  refuses(() => follow(after(first, { from: START + 30 * DAY - 1 }), 0), 'lease_invalid', 'the 29th day')
  refuses(() => follow({ ...rotation, from: START - 1 }, 1), 'lease_invalid', 'an earlier start')
  refuses(() => follow({ ...rotation, until: first.until - 1 }, 1), 'lease_invalid', 'an earlier end')
  refuses(() => follow(renewal, 0, thief), 'name_not_yours', 'a stranger')
  refuses(() => follow({ ...renewal, owner: thief.publicKey }, 0), 'lease_invalid', 'an owner that gives itself away')
  refuses(
    () => follow({ ...renewal, recoveryHash: none }, 0),
    'lease_invalid',
    'an owner that changes the recovery key',
  )
  refuses(() => follow(release(first), 0), 'lease_invalid', 'an owner that releases')
  refuses(() => follow(rotation, 1, owner), 'name_not_yours', 'the owner as recovery key')
  refuses(() => follow(rotation, 1, nextRecovery), 'name_not_yours', 'the recovery key that comes next')
  refuses(() => follow({ ...moved, recoveryHash: first.recoveryHash }, 1), 'lease_invalid', 'a used recovery key')
  refuses(() => follow({ ...release(first), until: first.until + 1 }, 1), 'lease_invalid', 'a release that holds on')
  const end = release(first)
  refuses(() => checkSuccessor(end, after(end), signClaim(after(end), 1, recovery)), 'lease_invalid', 'after a release')
})

test('a release is signed by the recovery key, cannot come first, and frees the name at its end without grace', () => {
  const end = release(first)
  assert.ok(isRelease(end))
  assert.equal(freeFrom(end), first.until)
  assert.equal(freeFrom(first), first.until + 30 * DAY)
  verifyLease(parseLease(encodeLease(leaseOf(end, one, { mode: 1, by: recovery }))), soon)
  refuses(() => verifyLease(leaseOf(end, one), soon), 'lease_invalid')
  refuses(() => parseClaim(encodeClaim({ ...first, owner: none, recoveryHash: none })), 'lease_invalid')
})

/** Leases of few starts, versions and receipts, unsigned: the order looks at no signature. */
const anyLease: fc.Arbitrary<Lease> = fc
  .record({
    nonce: fc.nat({ max: 2 }),
    version: fc.nat({ max: 2 }),
    chain: fc.nat({ max: 2 }),
    term: fc.constantFrom(10, 20),
    receipts: fc.nat({ max: 2 }),
    filler: fc.nat({ max: 1 }),
  })
  .map(({ nonce, version, chain, term, receipts, filler }) => {
    const start = { ...firstClaim(four), nonce: new Uint8Array(8).fill(nonce), until: START + term * DAY }
    const origin = { ...start, nonce: new Uint8Array(8).fill(chain) }
    const claim = version === 0 ? start : { ...start, version, chain: claimId(origin) }
    const signature = new Uint8Array(64).fill(filler)
    return {
      claim,
      auth: { mode: 0, key: owner.publicKey, signature },
      receipts: Array.from({ length: receipts }, (_, index) => ({ index, time: START, signature })),
      realm: four,
    }
  })

test('the order of leases is total: antisymmetric, transitive, and 0 only for the same bytes', () => {
  const times = fc.constantFrom(START, START + 15 * DAY, START + 25 * DAY).map((seconds) => seconds * 1000)
  fc.assert(
    fc.property(anyLease, anyLease, anyLease, times, (a, b, c, now) => {
      const ab = Math.sign(compareLeases(a, b, now))
      assert.equal(ab + Math.sign(compareLeases(b, a, now)), 0)
      assert.equal(ab === 0, equalBytes(encodeLease(a), encodeLease(b)))
      if (ab >= 0 && compareLeases(b, c, now) >= 0) assert.ok(compareLeases(a, c, now) >= 0)
    }),
    { numRuns: 1000 },
  )
})

test('which of two leases counts', () => {
  const wins = (a: Lease, b: Lease, now = soon) => {
    assert.ok(compareLeases(a, b, now) > 0)
    assert.ok(compareLeases(b, a, now) < 0)
    assert.equal(compareLeases(a, a, now), 0)
  }
  const claim = firstClaim(four)
  const lease = leaseOf(claim, four)
  const renewed = leaseOf(after(claim), four)
  wins(renewed, lease)
  wins(leaseOf(release(claim), four, { mode: 1, by: recovery }), lease)

  const [low, high] = [after(claim), after(claim, { nonce: new Uint8Array(8).fill(1) })].sort((a, b) =>
    Buffer.compare(claimId(a), claimId(b)),
  ) as [Claim, Claim]
  wins(leaseOf(low, four, { indices: [0, 1, 2] }), leaseOf(high, four))
  wins(lease, leaseOf(claim, four, { indices: [0, 1, 2] }))
  wins(leaseOf(claim, four, { indices: [0, 1, 2] }), leaseOf(claim, four, { indices: [0, 1, 3] }))

  const other = firstClaim(four, { owner: thief.publicKey })
  const [lower, higher] = [claim, other].sort((a, b) => Buffer.compare(claimId(a), claimId(b))) as [Claim, Claim]
  wins(leaseOf(lower, four), leaseOf(after(higher), four))
  wins(leaseOf(after(higher), four), leaseOf(lower, four), lower.until * 1000)
})

test('a lease stands under the hash of its realm and name, and under no other', () => {
  const key = leaseDhtKey(realmId(one), 'alice')
  assert.equal(key.length, 9 + 32)
  assert.equal(Buffer.from(key).subarray(0, 9).toString(), '/p2pns-n/')
  assert.equal(toHex(key.subarray(9)), toHex(sha256(concat(utf8('p2pns/name/v1\0'), realmId(one), utf8('alice')))))
  assert.notEqual(toHex(leaseDhtKey(realmId(four), 'alice')), toHex(key))
  assert.notEqual(toHex(leaseDhtKey(realmId(one), 'bob')), toHex(key))
})

test('a named record is a lease and a zone record of its owner, or a release alone', () => {
  const lease = leaseOf(first, one)
  const zone = concat(owner.publicKey, new Uint8Array(100))
  const named = parseNamed(encodeNamed(lease, zone))
  assert.equal(toHex(encodeLease(named.lease)), toHex(encodeLease(lease)))
  assert.equal(toHex(named.zoneBytes), toHex(zone))
  for (const other of [none, owner.publicKey.subarray(0, 31), concat(thief.publicKey, new Uint8Array(100))]) {
    refuses(() => parseNamed(encodeNamed(lease, other)), 'key_mismatch')
  }
  const end = leaseOf(release(first), one, { mode: 1, by: recovery })
  assert.ok(isRelease(parseNamed(encodeNamed(end, none)).lease.claim))
  refuses(() => parseNamed(encodeNamed(end, zone)), 'key_mismatch')
  refuses(() => parseNamed(toCbor([encodeLease(lease)])), 'malformed')
  refuses(() => parseNamed(toCbor([1, zone])), 'malformed')
  refuses(() => parseNamed(toCbor([encodeLease(lease), 1])), 'malformed')
  refuses(() => parseNamed(new Uint8Array(MAX_NAMED_BYTES + 1)), 'too_large')
})

test('docs/spec/lease.md: the worked example is right', () => {
  const shown = workedExample('lease.md')
  const [holder, rescue, witness] = ['owner seed', 'recovery seed', 'witness seed'].map((label) =>
    pairOf(fromHex(shown(label))[0] as number),
  )
  assert.ok(holder && rescue && witness)
  const realm = realmOf([witness.publicKey], Number(shown('bits')))
  assert.equal(toHex(realmId(realm)), shown('realm id'))
  const lease = parseLease(fromHex(shown('lease')))
  verifyLease(lease, (lease.claim.from + 1) * 1000)
  const { claim, auth, receipts } = lease
  assert.equal(toHex(encodeClaim(claim)), shown('claim'))
  assert.equal(toHex(claimId(claim)), shown('claim id'))
  assert.equal(toHex(encodeAuth(auth)), shown('auth'))
  assert.equal(toHex(encodeReceipt(receipts[0] as Receipt)), shown('receipt'))
  assert.equal(toHex(leaseDhtKey(realmId(realm), claim.name)), shown('DHT key'))
  assert.deepEqual(
    [claim.name, claim.from, claim.until],
    [shown('name'), Number(shown('from')), Number(shown('until'))],
  )
  assert.ok(equalBytes(claim.owner, holder.publicKey))
  assert.ok(equalBytes(claim.recoveryHash, sha256(rescue.publicKey)))
  assert.deepEqual(mine(claim, realm.bits, new Uint8Array(8)).nonce, Uint8Array.from(claim.nonce))
})
