import assert from 'node:assert/strict'
import { test } from 'node:test'
import { claimName, type PendingClaim, unsettled } from '../../node/claims.ts'
import { checkWork, encodeClaim } from '../../node/core/claim.ts'
import { type Bytes, toHex } from '../../node/core/encoding.ts'
import { P2pnsError } from '../../node/core/errors.ts'
import { type KeyPair, keyPairFromSeed, sha256 } from '../../node/core/keys.ts'
import { encodeReceipt, signReceipt, verifyLease } from '../../node/core/lease.ts'
import { realmId } from '../../node/core/realm.ts'
import { mineAside } from '../../node/mining.ts'
import type { Introducer } from '../../node/net/introducers.ts'
import { owner, pairOf, thief } from '../helpers/leases.ts'
import { memoryTable } from '../helpers/table.ts'
import { Clock, DAY, FakeIntroducer, fakeRealm, HOUR, MINUTE } from './harness.ts'

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

/** A realm of four, three of which must sign. */
function realmOfFour() {
  const clock = new Clock()
  const four = fakeRealm(clock, 4)
  const pending = memoryTable<PendingClaim>()
  let drawn = 0
  const { realm } = four[0] as FakeIntroducer
  return {
    clock,
    four,
    pending,
    row: `${toHex(realmId(realm))}/alice`,
    claim: (by: KeyPair = owner, witnesses: Introducer[] = four) =>
      claimName({
        short: 'alice',
        owner: by,
        realm,
        witnesses,
        pending,
        now: clock.now,
        random: (bytes) => new Uint8Array(bytes).fill(++drawn),
      }),
  }
}

/** There, but nothing comes of asking it for a receipt. */
function deafen(introducer: FakeIntroducer, code: 'timed_out' | 'clock_wrong' = 'timed_out'): () => void {
  const [claim, gossip] = [introducer.claim.bind(introducer), introducer.gossip.bind(introducer)]
  introducer.claim = async () => {
    throw new P2pnsError(code, 'It does not sign')
  }
  introducer.gossip = async () => {}
  return () => Object.assign(introducer, { claim, gossip })
}

test('all witnesses of a realm are asked, and a quorum of them is enough', async () => {
  const { claim, clock, four } = realmOfFour()
  const { lease } = await claim()
  assert.equal(lease.receipts.length, 4)
  verifyLease(lease, clock.at)
  const other = realmOfFour()
  deafen(other.four[2] as FakeIntroducer)
  const second = await other.claim()
  assert.deepEqual(
    second.lease.receipts.map(({ index }) => index),
    [0, 1, 3],
  )
  assert.ok(four.every(({ signed }) => signed.has('alice')))
})

test('a witness that gives what is no receipt, or that of another, does not keep the others from making a lease', async () => {
  const { claim, clock, four } = realmOfFour()
  const [liar, honest] = four as [FakeIntroducer, FakeIntroducer]
  for (const lie of [
    async () => new Uint8Array(7),
    (bytes: Bytes, auth: Bytes) => honest.claim(bytes, auth),
    async (bytes: Bytes) => encodeReceipt(signReceipt(0, clock.at / 1000, bytes, pairOf(7))),
  ]) {
    liar.claim = lie
    const { lease, settled } = await claim()
    assert.ok(lease.receipts.length >= 3)
    verifyLease(lease, clock.at)
    await settled()
    for (const { signed } of four) signed.clear()
  }
})

test('with too few witnesses there nobody is asked to sign, and the missing ones are named', async () => {
  const { claim, four } = realmOfFour()
  for (const introducer of four.slice(2)) introducer.up = false
  await assert.rejects(claim(), (error) => {
    assert.ok(error instanceof P2pnsError)
    assert.equal(error.code, 'quorum_missing')
    assert.match(error.what, /needs 3 of the 4 witnesses of its realm, and only 2 of them answer/)
    for (const { address } of four.slice(2)) assert.ok(error.what.includes(address))
    return true
  })
  assert.ok(four.every(({ signed }) => signed.size === 0))
  for (const introducer of four) introducer.up = true
  await claim()
})

test('of witnesses that nobody told of, none is taken for one that answers', async () => {
  const { claim, four } = realmOfFour()
  await assert.rejects(claim(owner, four.slice(0, 2)), { code: 'quorum_missing' })
  await assert.rejects(claim(owner, [...four.slice(0, 2), new FakeIntroducer(new Clock(), { pair: pairOf(7) })]), {
    code: 'quorum_missing',
  })
})

test('what so many refuse that no quorum is left is the answer, one refusal is not', async () => {
  const { claim, four, pending, row } = realmOfFour()
  const one = four.slice(0, 1).map((introducer) => deafen(introducer, 'clock_wrong'))
  const others = four.slice(1, 3).map((introducer) => deafen(introducer))
  await assert.rejects(claim(), { code: 'quorum_missing', message: /only 1 of them signed/ })
  assert.notEqual(await pending.get(row), undefined)
  for (const hear of [...one, ...others]) hear()
  const taken = realmOfFour()
  await taken.claim(thief).then(({ settled }) => settled())
  await assert.rejects(taken.claim(), { code: 'name_taken' })
  assert.equal(await taken.pending.get(taken.row), undefined)
})

test('a claim that too few signed is finished when the others are back, also when it has grown too old for them', async () => {
  for (const wait of [MINUTE, 3 * HOUR]) {
    const { claim, four, pending, row, clock } = realmOfFour()
    const hear = four.slice(2).map((introducer) => deafen(introducer))
    await assert.rejects(claim(), { code: 'quorum_missing', message: /only 2 of them signed/ })
    const kept = (await pending.get(row)) as PendingClaim
    for (const back of hear) back()
    clock.at += wait
    const { lease, recoverySeed, settled } = await claim()
    verifyLease(lease, clock.at)
    assert.equal(lease.receipts.length, 4)
    const isSame = toHex(encodeClaim(lease.claim)) === kept.claim
    assert.deepEqual([isSame, lease.claim.version], wait === MINUTE ? [true, 0] : [false, 1])
    assert.equal(toHex(lease.claim.recoveryHash), toHex(sha256(keyPairFromSeed(recoverySeed).publicKey)))
    await settled()
    assert.equal(await pending.get(row), undefined)
    await assert.rejects(claim(thief), { code: 'name_taken' })
  }
})

test('a claim that goes on from an unfinished one survives being broken off, too', async () => {
  const { claim, four, clock } = realmOfFour()
  const hear = four.slice(2).map((introducer) => deafen(introducer))
  await assert.rejects(claim(), { code: 'quorum_missing' })
  clock.at += HOUR
  for (const introducer of four.slice(2)) {
    introducer.claim = async () => {
      throw new P2pnsError('clock_wrong', 'It is too old')
    }
  }
  await assert.rejects(claim(), { code: 'clock_wrong' })
  for (const back of hear) back()
  clock.at += HOUR
  const { lease } = await claim()
  verifyLease(lease, clock.at)
  assert.ok(lease.claim.version >= 1)
  assert.ok(lease.receipts.length >= 3)
})

test('work that would hold everything else up is done beside it, and can be stopped', async () => {
  const { claim, clock } = world({ bits: 14 })
  let turns = 0
  const turning = setInterval(() => turns++, 1)
  const { lease } = await claim()
  clearInterval(turning)
  checkWork(lease.claim, 14)
  verifyLease(lease, clock.at)
  assert.ok(turns > 0)
  const stop = new AbortController()
  const endless = mineAside({ claim: lease.claim, bits: 48, startNonce: new Uint8Array(8) }, stop.signal)
  stop.abort()
  await assert.rejects(endless, { code: 'interrupted' })
})
