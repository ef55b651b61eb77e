/** Changes of a short name, with the real witness: who may make them, what comes of them, and that none is lost half-way. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { resolveText } from '../../node/answers.ts'
import { type Claim, chainId, encodeAuth, encodeClaim, signClaim } from '../../node/core/claim.ts'
import { fromZ32, toHex, toZ32 } from '../../node/core/encoding.ts'
import { isError, P2pnsError } from '../../node/core/errors.ts'
import { type KeyPair, keyPairFromSeed, sha256 } from '../../node/core/keys.ts'
import { type Lease, leaseDhtKey, parseNamed } from '../../node/core/lease.ts'
import { realmId } from '../../node/core/realm.ts'
import { nameChanges } from '../../node/handover.ts'
import { isPromised } from '../../node/receive.ts'
import type { PendingChange } from '../../node/succession.ts'
import { Witnesses } from '../../node/witnesses.ts'
import { wordsOf } from '../../node/words.ts'
import { memoryTable } from '../helpers/table.ts'
import {
  Clock,
  DAY,
  emptyDisk,
  type FakeIntroducer,
  FakeNetwork,
  fakeRealm,
  HOUR,
  type Home,
  MINUTE,
  settled,
  startHome,
} from './harness.ts'

const A = { type: 'A', data: '192.0.2.7' }
const NAME = 'alice.p2p'

function wholeDisk() {
  return {
    ...emptyDisk(),
    changes: memoryTable<PendingChange>(),
    recoveries: memoryTable<string>(),
  }
}

type Disk = ReturnType<typeof wholeDisk>

/** `witnesses` of one realm; the homes are pointed at all of them. */
async function world(witnesses = 1) {
  const clock = new Clock()
  const network = new FakeNetwork(clock.now)
  const introducers = fakeRealm(clock, witnesses)
  const introducer = introducers[0] as FakeIntroducer
  const start = async (options: { disk?: Disk; seed?: number } = {}) => {
    const disk = options.disk ?? wholeDisk()
    const home = await startHome({ clock, network, introducers, disk, seed: options.seed ?? 1 })
    await Promise.allSettled(introducers.map((one) => home.realms.pinFrom(one)))
    const { own, publisher, realms } = home
    const { changes, recoveries, promised } = disk
    const witnesses = new Witnesses(introducers, realms, () => assert.fail('all are known'))
    const changing = nameChanges({
      own,
      publisher,
      network,
      changes,
      recoveries,
      promised,
      realms: (signal) => witnesses.realms(signal),
      now: clock.now,
    })
    return { ...home, ...changing, disk }
  }
  /** A home that owns alice.p2p, with its recovery key. */
  const owner = async (disk = wholeDisk()) => {
    const home = await start({ disk })
    const { recovery } = await home.register({ name: NAME, records: [A] })
    return { home, recovery: recovery as string }
  }
  /** The lease that the network holds. */
  const published = (): Lease => {
    const value = network.records.get(toHex(leaseDhtKey(realmId(introducer.realm), 'alice')))
    return parseNamed(value as Uint8Array).lease
  }
  return { clock, network, introducer, introducers, start, owner, published }
}

/** What `name` says as this home sees it. */
async function says(home: Home, name = NAME): Promise<string[]> {
  const { records } = await resolveText(home.names, name, 'ANY', { now: () => 0, policy: 'network' })
  return records.map((record) => `${record.type} ${record.data}`)
}

function leaseOf(home: Home): Lease {
  return home.own.byLabel('alice')?.lease as Lease
}

/** The key that a home with this seed has for alice.p2p. */
function ownerPair(home: Home): KeyPair {
  return home.own.byLabel('alice')?.pair as KeyPair
}

test('a name goes to the home that asked for it, with a recovery key of its own, and leads there at once', async () => {
  const { start, owner, published } = await world()
  const { home, recovery } = await owner()
  const heir = await start({ seed: 2 })
  const { address, recovery: heirs } = await heir.receive({ name: NAME })
  const changed = await home.transfer({ name: NAME, to: address, recovery })
  assert.deepEqual([changed.name, changed.version, changed.recovery], [NAME, 1, undefined])
  assert.equal(changed.keyName, heir.own.byLabel('alice')?.keyName)
  assert.equal(toHex(published().claim.owner), toHex(ownerPair(heir).publicKey))
  assert.equal(toHex(published().claim.recoveryHash), toHex(sha256(keyPairFromSeed(fromZ32(heirs)).publicKey)))

  const { kind, notes: heirNotes } = await heir.register({ name: NAME, records: [{ ...A, data: '192.0.2.99' }] })
  assert.equal(kind, 'short')
  assert.ok(await isPromised(heir.disk.promised, leaseOf(heir)))
  assert.doesNotMatch(heirNotes.join(' '), /can take it back/)
  const reader = await start({ seed: 3 })
  assert.deepEqual(await says(reader), ['A 192.0.2.99'])
  assert.equal(home.own.byLabel('alice')?.lease, undefined)
  assert.deepEqual(await says(home, home.own.byLabel('alice')?.keyName), ['A 192.0.2.7'])
})

test('an address that is not whole, or mistyped, is refused before anything is asked', async () => {
  const { start, owner, network } = await world()
  const { home, recovery } = await owner()
  const { address } = await (await start({ seed: 2 })).receive({ name: NAME })
  const asked = network.gets.length
  const [key = '', hash = '', check = ''] = address.split('.')
  for (const to of [key, `${key}.${hash}`, `${hash}.${key}.${check}`, address.slice(0, -1), `${address}.x`, '', NAME]) {
    await assert.rejects(home.transfer({ name: NAME, to, recovery }), { code: 'usage' })
  }
  assert.equal(network.gets.length, asked)
})

test('a home that was given a name with a recovery key of the giver can tell', async () => {
  const { start, owner, clock } = await world()
  const { home, recovery } = await owner()
  const heir = await start({ seed: 2 })
  await heir.receive({ name: NAME })
  const { addressText } = await import('../../node/receive.ts')
  const mine = sha256(keyPairFromSeed(new Uint8Array(32).fill(66)).publicKey)
  await home.transfer({
    name: NAME,
    to: addressText({ owner: ownerPair(heir).publicKey, recoveryHash: mine }),
    recovery,
  })
  clock.at += MINUTE
  const { notes } = await heir.register({ name: NAME })
  assert.equal(await isPromised(heir.disk.promised, leaseOf(heir)), false)
  assert.match(notes.join(' '), /can take it back/)
})

test('a rotated name is on another key, says what it said, and has a new recovery key that is shown until it was seen', async () => {
  const { start, owner, clock } = await world()
  const { home, recovery } = await owner()
  const before = ownerPair(home).publicKey
  clock.at += HOUR
  const changed = await home.rotate({ name: NAME, recovery })
  assert.notEqual(toHex(ownerPair(home).publicKey), toHex(before))
  assert.equal(toHex(leaseOf(home).claim.owner), toHex(ownerPair(home).publicKey))
  assert.notEqual(changed.recovery, recovery)
  const again = await home.rotate({ name: NAME, recovery })
  assert.deepEqual([again.version, again.recovery], [1, changed.recovery])
  await home.recoveryShown(NAME)
  assert.equal((await home.rotate({ name: NAME, recovery })).recovery, undefined)
  assert.deepEqual(await says(await start({ seed: 3 })), ['A 192.0.2.7'])

  const restarted = await start({ disk: home.disk })
  assert.deepEqual(await says(restarted), ['A 192.0.2.7'])
  assert.equal(toHex(ownerPair(restarted).publicKey), toHex(ownerPair(home).publicKey))
})

test('a recovery key is read as words too', async () => {
  const { owner } = await world()
  const { home, recovery } = await owner()
  const { version } = await home.rotate({ name: NAME, recovery: wordsOf(fromZ32(recovery)) })
  assert.equal(version, 1)
})

test('a recovery key that was used makes no second change', async () => {
  const { start, owner, clock } = await world()
  const { home, recovery } = await owner()
  const { recovery: next } = await home.rotate({ name: NAME, recovery })
  await home.recoveryShown(NAME)
  clock.at += HOUR
  const { address } = await (await start({ seed: 2 })).receive({ name: NAME })
  await assert.rejects(home.transfer({ name: NAME, to: address, recovery }), { code: 'recovery_wrong' })
  await assert.rejects(home.release({ name: NAME, recovery }), { code: 'recovery_wrong' })
  assert.equal((await home.rotate({ name: NAME, recovery })).version, 1)
  assert.equal((await home.transfer({ name: NAME, to: address, recovery: next as string })).version, 2)
})

test('a name whose owner key is lost comes back to a new home through its recovery key, with what it said', async () => {
  const { start, owner, clock } = await world()
  const { recovery } = await owner()
  clock.at += 3 * DAY
  const fresh = await start({ seed: 9 })
  await assert.rejects(fresh.register({ name: NAME }), { code: 'name_taken' })
  const changed = await fresh.rotate({ name: NAME, recovery })
  assert.equal(changed.version, 1)
  assert.deepEqual(await says(fresh), ['A 192.0.2.7'])
  await fresh.register({ name: NAME, records: [{ ...A, data: '192.0.2.8' }] })
  assert.deepEqual(await says(await start({ seed: 3 })), ['A 192.0.2.8'])
})

test('a home that was restored from its seed after rotations renews its name, and keeps what it says', async () => {
  const { start, owner, clock } = await world()
  const { home, recovery } = await owner()
  const { recovery: second } = await home.rotate({ name: NAME, recovery })
  await home.recoveryShown(NAME)
  clock.at += HOUR
  await home.rotate({ name: NAME, recovery: second as string })
  clock.at += 31 * DAY
  await home.register({ name: NAME })
  clock.at += HOUR
  const restored = await start()
  const { version } = await restored.renew({ name: NAME })
  assert.equal(version, 3)
  assert.deepEqual(await says(restored), ['A 192.0.2.7'])
  assert.equal(toHex(ownerPair(restored).publicKey), toHex(ownerPair(home).publicKey))
})

test('a home that was restored from its seed after a rotation registers its name again, and keeps what it says', async () => {
  const { start, owner } = await world()
  const { home, recovery } = await owner()
  const { keyName } = await home.rotate({ name: NAME, recovery })
  const restored = await start()
  const again = await restored.register({ name: NAME, records: [{ type: 'TXT', data: 'hello' }] })
  assert.deepEqual([again.kind, again.keyName], ['short', keyName])
  assert.deepEqual((await says(await start({ seed: 3 }))).sort(), ['A 192.0.2.7', 'TXT "hello"'])
})

test('a released name leads nowhere, and is free when the term that was witnessed is over', async () => {
  const { start, owner, clock } = await world()
  const { home, recovery } = await owner()
  clock.at += DAY
  const changed = await home.release({ name: NAME, recovery })
  assert.equal(changed.keyName, undefined)
  await assert.rejects(says(await start({ seed: 3 })), { code: 'name_not_found' })
  const other = await start({ seed: 2 })
  await assert.rejects(other.register({ name: NAME }), { code: 'name_taken' })
  assert.equal((await home.release({ name: NAME, recovery })).version, 1)
  clock.at = Date.parse(changed.until)
  assert.equal((await other.register({ name: NAME })).kind, 'short')
})

test('a lease is renewed from its 30th day on, by its owner alone, and before that there is nothing to do', async () => {
  const { start, owner, clock } = await world()
  const { home } = await owner()
  const first = await home.renew({ name: NAME })
  assert.equal(first.version, 0)
  clock.at += 30 * DAY
  const stranger = await start({ seed: 2 })
  await assert.rejects(stranger.renew({ name: NAME }), { code: 'name_not_yours' })
  const renewed = await home.renew({ name: NAME })
  assert.equal(renewed.version, 1)
  assert.equal(renewed.until, new Date(clock.at + 90 * DAY).toISOString())
})

test('a lease that has ended is renewed in its grace, and not after it', async () => {
  const { owner, clock } = await world()
  const { home } = await owner()
  clock.at += 90 * DAY + 29 * DAY
  assert.equal((await home.renew({ name: NAME })).version, 1)
  clock.at += 121 * DAY
  await assert.rejects(home.renew({ name: NAME }), { code: 'lease_expired' })
})

test('a thief with every key of the home, but not the recovery key, can neither transfer nor release nor rotate', async () => {
  const { start, owner, introducer, clock, published } = await world()
  const { home } = await owner()
  const thief = await start({ seed: 1 })
  const guess = toZ32(new Uint8Array(32).fill(66))
  const { address } = await (await start({ seed: 2 })).receive({ name: NAME })
  await assert.rejects(thief.transfer({ name: NAME, to: address, recovery: guess }), { code: 'recovery_wrong' })
  await assert.rejects(thief.release({ name: NAME, recovery: guess }), { code: 'recovery_wrong' })
  await assert.rejects(thief.rotate({ name: NAME, recovery: guess }), { code: 'recovery_wrong' })

  // And with a program of his own, whatever he signs.
  const own = ownerPair(home)
  const other = keyPairFromSeed(new Uint8Array(32).fill(66))
  const { claim } = leaseOf(home)
  for (const days of [0, 31]) {
    clock.at += days * DAY
    const from = Math.floor(clock.at / 1000)
    const next: Claim = { ...claim, chain: chainId(claim), version: 1, from, until: from + 90 * 86_400 }
    const wishes: Partial<Claim>[] = [
      { owner: other.publicKey },
      { recoveryHash: sha256(other.publicKey) },
      { owner: other.publicKey, recoveryHash: sha256(other.publicKey) },
      { owner: new Uint8Array(0), recoveryHash: new Uint8Array(0), until: claim.until },
    ]
    for (const wish of wishes) {
      for (const [mode, by] of [
        [0, own],
        [0, other],
        [1, own],
        [1, other],
      ] as const) {
        const wrong = { ...next, ...wish }
        await assert.rejects(introducer.claim(encodeClaim(wrong), encodeAuth(signClaim(wrong, mode, by))), (error) =>
          isError(error, 'name_not_yours', 'lease_invalid'),
        )
      }
    }
  }
  assert.equal(published().claim.version, 0)
})

test('a thief who renewed the name with the owner key loses it when its owner rotates, and can renew no more', async () => {
  const { start, owner, introducer, clock, published } = await world()
  const { home, recovery } = await owner()
  clock.at += 31 * DAY
  const thief = await start({ seed: 1 })
  await thief.renew({ name: NAME })
  clock.at += HOUR
  const fresh = await start({ seed: 9 })
  const { version } = await fresh.rotate({ name: NAME, recovery })
  assert.equal(version, 2)
  clock.at += 31 * DAY
  await assert.rejects(thief.renew({ name: NAME }), { code: 'name_not_yours' })
  const { claim } = published()
  const from = Math.floor(clock.at / 1000)
  for (const owner of [claim.owner, ownerPair(home).publicKey]) {
    const next = { ...claim, owner, chain: chainId(claim), version: 3, from, until: from + 90 * 86_400 }
    await assert.rejects(
      introducer.claim(encodeClaim(next), encodeAuth(signClaim(next, 0, ownerPair(home)))),
      (error) => isError(error, 'name_not_yours', 'lease_invalid'),
    )
  }
  assert.equal((await fresh.renew({ name: NAME })).version, 3)
})

interface Place {
  disk: Disk
  introducers: FakeIntroducer[]
  network: FakeNetwork
}

/** The steps of a change between which a process can be killed; each resolves when it has come that far, and stays there. */
const STEPS: Record<string, (place: Place) => Promise<void>> = {
  'before the claim is kept': ({ disk }) => stopAt(disk.changes, 'put'),
  'before a witness sees it': ({ introducers }) => stopAtAll(introducers, 'claim'),
  'when only some witnesses have signed': ({ introducers }) =>
    stopAtAll(introducers.slice(introducers.length / 2), 'claim'),
  'after the witnesses have signed': ({ introducers }) => stopAtAll(introducers, 'afterClaim'),
  'before the zone is kept': ({ disk }) => stopAt(disk.zones, 'put'),
  'before it is published': ({ network }) => stopAt(network, 'put'),
  'before the claim is forgotten': ({ disk }) => stopAt(disk.changes, 'delete'),
}

/** The next call of `method` never returns. */
function stopAt<K extends string>(target: Record<K, unknown>, method: K): Promise<void> {
  const original = target[method]
  const reached = Promise.withResolvers<void>()
  target[method] = () => {
    target[method] = original
    reached.resolve()
    return new Promise(() => {})
  }
  return reached.promise
}

async function stopAtAll(introducers: FakeIntroducer[], method: 'claim' | 'afterClaim'): Promise<void> {
  await Promise.all(introducers.map((one) => stopAt(one, method)))
  // Those that go on have signed by then.
  await settled()
}

function failOnce<K extends string>(target: Record<K, unknown>, method: K): void {
  const original = target[method]
  target[method] = async () => {
    target[method] = original
    throw new P2pnsError('timed_out', 'The answer was lost')
  }
}

/** Witnesses, and how long the process stays away. */
const WAYS = [
  [1, 0],
  [1, 10 * MINUTE],
  [4, 0],
  [4, 10 * MINUTE],
] as const

for (const [step, kill] of Object.entries(STEPS)) {
  for (const [count, wait] of WAYS) {
    // Half of the witnesses at one claim and half at none, for longer than a claim can be signed: nothing reaches a quorum.
    if (count > 1 && wait > 0 && step === 'when only some witnesses have signed') continue
    const when = `${step} (of ${count}), and goes on ${wait === 0 ? 'at once' : 'ten minutes later'},`
    test(`a rotation that is killed ${when} is finished by the same command, and no recovery key is lost`, async () => {
      const { start, owner, introducers, network, clock, published } = await world(count)
      const { home, recovery } = await owner()
      const { disk } = home
      clock.at += HOUR
      const killed = kill({ disk, introducers, network })
      void home.rotate({ name: NAME, recovery })
      await killed
      clock.at += wait
      const again = await start({ disk })
      const changed = await again.rotate({ name: NAME, recovery })
      assert.equal(changed.version, 1)
      const hash = sha256(keyPairFromSeed(fromZ32(changed.recovery as string)).publicKey)
      assert.equal(toHex(published().claim.recoveryHash), toHex(hash))
      assert.equal(toHex(published().claim.owner), toHex(ownerPair(again).publicKey))
      assert.deepEqual(await says(await start({ seed: 3 })), ['A 192.0.2.7'])
      for await (const [row] of disk.changes.entries()) assert.fail(`${row} was left`)
    })

    for (const kind of ['transfer', 'release', 'renewal'] as const) {
      test(`a ${kind} that is killed ${when} is finished by the same command`, async () => {
        const { start, owner, introducers, network, clock, published } = await world(count)
        const { home, recovery } = await owner()
        const { disk } = home
        clock.at += 31 * DAY
        await home.register({ name: NAME })
        const { address } = await (await start({ seed: 2 })).receive({ name: NAME })
        const run = (one: typeof home) => {
          if (kind === 'renewal') return one.renew({ name: NAME })
          if (kind === 'release') return one.release({ name: NAME, recovery })
          return one.transfer({ name: NAME, to: address, recovery })
        }
        const killed = kill({ disk, introducers, network })
        void run(home)
        await killed
        clock.at += wait
        const again = await start({ disk })
        assert.equal((await run(again)).version, 1)
        assert.equal(published().claim.version, 1)
        assert.equal(again.own.byLabel('alice')?.lease?.claim.version, kind === 'renewal' ? 1 : undefined)
        for await (const [row] of disk.changes.entries()) assert.fail(`${row} was left`)
      })
    }
  }
}

test('while one change is not finished another one waits for it, and a renewal is finished first', async () => {
  const { start, owner, introducer, clock } = await world()
  const { home, recovery } = await owner()
  const { address } = await (await start({ seed: 2 })).receive({ name: NAME })
  clock.at += 31 * DAY
  failOnce(introducer, 'afterClaim')
  await assert.rejects(home.renew({ name: NAME }), { code: 'timed_out' })
  introducer.lease = async () => undefined
  assert.equal((await home.rotate({ name: NAME, recovery })).version, 2)

  const other = await world()
  const second = await other.owner()
  failOnce(other.introducer, 'claim')
  await assert.rejects(second.home.transfer({ name: NAME, to: address, recovery: second.recovery }))
  await assert.rejects(second.home.release({ name: NAME, recovery: second.recovery }), {
    code: 'change_pending',
    message: new RegExp(`transfer of alice\\.p2p to ${address}`),
  })
  other.clock.at += HOUR
  assert.equal((await second.home.release({ name: NAME, recovery: second.recovery })).keyName, undefined)
})

test('of four witnesses one may be away: every change is made, and one away more is too many', async () => {
  const { start, owner, introducers, clock } = await world(4)
  const { home, recovery } = await owner()
  const [first, second] = introducers as [FakeIntroducer, FakeIntroducer]
  first.up = false
  clock.at += 31 * DAY
  assert.equal((await home.renew({ name: NAME })).version, 1)
  const { recovery: next } = await home.rotate({ name: NAME, recovery })
  await home.recoveryShown(NAME)
  second.up = false
  const heir = await start({ seed: 2 })
  const { address, recovery: heirs } = await heir.receive({ name: NAME })
  const transfer = { name: NAME, to: address, recovery: next as string }
  await assert.rejects(home.transfer(transfer), { code: 'quorum_missing' })
  // Another one than before: it was away while the name changed hands.
  first.up = true
  assert.equal((await home.transfer(transfer)).version, 3)
  assert.equal((await heir.register({ name: NAME })).kind, 'short')
  assert.equal((await heir.release({ name: NAME, recovery: heirs })).version, 4)
})

test('a change needs a witness, a lease and one short name', async () => {
  const { start, owner, introducer } = await world()
  const { home, recovery } = await owner()
  await assert.rejects(home.rotate({ name: 'bob.p2p', recovery }), { code: 'name_not_found' })
  for (const name of ['www.alice.p2p', 'alice.pet.p2p', 'alice', home.own.byLabel('alice')?.keyName ?? '']) {
    await assert.rejects(home.renew({ name }), { code: 'name_invalid' })
  }
  introducer.up = false
  await assert.rejects(home.rotate({ name: NAME, recovery }), { code: 'network_unreachable' })
  introducer.up = true
  assert.equal((await home.rotate({ name: NAME, recovery })).version, 1)
  await assert.rejects((await start({ disk: home.disk })).receive({ name: NAME }), { code: 'usage' })
})
