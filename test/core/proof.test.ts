import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { type Claim, chainId, claimId, encodeClaim, freeFrom } from '../../node/core/claim.ts'
import { concat, equalBytes, fromHex, toCbor, toHex } from '../../node/core/encoding.ts'
import { type ErrorCode, isError } from '../../node/core/errors.ts'
import { sha256 } from '../../node/core/keys.ts'
import { encodeReceipt, type Lease, signReceipt, verifyLease } from '../../node/core/lease.ts'
import {
  countsFor,
  encodeProof,
  findProofs,
  liarOf,
  MAX_PROOF_BYTES,
  type Proof,
  parseProof,
  receiptsThatCount,
  verifyProof,
} from '../../node/core/proof.ts'
import { type Realm, realmFields, realmId } from '../../node/core/realm.ts'
import {
  DAY,
  firstClaim,
  leaseOf,
  nextRecovery,
  owner,
  realmOfWitnesses,
  recovery,
  START,
  thief,
  witnessesOf,
} from '../helpers/leases.ts'
import { findProof } from '../helpers/signed.ts'
import { workedExample } from '../helpers/worked-example.ts'

const four = realmOfWitnesses(4)
const first = firstClaim(four)
const lease = leaseOf(first, four)

/** A first claim of somebody else, and its lease. */
const rival = (realm: Realm = four, change: Partial<Claim> = {}, indices?: number[]): Lease =>
  leaseOf(firstClaim(realm, { owner: thief.publicKey, ...change }), realm, {
    by: thief,
    ...(indices ? { indices } : {}),
  })

const next = (previous: Claim, days: number, change: Partial<Claim> = {}): Claim => ({
  ...previous,
  chain: chainId(previous),
  version: previous.version + 1,
  from: START + days * DAY,
  until: START + (days + 90) * DAY,
  ...change,
})

const proofOf = (a: Lease, b: Lease): Proof => {
  const proof = findProof(a, b)
  assert.ok(proof)
  return proof
}

const refuses = (work: () => unknown, ...codes: ErrorCode[]) =>
  assert.throws(work, (error) => {
    assert.ok(isError(error), String(error))
    assert.ok(codes.includes(error.code), error.message)
    return true
  })

test('two leases of one name for the same time prove that every witness of both lied', () => {
  for (const [indices, liars] of [
    [
      [0, 1, 2],
      [0, 1, 2],
    ],
    [
      [1, 2, 3],
      [1, 2],
    ],
  ] as const) {
    const mine = leaseOf(first, four, { indices: [0, 1, 2] })
    const proofs = findProofs(mine, rival(four, {}, [...indices]))
    assert.deepEqual(
      proofs.map(({ witness }) => witness),
      liars,
    )
    for (const proof of proofs) {
      verifyProof(proof)
      assert.ok(equalBytes(liarOf(proof), four.keys[proof.witness] as Uint8Array))
    }
  }
})

test('two quorums of a realm of any size leave a proof', () => {
  for (const n of [1, 2, 3, 4, 7, 16]) {
    const realm = realmOfWitnesses(n)
    const all = realm.keys.map((_, i) => i)
    const [low, high] = [all.slice(0, realm.quorum), all.slice(-realm.quorum)]
    const proof = proofOf(leaseOf(firstClaim(realm), realm, { indices: low }), rival(realm, {}, high))
    verifyProof(proof)
  }
})

test('whoever finds a lie makes the same bytes, and they read back as the same proof', () => {
  const bytes = encodeProof(proofOf(lease, rival()))
  assert.equal(toHex(encodeProof(proofOf(rival(), lease))), toHex(bytes))
  const read = parseProof(bytes)
  verifyProof(read)
  assert.equal(toHex(encodeProof(read)), toHex(bytes))
})

test('any two claims of two chains will do, renewed or not', () => {
  const renewed = leaseOf(next(first, 31), four)
  for (const [a, b] of [
    [renewed, rival(four, { from: START + 100 * DAY })],
    [renewed, leaseOf(next(rival().claim, 40), four, { by: thief })],
    [lease, rival(four, { from: first.until - 1 })],
  ] as const) {
    verifyProof(proofOf(a, b))
  }
})

test('nothing that an honest witness signs in the life of a name makes a proof against it', () => {
  const renewed = next(first, 31)
  const rotated = next(renewed, 32, { recoveryHash: sha256(nextRecovery.publicKey) })
  const none = new Uint8Array(0)
  const released = next(rotated, 40, { owner: none, recoveryHash: none, until: rotated.until })
  // Somebody else from the very second on in which it is free, and a third after the grace of the second.
  const second = firstClaim(four, { owner: thief.publicKey, from: freeFrom(released) })
  const third = firstClaim(four, { from: freeFrom(second) })
  const life = [first, renewed, rotated, released, second, third].map((claim) => leaseOf(claim, four))
  for (const a of life) for (const b of life) assert.deepEqual(findProofs(a, b), [])
})

test('leases of two names, of two realms, of one chain or of different witnesses prove nothing', () => {
  const three = realmOfWitnesses(3)
  for (const other of [
    rival(four, { name: 'bob' }),
    rival(three),
    leaseOf(next(first, 31), four),
    leaseOf(next(first, 0, { owner: thief.publicKey }), four, { mode: 1, by: recovery }),
    lease,
    rival(four, { from: first.until }),
    { ...rival(), receipts: [] },
  ]) {
    assert.equal(findProof(lease, other), undefined)
    assert.equal(findProof(other, lease), undefined)
  }
  const [none, one] = [leaseOf(first, four, { indices: [0] }), rival(four, {}, [1])]
  assert.equal(findProof(none, one), undefined)
})

test('a forged proof never passes: each rule of the specification is held', () => {
  const good = proofOf(lease, rival())
  const three = realmOfWitnesses(3)
  const sign = (claim: Claim, index = 0, time = claim.from, pair = witnessesOf(4)[index]) => {
    assert.ok(pair)
    return { claim, receipt: signReceipt(index, time, encodeClaim(claim), pair) }
  }
  /** In the order of their ids, as it has to be. */
  const of = (a: Claim, b: Claim, make = (claim: Claim) => sign(claim)): Partial<Proof> => {
    const [low, high] = [a, b].sort((x, y) => Buffer.compare(claimId(x), claimId(y))) as [Claim, Claim]
    return { first: make(low), second: make(high) }
  }
  const theirs = rival().claim
  const forged: [string, Partial<Proof>, ErrorCode][] = [
    ['the same receipt twice', { second: good.first }, 'proof_invalid'],
    ['the same claim, signed twice', { second: sign(good.first.claim, 0, START + 1) }, 'proof_invalid'],
    ['one chain', of(first, next(first, 31)), 'proof_invalid'],
    ['a transfer', of(first, next(first, 0, { owner: thief.publicKey })), 'proof_invalid'],
    ['terms that touch', of(first, rival(four, { from: first.until }).claim), 'proof_invalid'],
    ['terms that are years apart', of(first, rival(four, { from: START + 1000 * DAY }).claim), 'proof_invalid'],
    ['another name', of(first, rival(four, { name: 'bob' }).claim), 'proof_invalid'],
    ['one claim of another realm', of(first, rival(three).claim), 'proof_invalid'],
    ['both claims of another realm', of(firstClaim(three), rival(three).claim), 'proof_invalid'],
    ['another realm around it', { realm: three }, 'proof_invalid'],
    ['receipts of two witnesses', { second: sign(good.second.claim, 1) }, 'proof_invalid'],
    ['a witness that signed neither', { witness: 1 }, 'proof_invalid'],
    ['a witness that is none', { witness: 4, first: sign(first, 4, START, thief) }, 'proof_invalid'],
    ['the wrong order', { first: good.second, second: good.first }, 'proof_invalid'],
    ['a receipt of another time', { second: sign(good.second.claim, 0, START + 301) }, 'proof_invalid'],
    [
      'a receipt that the forger signed',
      of(first, theirs, (claim) => sign(claim, 0, START, thief)),
      'signature_invalid',
    ],
    [
      'a receipt of the witness that stands next to it',
      of(first, theirs, (claim) => sign(claim, 0, START, witnessesOf(4)[1])),
      'signature_invalid',
    ],
    ['the receipt of another claim', { second: { ...good.second, receipt: good.first.receipt } }, 'signature_invalid'],
    [
      'a time that was not signed',
      { first: { ...good.first, receipt: { ...good.first.receipt, time: START + 1 } } },
      'signature_invalid',
    ],
  ]
  verifyProof(good)
  for (const [what, change, code] of forged) {
    const proof = { ...good, ...change }
    assert.throws(() => verifyProof(proof), { code }, what)
    if (proof.witness === 0) assert.throws(() => verifyProof(parseProof(encodeProof(proof))), { code: /./ }, what)
  }
})

test('a proof with any bit changed is refused', () => {
  const bytes = encodeProof(proofOf(lease, rival()))
  const anyBit = fc.integer({ min: 0, max: bytes.length * 8 - 1 })
  fc.assert(
    fc.property(anyBit, (bit) => {
      const changed = Uint8Array.from(bytes, (byte, i) => (i === bit >> 3 ? byte ^ (1 << (bit & 7)) : byte))
      refuses(
        () => verifyProof(parseProof(changed)),
        'malformed',
        'proof_invalid',
        'signature_invalid',
        'lease_invalid',
        'name_invalid',
      )
    }),
    { numRuns: 400 },
  )
})

test('bytes of any kind are refused, without a crash', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 2000 }), (bytes) => {
      refuses(() => parseProof(bytes), 'malformed', 'too_large')
    }),
  )
  const { realm, first: one, second } = proofOf(lease, rival())
  const statement = [encodeClaim(one.claim), encodeReceipt(one.receipt)]
  const other = [encodeClaim(second.claim), encodeReceipt(second.receipt)]
  for (const value of [
    [2, realmFields(realm), statement, other],
    [1, realmFields(realm), statement],
    [1, realmFields(realm), statement, other, other],
    [1, realmFields(realm), statement, [other[0] as Uint8Array]],
    [1, realmFields(realm), statement, [1, 2]],
    [1, 1, statement, other],
  ]) {
    refuses(() => parseProof(toCbor(value)), 'malformed')
  }
  const good = encodeProof({ realm, witness: 0, first: one, second })
  refuses(() => parseProof(concat(good, new Uint8Array(1))), 'malformed')
  refuses(() => parseProof(concat(good, new Uint8Array(MAX_PROOF_BYTES))), 'too_large')
})

test('the largest proof fits', () => {
  const realm = realmOfWitnesses(16)
  const far = { name: 'a'.repeat(63), from: 2 ** 40 - 90 * DAY }
  const all = [firstClaim(realm, far), rival(realm, far).claim].map((claim) =>
    next(claim, 0, { version: 2 ** 32 - 1, from: far.from, until: 2 ** 40 }),
  )
  const bytes = encodeProof(proofOf(leaseOf(all[0] as Claim, realm), leaseOf(all[1] as Claim, realm, { by: thief })))
  verifyProof(parseProof(bytes))
  assert.ok(bytes.length <= MAX_PROOF_BYTES, `${bytes.length}`)
})

test('receipts of liars do not count, and without its quorum a lease does not either', () => {
  const liars = (...indices: number[]) => {
    const keys = indices.map((i) => toHex(four.keys[i] as Uint8Array))
    return (rid: Uint8Array, key: Uint8Array) => toHex(rid) === toHex(realmId(four)) && keys.includes(toHex(key))
  }
  for (const [indices, lying, left] of [
    [[0, 1, 2, 3], [], 4],
    [[0, 1, 2, 3], [2], 3],
    [[0, 1, 2, 3], [2, 3], 2],
    [[0, 1, 2], [3], 3],
    [[0, 1, 2], [0], 2],
    [[0, 1, 2, 3], [0, 1, 2, 3], 0],
  ] as const) {
    const signed = leaseOf(first, four, { indices: [...indices] })
    verifyLease(signed, START * 1000)
    assert.equal(receiptsThatCount(signed, liars(...lying)), left)
    assert.equal(countsFor(signed, liars(...lying)), left >= four.quorum)
  }
})

test('docs/spec/proof.md: the worked example is right', () => {
  const shown = workedExample('proof.md')
  const inLease = workedExample('lease.md')
  const bytes = fromHex(shown('proof'))
  const proof = parseProof(bytes)
  verifyProof(proof)
  assert.equal(toHex(liarOf(proof)), shown('witness key'))
  assert.equal(shown('witness key'), inLease('witness key'))
  assert.equal(toHex(realmId(proof.realm)), shown('realm id'))
  assert.equal(shown('first claim'), inLease('claim'))
  assert.equal(shown('first receipt'), inLease('receipt'))
  for (const [which, { claim, receipt }] of [
    ['first', proof.first],
    ['second', proof.second],
  ] as const) {
    assert.equal(toHex(claim.owner), shown(`${which} owner`))
    assert.equal(toHex(claimId(claim)), shown(`${which} id`))
    assert.equal(toHex(encodeClaim(claim)), shown(`${which} claim`))
    assert.equal(toHex(encodeReceipt(receipt)), shown(`${which} receipt`))
  }
  assert.equal(toHex(proof.second.claim.owner), toHex(thief.publicKey))
  assert.equal(toHex(proof.first.claim.owner), toHex(owner.publicKey))
})
