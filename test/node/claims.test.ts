import assert from 'node:assert/strict'
import { test } from 'node:test'
import { claimName, type PendingClaim, unsettled } from '../../node/claims.ts'
import { checkWork, encodeClaim } from '../../node/core/claim.ts'
import { type Bytes, toHex } from '../../node/core/encoding.ts'
import { P2pnsError } from '../../node/core/errors.ts'
import { type KeyPair, keyPairFromSeed, sha256 } from '../../node/core/keys.ts'
import { encodeReceipt, signReceipt, verifyLease } from '../../node/core/lease.ts'
import { realmId } from '../../node/core/realm.ts'
import type { Introducer } from '../../node/net/introducers.ts'
import { owner, pairOf, thief } from '../helpers/leases.ts'
import { memoryTable } from '../helpers/table.ts'
import { Clock, DAY, FakeIntroducer, MINUTE } from './harness.ts'

function world(options: { bits?: number } = {}) {
  const clock = new Clock()
  const introducer = new FakeIntroducer(clock, options)
  const pending = memoryTable<PendingClaim>()
  let drawn = 0
  const self = {
    clock,
    introducer,
    pending,
    row: `${toHex(realmId(introducer.realm))}/alice`,
    /** How many numbers were drawn: every new attempt draws its own. */
    random: (bytes: number): Bytes => new Uint8Array(bytes).fill(++drawn),
    claim: (by: KeyPair = owner, witnesses: Introducer[] = [introducer]) =>
      claimName({
        short: 'alice',
        owner: by,
        realm: introducer.realm,
        witnesses,
        pending,
        now: clock.now,
        random: self.random,
      }),
  }
  return self
}

test('a claim becomes a lease that anybody can check, with the work that the realm asks for', async () => {
  const { claim, introducer, clock } = world({ bits: 6 })
  const { lease, recoverySeed } = await claim()
  verifyLease(lease, clock.at)
  checkWork(lease.claim, 6)
  assert.deepEqual(lease.realm, introducer.realm)
  assert.equal(toHex(lease.claim.owner), toHex(owner.publicKey))
  assert.equal(lease.claim.until - lease.claim.from, 90 * 86_400)
  assert.equal(toHex(lease.claim.recoveryHash), toHex(sha256(keyPairFromSeed(recoverySeed).publicKey)))
})

test('a claim is kept until its lease is on the disk', async () => {
  const { claim, pending, row } = world()
  const { settled } = await claim()
  assert.notEqual(await pending.get(row), undefined)
  await settled()
  assert.equal(await pending.get(row), undefined)
})

test('a claim is on the disk before a witness sees it, and one that cannot be is shown to none', async () => {
  const { claim, pending, introducer } = world()
  pending.put = async () => {
    throw new P2pnsError('disk_full', 'The disk is full')
  }
  await assert.rejects(claim(), { code: 'disk_full' })
  assert.equal(introducer.signed.size, 0)
})

test('a claim that broke off after the witness signed is finished by the next try, with the same bytes and seed', async () => {
  const { claim, introducer, pending, row, clock } = world()
  introducer.afterClaim = async () => {
    throw new P2pnsError('timed_out', 'The answer was lost')
  }
  await assert.rejects(claim(), { code: 'timed_out' })
  const kept = (await pending.get(row)) as PendingClaim
  introducer.afterClaim = async () => {}
  // Long after the window in which a witness signs.
  clock.at += 10 * DAY
  const { lease, recoverySeed, settled } = await claim()
  assert.equal(toHex(encodeClaim(lease.claim)), kept.claim)
  assert.equal(toHex(recoverySeed), kept.recoverySeed)
  verifyLease(lease, clock.at)
  await settled()
  assert.equal(await pending.get(row), undefined)
})

test('a claim that no witness saw is made anew when it has become too old', async () => {
  const { claim, introducer, pending, row, clock } = world()
  introducer.up = false
  await assert.rejects(claim(), { code: 'network_unreachable' })
  const kept = (await pending.get(row)) as PendingClaim
  introducer.up = true
  clock.at += 6 * MINUTE
  const { lease, recoverySeed } = await claim()
  assert.equal(lease.claim.from, clock.at / 1000)
  assert.notEqual(toHex(recoverySeed), kept.recoverySeed)
  verifyLease(lease, clock.at)
})

test('a clock that is wrong is said to be, without trying for ever', async () => {
  const { claim, introducer, pending, row } = world()
  let asked = 0
  introducer.claim = async () => {
    asked++
    throw new P2pnsError('clock_wrong', 'The claim does not begin now')
  }
  await assert.rejects(claim(), { code: 'clock_wrong' })
  assert.equal(asked, 1)
  assert.equal(await pending.get(row), undefined)
})

test('a name that is taken leaves no trace', async () => {
  const { claim, pending, row } = world()
  await claim(thief).then(({ settled }) => settled())
  await assert.rejects(claim(), { code: 'name_taken' })
  assert.equal(await pending.get(row), undefined)
})

test('a pending claim to a name that somebody else was given meanwhile leaves no trace either', async () => {
  const { claim, introducer, pending, row, clock } = world()
  introducer.up = false
  await assert.rejects(claim())
  introducer.up = true
  const kept = (await pending.get(row)) as PendingClaim
  await pending.delete(row)
  await claim(thief).then(({ settled }) => settled())
  for (const wait of [0, 10 * MINUTE]) {
    await pending.put(row, kept)
    clock.at += wait
    await assert.rejects(claim(), { code: 'name_taken' })
    assert.equal(await pending.get(row), undefined)
  }
})

test('a receipt that is not of the witness, or not for this claim, is no lease', async () => {
  const { claim, introducer, clock } = world()
  const time = clock.at / 1000
  for (const reply of [
    (bytes: Bytes) => encodeReceipt(signReceipt(0, time, bytes, pairOf(42))),
    (bytes: Bytes) => encodeReceipt(signReceipt(5, time, bytes, pairOf(100))),
    (bytes: Bytes) => encodeReceipt(signReceipt(0, time + 3600, bytes, pairOf(100))),
    () => encodeReceipt(signReceipt(0, time, new Uint8Array(9), pairOf(100))),
    () => new Uint8Array(5),
    () => new Uint8Array(5000),
  ]) {
    introducer.claim = async (bytes) => reply(bytes)
    await assert.rejects(claim(), (error) => error instanceof P2pnsError && error.exitCode === 4)
  }
})

test('without a witness nothing is claimed, and a refusal counts before silence', async () => {
  const { claim, introducer, clock } = world()
  await assert.rejects(claim(owner, []), { code: 'network_unreachable' })
  const silent = new FakeIntroducer(clock)
  silent.up = false
  introducer.claim = async () => {
    throw new P2pnsError('work_missing', 'The claim shows too little work')
  }
  await assert.rejects(claim(owner, [silent, introducer]), { code: 'work_missing' })
})

test('a realm that asks for work without end is refused before any is done', async () => {
  const { claim, pending, row } = world({ bits: 25 })
  await assert.rejects(claim(), { code: 'work_missing' })
  assert.equal(await pending.get(row), undefined)
})

test('what a registration left undone is known by its claim, and not by that of another attempt', async () => {
  const one = world()
  const { lease, recoverySeed } = await one.claim()
  const left = await unsettled(lease, one.pending)
  assert.equal(toHex(left?.recoverySeed as Bytes), toHex(recoverySeed))
  await left?.settled()
  assert.equal(await unsettled(lease, one.pending), undefined)
  await one.pending.put(one.row, { claim: 'ab', auth: '', recoverySeed: 'cd' })
  assert.equal(await unsettled(lease, one.pending), undefined)
})
