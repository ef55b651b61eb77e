import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Claim } from '../../node/core/claim.ts'
import { toHex } from '../../node/core/encoding.ts'
import type { Lease } from '../../node/core/lease.ts'
import { encodeProof, type Proof } from '../../node/core/proof.ts'
import { type Realm, realmId } from '../../node/core/realm.ts'
import { type ProofRow, Proofs } from '../../node/proofs.ts'
import { DAY, firstClaim, leaseOf, realmOfWitnesses, START, thief } from '../helpers/leases.ts'
import { findProof } from '../helpers/signed.ts'
import { memoryTable } from '../helpers/table.ts'

const four = realmOfWitnesses(4)
const rid = realmId(four)
const key = (index: number) => four.keys[index] as Uint8Array

const mine = (indices?: number[], change: Partial<Claim> = {}, realm: Realm = four): Lease =>
  leaseOf(firstClaim(realm, change), realm, indices ? { indices } : {})
const theirs = (indices?: number[], change: Partial<Claim> = {}, realm: Realm = four): Lease =>
  leaseOf(firstClaim(realm, { owner: thief.publicKey, ...change }), realm, {
    by: thief,
    ...(indices ? { indices } : {}),
  })

async function opened(trusted: Realm[] = [four], table = memoryTable<ProofRow>()) {
  const proofs = new Proofs(table, { all: () => trusted }, () => START * 1000)
  await proofs.load()
  return { proofs, table }
}

const dropped = (proofs: Proofs) => four.keys.flatMap((witness, i) => (proofs.dropped(rid, witness) ? [i] : []))

test('two leases that are seen, in whatever order and at whatever time, drop those who signed both and nobody else', async () => {
  for (const order of [
    [mine([0, 1, 2]), theirs([1, 2, 3])],
    [theirs([1, 2, 3]), mine([0, 1, 2])],
    [mine([0, 1, 2]), mine([0, 1, 2], { name: 'bob' }), theirs([1, 2, 3], { name: 'carol' }), theirs([1, 2, 3])],
  ]) {
    const { proofs } = await opened()
    for (const lease of order) await proofs.look(lease)
    assert.deepEqual(dropped(proofs), [1, 2])
  }
})

test('honest leases, however many, drop nobody', async () => {
  const { proofs, table } = await opened()
  for (let i = 0; i < 20; i++) {
    await proofs.look(mine(undefined, { from: START + i * 120 * DAY }))
    await proofs.look(mine([0, 1, 2 + (i % 2)], { name: `n${i}` }))
  }
  assert.deepEqual(dropped(proofs), [])
  assert.deepEqual(await Array.fromAsync(table.entries()), [])
})

test('a lie is found among many leases of other names, and a flood of a name is bounded', async () => {
  const { proofs } = await opened()
  await proofs.look(mine([0, 1, 2]))
  for (let i = 0; i < 200; i++) await proofs.look(mine([0, 1, 2], { name: `n${i}` }))
  await proofs.look(theirs([0, 1, 2]))
  assert.deepEqual(dropped(proofs), [0, 1, 2])
  for (let i = 0; i < 50; i++) await proofs.look(theirs([0, 1, 2], { until: START + DAY + i }))
  assert.equal(proofs.all().length, 3)
})

test('a key that lied in one realm counts in no other', async () => {
  const three = realmOfWitnesses(3)
  const { proofs } = await opened([three])
  await proofs.look(mine([0, 1], {}, three))
  await proofs.look(theirs([0, 1], {}, three))
  for (const liar of three.keys.slice(0, 2)) assert.ok(proofs.dropped(rid, liar))
  assert.equal(dropped(proofs).length, 2)
})

test('a proof is kept over a restart; what a damaged disk says drops nobody', async () => {
  const { proofs, table } = await opened()
  await proofs.look(mine())
  await proofs.look(theirs([0, 1]))
  const [kept] = proofs.all()
  assert.ok(kept)
  await table.put(toHex(key(0)), { proof: 'zz', since: 1 })
  await table.put(toHex(key(3)), { proof: toHex(encodeProof(kept.proof)).replace(/..$/, '00'), since: 1 })
  const again = await opened([four], table)
  assert.deepEqual(dropped(again.proofs), [1])
})

test('a row that holds the proof about another witness drops that other one only', async () => {
  const { proofs, table } = await opened()
  await proofs.look(mine([0]))
  await proofs.look(theirs([0]))
  const row = await table.get(toHex(key(0)))
  assert.ok(row)
  await table.clear()
  await table.put(toHex(key(2)), row)
  assert.deepEqual(dropped((await opened([four], table)).proofs), [0])
})

test('one proof about a witness is enough, and the first stays', async () => {
  const { proofs, table } = await opened()
  const proof = findProof(mine([0]), theirs([0])) as Proof
  assert.equal(await proofs.add(proof), true)
  assert.equal(await proofs.add(findProof(mine([0], { name: 'bob' }), theirs([0], { name: 'bob' })) as Proof), true)
  assert.equal((await Array.fromAsync(table.entries())).length, 1)
  assert.equal(proofs.of(key(0))?.proof.first.claim.name, 'alice')
})

test('a proof about a witness of no trusted realm is true, but not kept', async () => {
  const { proofs, table } = await opened([realmOfWitnesses(1)])
  const outsider = [0, 1, 2, 3].find(
    (i) => toHex(key(i)) !== toHex(realmOfWitnesses(1).keys[0] as Uint8Array),
  ) as number
  assert.equal(await proofs.add(findProof(mine([outsider]), theirs([outsider])) as Proof), false)
  assert.deepEqual(await Array.fromAsync(table.entries()), [])
  assert.equal(proofs.dropped(rid, key(outsider)), false)
})

test('a forged proof is refused and drops nobody', async () => {
  const { proofs, table } = await opened()
  const good = findProof(mine([0]), theirs([0])) as Proof
  const flipped = Uint8Array.from(good.first.receipt.signature, (byte, i) => (i === 3 ? byte ^ 1 : byte))
  for (const [change, code] of [
    [{ second: good.first }, 'proof_invalid'],
    [{ witness: 1 }, 'proof_invalid'],
    [{ realm: realmOfWitnesses(3) }, 'proof_invalid'],
    [{ first: { ...good.first, receipt: { ...good.first.receipt, signature: flipped } } }, 'signature_invalid'],
  ] as const) {
    await assert.rejects(proofs.add({ ...good, ...change }), { code })
  }
  assert.deepEqual(dropped(proofs), [])
  assert.deepEqual(await Array.fromAsync(table.entries()), [])
})
