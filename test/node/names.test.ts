import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import type { Policy } from '../../node/contract.ts'
import { type Claim, chainId } from '../../node/core/claim.ts'
import { type Bytes, toHex } from '../../node/core/encoding.ts'
import { type ErrorCode, isError, P2pnsError } from '../../node/core/errors.ts'
import { type KeyPair, sha256 } from '../../node/core/keys.ts'
import { encodeNamed, type Lease, leaseDhtKey } from '../../node/core/lease.ts'
import { keyNameOf, parseName } from '../../node/core/name.ts'
import { rrFromText } from '../../node/core/rdata.ts'
import { realmId } from '../../node/core/realm.ts'
import { signZone, type Zone, zoneDhtKey } from '../../node/core/zone.ts'
import type { ZoneAnswer } from '../../node/names.ts'
import type { GetOptions, NetworkRecord } from '../../node/net/record-network.ts'
import {
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
import { zoneAt } from '../helpers/zones.ts'
import { Clock, DAY, emptyDisk, FakeIntroducer, FakeNetwork, HOUR, MINUTE, settled, startHome } from './harness.ts'

const bob = pairOf(9)
const BOB = keyNameOf(bob.publicKey)
const BOB_KEY = zoneDhtKey(bob.publicKey)
const realm = realmOfWitnesses(1)
const ALICE_KEY = leaseDhtKey(realmId(realm), 'alice')
const first = firstClaim(realm)
const lease = leaseOf(first, realm)

/** A claim that follows `previous`, `days` after the start of the first. */
const next = (previous: Claim, days: number, change: Partial<Claim> = {}): Claim => ({
  ...previous,
  chain: chainId(previous),
  version: previous.version + 1,
  from: START + days * 86_400,
  until: START + (days + 90) * 86_400,
  ...change,
})

const transferred = leaseOf(
  next(first, 0, { owner: thief.publicKey, recoveryHash: sha256(nextRecovery.publicKey) }),
  realm,
  { mode: 1, by: recovery },
)
const released = leaseOf(
  next(first, 0, { owner: new Uint8Array(0), recoveryHash: new Uint8Array(0), until: first.until }),
  realm,
  { mode: 1, by: recovery },
)

const named = (of: Lease, zone: Zone) => encodeNamed(of, zone.bytes)

/** A reader that trusts the realm of `alice`, over a disk that outlives it. */
async function reader() {
  const clock = new Clock()
  const network = new FakeNetwork(clock.now)
  const disk = emptyDisk()
  const introducers = [new FakeIntroducer(clock, { bits: 0 })]
  const start = async () => {
    const home = await startHome({ clock, network, disk, introducers, seed: 77 })
    await home.realms.pinFrom(introducers[0] as FakeIntroducer)
    return home.names
  }
  const self = {
    clock,
    network,
    disk,
    names: await start(),
    lookup: (name: string, policy?: Policy): Promise<ZoneAnswer> =>
      self.names.lookup(parseName(name), policy ? { policy } : {}),
    restart: async () => {
      self.names = await start()
    },
  }
  return self
}

const refuses = (work: Promise<unknown>, code: ErrorCode) =>
  assert.rejects(work, (error) => {
    assert.ok(isError(error), String(error))
    assert.equal(error.code, code, error.message)
    return true
  })

const t0 = START * 1000

test('what is fresh is served without asking, and after its TTL the newer record is seen', async () => {
  const { network, clock, lookup } = await reader()
  network.plant(BOB_KEY, zoneAt(bob, t0).bytes)
  const fetched = await lookup(BOB)
  assert.deepEqual(fetched.known, { kind: 'key', stale: false, source: 'dht' })
  assert.equal(fetched.expiresAt, t0 + 300_000)
  network.plant(BOB_KEY, zoneAt(bob, t0 + 1000).bytes)
  clock.at = t0 + 299_999
  const cached = await lookup(BOB)
  assert.equal(cached.known.source, 'cache')
  assert.equal(cached.zone.seq, fetched.zone.seq)
  assert.equal(network.gets.length, 1)
  clock.at = t0 + 300_000
  const again = await lookup(BOB)
  assert.equal(again.zone.seq, BigInt(t0 + 1000) * 1000n)
  assert.equal(again.known.source, 'dht')
})

test('the smallest TTL of a zone counts, within 30 s and a day', async () => {
  for (const [ttls, seconds] of [
    [[300, 60], 60],
    [[1], 30],
    [[2_000_000_000], 86_400],
    [[], 300],
  ] as const) {
    const { network, clock, lookup } = await reader()
    const rrs = ttls.map((ttl) => ({ ...rrFromText({ type: 'A', data: '192.0.2.1' }), ttl }))
    network.plant(BOB_KEY, signZone(bob, BigInt(t0) * 1000n, rrs).bytes)
    assert.equal((await lookup(BOB)).expiresAt, clock.at + seconds * 1000)
  }
})

test('policy network always asks, cache-only never does', async () => {
  const { network, clock, lookup } = await reader()
  network.plant(BOB_KEY, zoneAt(bob, t0).bytes)
  await refuses(lookup(BOB, 'cache-only'), 'name_not_found')
  assert.equal(network.gets.length, 0)
  await lookup(BOB, 'network')
  await lookup(BOB, 'network')
  assert.equal(network.gets.length, 2)
  clock.at += HOUR
  const old = await lookup(BOB, 'cache-only')
  assert.ok(old.stale)
  assert.equal(network.gets.length, 2)
  await refuses(lookup('nobody.p2p'), 'name_not_found')
  await refuses(lookup('nobody.p2p', 'network'), 'name_not_found')
  assert.equal(network.gets.length, 4, 'the network is asked although it had no such name a moment ago')
})

test('a replayed older record never replaces a newer one, in any order, from any source, over restarts', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(
        fc.record({
          seq: fc.integer({ min: 0, max: 5 }),
          source: fc.constantFrom<'introducer' | 'dht'>('introducer', 'dht'),
          later: fc.array(fc.integer({ min: 0, max: 5 }), { maxLength: 2 }),
          restart: fc.boolean(),
        }),
        { maxLength: 6 },
      ),
      async (steps) => {
        const self = await reader()
        let newest = -1
        for (const { seq, source, later, restart } of steps) {
          if (restart) await self.restart()
          const record = (number: number, from: 'introducer' | 'dht') => ({
            value: zoneAt(bob, t0 + number).bytes,
            source: from,
          })
          self.network.answer = async (_key, { onNewer }) => {
            // Late ones come at the same time as the first, so that they could overtake it.
            for (const number of later) onNewer?.(record(number, 'dht'))
            return record(seq, source)
          }
          await self.lookup(BOB, 'network')
          await settled()
          newest = Math.max(newest, seq, ...later)
          const { zone } = await self.lookup(BOB, 'cache-only')
          assert.equal(zone.seq, BigInt(t0 + newest) * 1000n)
          await self.restart()
          assert.equal((await self.lookup(BOB, 'cache-only')).zone.seq, BigInt(t0 + newest) * 1000n)
        }
      },
    ),
    { numRuns: 40 },
  )
})

test('what is read from the disk never comes in place of something newer that arrived meanwhile', async () => {
  const self = await reader()
  self.network.plant(BOB_KEY, zoneAt(bob, t0).bytes)
  await self.lookup(BOB)
  const get = self.disk.cache.get.bind(self.disk.cache)
  const disk = Promise.withResolvers<void>()
  let slow = true
  self.disk.cache.get = async (key) => {
    const row = await get(key)
    if (slow) {
      slow = false
      await disk.promise
    }
    return row
  }
  await self.restart()
  const reading = self.lookup(BOB)
  self.network.plant(BOB_KEY, zoneAt(bob, t0 + 5).bytes)
  const asking = self.lookup(BOB, 'network')
  await settled()
  disk.resolve()
  await Promise.all([reading, asking])
  assert.equal((await self.lookup(BOB)).zone.seq, BigInt(t0 + 5) * 1000n)
})

test('the first valid answer is served, and a newer one that comes later replaces it', async () => {
  const { network, lookup } = await reader()
  let late: ((record: NetworkRecord) => void) | undefined
  network.answer = async (_key, { onNewer }) => {
    late = onNewer
    return { value: zoneAt(bob, t0).bytes, source: 'introducer' }
  }
  assert.equal((await lookup(BOB)).known.source, 'introducer')
  late?.({ value: zoneAt(bob, t0 + 7).bytes, source: 'dht' })
  late?.({ value: zoneAt(pairOf(8), t0 + 9).bytes, source: 'dht' })
  late?.({ value: new Uint8Array(200), source: 'dht' })
  await settled()
  assert.equal((await lookup(BOB)).zone.seq, BigInt(t0 + 7) * 1000n)
})

test('offline an expired entry is served, marked stale, for 9 days after it was signed and not longer', async () => {
  for (const offline of ['network_unreachable', 'peer_unreachable', 'timed_out', 'interrupted'] as const) {
    const self = await reader()
    self.network.plant(BOB_KEY, zoneAt(bob, t0).bytes)
    await self.lookup(BOB)
    self.network.answer = async () => {
      throw new P2pnsError(offline, 'Nobody answered')
    }
    self.clock.at = t0 + 10 * MINUTE
    const answer = await self.lookup(BOB)
    assert.deepEqual(answer.known, { kind: 'key', stale: true, source: 'cache' })
    assert.equal(answer.expiresAt, self.clock.at + 30_000, 'the network is soon asked again')
    self.clock.at = t0 + 9 * DAY - 1
    await self.restart()
    assert.ok((await self.lookup(BOB)).stale)
    self.clock.at = t0 + 9 * DAY
    await refuses(self.lookup(BOB), offline === 'interrupted' ? 'timed_out' : offline)
    await refuses(self.lookup(BOB, 'cache-only'), 'name_not_found')
  }
})

test('what the network has forgotten is served from the cache, marked stale', async () => {
  const { network, clock, lookup } = await reader()
  network.plant(BOB_KEY, zoneAt(bob, t0).bytes)
  await lookup(BOB)
  network.records.clear()
  clock.at = t0 + 3 * DAY
  assert.ok((await lookup(BOB)).stale)
  clock.at = t0 + 9 * DAY
  await refuses(lookup(BOB), 'name_not_found')
})

test('a record that was signed more than 48 h ago is marked stale, and after 9 days nobody can bring it up', async () => {
  const { network, clock, lookup } = await reader()
  network.plant(BOB_KEY, zoneAt(bob, t0).bytes)
  clock.at = t0 + 48 * HOUR
  assert.equal((await lookup(BOB)).stale, false)
  clock.at += 1
  assert.ok((await lookup(BOB, 'network')).stale)
  assert.ok((await lookup(BOB)).known.stale, 'from the cache, too')
  clock.at = t0 + 9 * DAY
  await refuses(lookup(BOB, 'network'), 'name_not_found')
})

test('a name that nobody has is not asked for again for 30 s', async () => {
  const { network, clock, lookup } = await reader()
  await refuses(lookup(BOB), 'name_not_found')
  clock.at = t0 + 29_999
  network.plant(BOB_KEY, zoneAt(bob, t0).bytes)
  await refuses(lookup(BOB), 'name_not_found')
  assert.equal(network.gets.length, 1)
  clock.at = t0 + 30_000
  assert.equal((await lookup(BOB)).zone.seq, BigInt(t0) * 1000n)
})

test('that the network failed is not remembered', async () => {
  const { network, lookup } = await reader()
  network.up = false
  await refuses(lookup(BOB), 'network_unreachable')
  network.up = true
  network.plant(BOB_KEY, zoneAt(bob, t0).bytes)
  assert.equal((await lookup(BOB)).known.source, 'dht')
})

test('what is found ends what was remembered as missing', async () => {
  const { network, lookup } = await reader()
  await refuses(lookup(BOB), 'name_not_found')
  network.plant(BOB_KEY, zoneAt(bob, t0).bytes)
  await lookup(BOB, 'network')
  assert.equal((await lookup(BOB)).known.source, 'cache')
})

test('a clock that was far ahead does not keep an answer or a missing name for years', async () => {
  const { network, clock, lookup } = await reader()
  clock.at = t0 + 8 * DAY
  network.plant(BOB_KEY, zoneAt(bob, t0).bytes)
  await lookup(BOB)
  await refuses(lookup(keyNameOf(thief.publicKey)), 'name_not_found')
  clock.at = t0
  network.plant(BOB_KEY, zoneAt(bob, t0 + 1).bytes)
  network.plant(zoneDhtKey(thief.publicKey), zoneAt(thief, t0).bytes)
  assert.equal((await lookup(BOB)).zone.seq, BigInt(t0 + 1) * 1000n)
  assert.equal((await lookup(keyNameOf(thief.publicKey))).known.source, 'dht')
})

test('one question per apex at a time answers everybody who asks meanwhile', async () => {
  const { network, lookup } = await reader()
  const answer = Promise.withResolvers<NetworkRecord | undefined>()
  network.answer = () => answer.promise
  const all = [lookup(BOB), lookup(`www.${BOB}`), lookup(BOB, 'network')]
  await settled()
  assert.equal(network.gets.length, 1)
  answer.resolve({ value: zoneAt(bob, t0).bytes, source: 'dht' })
  for (const { zone } of await Promise.all(all)) assert.equal(zone.seq, BigInt(t0) * 1000n)
})

test('an asker who leaves does not end the question for the others', async () => {
  const { network, names, lookup } = await reader()
  const answer = Promise.withResolvers<NetworkRecord | undefined>()
  let asked: GetOptions | undefined
  network.answer = (_key, options) => {
    asked = options
    return answer.promise
  }
  const leaver = new AbortController()
  const left = names.lookup(parseName(BOB), { signal: leaver.signal })
  const stayed = lookup(BOB)
  await settled()
  const reason = new Error('gone')
  leaver.abort(reason)
  await assert.rejects(left, reason)
  assert.equal(asked?.signal?.aborted, false)
  answer.resolve({ value: zoneAt(bob, t0).bytes, source: 'dht' })
  assert.equal((await stayed).zone.seq, BigInt(t0) * 1000n)
})

test('who has left before asking asks nothing', async () => {
  const { network, names } = await reader()
  network.up = false
  await assert.rejects(names.lookup(parseName(BOB), { signal: AbortSignal.abort() }), { name: 'AbortError' })
  await settled()
  assert.equal(network.gets.length, 0)
})

test('a record under the wrong key, from the future, or of random bytes is refused and not kept', async () => {
  const cases: [Bytes, ErrorCode][] = [
    [zoneAt(pairOf(8), t0).bytes, 'key_mismatch'],
    [zoneAt(bob, t0 + 11 * MINUTE).bytes, 'seq_in_future'],
    [Uint8Array.from(zoneAt(bob, t0).bytes, (byte, i) => (i === 50 ? byte ^ 1 : byte)), 'signature_invalid'],
    [new Uint8Array(20), 'malformed'],
    [new Uint8Array(9000), 'too_large'],
  ]
  for (const [value, code] of cases) {
    const { network, lookup } = await reader()
    network.plant(BOB_KEY, value)
    await refuses(lookup(BOB), code)
    await refuses(lookup(BOB, 'cache-only'), 'name_not_found')
  }
})

test('a row of the cache that cannot be read is as good as none', async () => {
  const self = await reader()
  await self.disk.cache.put(BOB, { record: 'abcd', fetchedAt: t0, source: 'dht' })
  await refuses(self.lookup(BOB, 'cache-only'), 'name_not_found')
  self.network.plant(BOB_KEY, zoneAt(bob, t0).bytes)
  assert.equal((await self.lookup(BOB)).known.source, 'dht')
})

test('own zones answer without the network, by key name, short name and petname', async () => {
  const clock = new Clock()
  const network = new FakeNetwork(clock.now)
  const { names, register } = await startHome({ clock, network, introducers: [new FakeIntroducer(clock)] })
  const { keyName } = await register({ name: 'alice.p2p', records: [{ type: 'A', data: '192.0.2.1' }] })
  await names.setPetname('me', keyName)
  network.up = false
  const gets = network.gets.length
  for (const [name, kind] of [
    ['alice.p2p', 'own'],
    [keyName, 'own'],
    ['me.pet.p2p', 'petname'],
  ] as const) {
    const { known, stale } = await names.lookup(parseName(name), { policy: 'network' })
    assert.deepEqual([known.kind, known.source, stale], [kind, 'own', false])
  }
  assert.equal(network.gets.length, gets)
})

test('a zone of ours without a lease does not answer for the short name', async () => {
  const clock = new Clock()
  const network = new FakeNetwork(clock.now)
  const { names, register } = await startHome({ clock, network })
  const { keyName } = await register({ name: 'alice.p2p' })
  assert.equal((await names.lookup(parseName('alice.pet.p2p'))).known.kind, 'petname')
  assert.equal((await names.lookup(parseName(keyName))).known.kind, 'own')
  await refuses(names.lookup(parseName('alice.p2p')), 'no_introducer')
})

test('a petname leads to the key that this machine gave it to, and to nobody else', async () => {
  const { network, names, lookup } = await reader()
  await refuses(lookup('bob.pet.p2p'), 'name_not_found')
  assert.equal(network.gets.length, 0)
  await names.setPetname('bob', BOB)
  network.plant(BOB_KEY, zoneAt(bob, t0).bytes)
  const { known, zone } = await lookup('www.bob.pet.p2p')
  assert.deepEqual(known, { kind: 'petname', stale: false, source: 'dht' })
  assert.equal(keyNameOf(zone.key), BOB)
})

test('what is no name of ours is refused before anybody is asked', async () => {
  const { network, lookup } = await reader()
  for (const text of ['alice.example', 'p2p', 'a..p2p', 'local.p2p', 'xn--a.p2p', '-.p2p', '']) {
    assert.throws(() => lookup(text), { code: 'name_invalid' })
  }
  assert.equal(network.gets.length, 0)
})

test('without a realm to trust, a short name is not looked up', async () => {
  const clock = new Clock()
  const network = new FakeNetwork(clock.now)
  const { names } = await startHome({ clock, network })
  await refuses(names.lookup(parseName('alice.p2p')), 'no_introducer')
  assert.equal(network.gets.length, 0)
})

test('a short name is known by its lease', async () => {
  const { network, lookup } = await reader()
  network.plant(ALICE_KEY, named(lease, zoneAt(owner, t0)))
  const { zone, known } = await lookup('www.alice.p2p')
  assert.deepEqual(zone.key, owner.publicKey)
  const pinned = new Date(t0).toISOString()
  assert.deepEqual(known, { kind: 'lease', receipts: 1, witnesses: 1, pinned, stale: false, source: 'dht' })
})

test('each realm that is trusted is asked, and one that fails does not hide what another has', async () => {
  const clock = new Clock()
  const network = new FakeNetwork(clock.now)
  const { names, realms } = await startHome({ clock, network })
  for (const pair of [pairOf(100), pairOf(101)]) {
    await realms.pinFrom(new FakeIntroducer(clock, { pair, bits: 0 }))
  }
  const value = named(lease, zoneAt(owner, t0))
  network.answer = async (key) => {
    if (toHex(key) !== toHex(ALICE_KEY)) throw new P2pnsError('network_unreachable', 'Nobody answered')
    return { value, source: 'dht' }
  }
  assert.equal((await names.lookup(parseName('alice.p2p'))).known.kind, 'lease')
  assert.equal(network.gets.length, 2)
  network.answer = async (key) => {
    if (toHex(key) === toHex(ALICE_KEY)) throw new P2pnsError('network_unreachable', 'Nobody answered')
    return undefined
  }
  await refuses(names.lookup(parseName('carol.p2p')), 'name_not_found')
})

test('another chain than the one seen first is a conflict, never a switch, also when nothing is cached', async () => {
  const self = await reader()
  self.network.plant(ALICE_KEY, named(lease, zoneAt(owner, t0)))
  await self.lookup('alice.p2p')
  const other = leaseOf(firstClaim(realm, { owner: thief.publicKey }), realm, { by: thief })
  self.network.plant(ALICE_KEY, named(other, zoneAt(thief, t0 + 5)))
  await refuses(self.lookup('alice.p2p', 'network'), 'pin_conflict')
  assert.deepEqual((await self.lookup('alice.p2p')).zone.key, owner.publicKey)
  await self.names.clearCache()
  await self.restart()
  await refuses(self.lookup('alice.p2p'), 'pin_conflict')
  await refuses(self.lookup('alice.p2p', 'cache-only'), 'name_not_found')
})

test('of two chains that come at once only one is believed', async () => {
  const self = await reader()
  const other = leaseOf(firstClaim(realm, { owner: thief.publicKey }), realm, { by: thief })
  self.network.answer = async (_key, { onNewer }) => {
    onNewer?.({ value: named(other, zoneAt(thief, t0)), source: 'introducer' })
    return { value: named(lease, zoneAt(owner, t0)), source: 'dht' }
  }
  const [one] = await Promise.allSettled([self.lookup('alice.p2p')])
  await settled()
  const kept = await self.lookup('alice.p2p', 'cache-only')
  assert.equal((await self.disk.pins.get('alice.p2p')) !== undefined, true)
  if (one.status === 'fulfilled') assert.deepEqual(one.value.zone.key, kept.zone.key)
  else assert.ok(isError(one.reason, 'pin_conflict'))
})

test('a transfer that the promised recovery key signed is followed, and what was before does not come back', async () => {
  const self = await reader()
  const old = named(lease, zoneAt(owner, t0 + HOUR))
  self.network.plant(ALICE_KEY, old)
  self.clock.at = t0 + HOUR
  await self.lookup('alice.p2p')
  self.network.plant(ALICE_KEY, named(transferred, zoneAt(thief, t0)))
  assert.deepEqual((await self.lookup('alice.p2p', 'network')).zone.key, thief.publicKey)
  self.network.plant(ALICE_KEY, old)
  const kept = await self.lookup('alice.p2p', 'network')
  assert.deepEqual([kept.zone.key, kept.stale], [thief.publicKey, true])
  await self.names.clearCache()
  await self.restart()
  await refuses(self.lookup('alice.p2p'), 'record_older')
})

test('a new owner whom the promised recovery key did not name is a conflict, whatever the witnesses signed', async () => {
  const stolen = { owner: thief.publicKey, recoveryHash: sha256(nextRecovery.publicKey) }
  const lies: [Claim, 0 | 1, KeyPair][] = [
    [next(first, 0, stolen), 0, thief],
    [next(first, 0, stolen), 1, nextRecovery],
    [next(first, 0, { ...stolen, version: 7 }), 1, nextRecovery],
    [next(first, 0, { recoveryHash: sha256(nextRecovery.publicKey) }), 1, nextRecovery],
  ]
  for (const [claim, mode, by] of lies) {
    const { network, lookup } = await reader()
    network.plant(ALICE_KEY, named(lease, zoneAt(owner, t0)))
    await lookup('alice.p2p')
    const zone = zoneAt(claim.owner === thief.publicKey ? thief : owner, t0)
    network.plant(ALICE_KEY, named(leaseOf(claim, realm, { mode, by }), zone))
    await refuses(lookup('alice.p2p', 'network'), 'pin_conflict')
  }
})

test('a renewal is followed, and an older zone that somebody puts with it is not', async () => {
  const self = await reader()
  const renewed = leaseOf(next(first, 31), realm)
  self.clock.at = t0 + 31 * DAY
  self.network.plant(ALICE_KEY, named(lease, zoneAt(owner, self.clock.at)))
  await self.lookup('alice.p2p')
  self.network.plant(ALICE_KEY, named(renewed, zoneAt(owner, self.clock.at - 5)))
  assert.equal((await self.lookup('alice.p2p', 'network')).zone.seq, BigInt(self.clock.at) * 1000n)
  // The old lease with a newer zone: the zone is news, the lease is not.
  self.clock.at += HOUR
  self.network.plant(ALICE_KEY, named(lease, zoneAt(owner, self.clock.at)))
  assert.equal((await self.lookup('alice.p2p', 'network')).zone.seq, BigInt(self.clock.at) * 1000n)
  self.clock.at = t0 + 90 * DAY + 1
  self.network.up = false
  await refuses(self.lookup('alice.p2p'), 'network_unreachable')
  self.network.up = true
  self.network.plant(ALICE_KEY, named(renewed, zoneAt(owner, self.clock.at)))
  assert.equal((await self.lookup('alice.p2p')).stale, false)
})

test('a name that its owner gave up is not found, also offline, and cannot be brought back', async () => {
  const self = await reader()
  const old = named(lease, zoneAt(owner, t0))
  self.network.plant(ALICE_KEY, old)
  await self.lookup('alice.p2p')
  self.network.plant(ALICE_KEY, encodeNamed(released, new Uint8Array(0)))
  await refuses(self.lookup('alice.p2p', 'network'), 'name_not_found')
  await refuses(self.lookup('alice.p2p', 'cache-only'), 'name_not_found')
  const gets = self.network.gets.length
  await refuses(self.lookup('alice.p2p'), 'name_not_found')
  assert.equal(self.network.gets.length, gets)
  self.network.plant(ALICE_KEY, old)
  await self.restart()
  await refuses(self.lookup('alice.p2p'), 'record_older')
})

test('a cached record whose lease has ended is served neither from memory nor from the disk', async () => {
  for (const restart of [false, true]) {
    const self = await reader()
    const until = first.until * 1000
    self.clock.at = until - 1000
    self.network.plant(ALICE_KEY, named(lease, zoneAt(owner, until - 1000)))
    assert.equal((await self.lookup('alice.p2p')).expiresAt, until, 'nobody keeps it longer than the lease')
    self.clock.at = until - 1
    if (restart) await self.restart()
    await self.lookup('alice.p2p')
    self.clock.at = until
    self.network.up = false
    if (restart) await self.restart()
    await refuses(self.lookup('alice.p2p', 'cache-only'), 'name_not_found')
    await refuses(self.lookup('alice.p2p'), 'network_unreachable')
  }
})

test('a lease with a false receipt, or one of too few, is refused', async () => {
  const { network, lookup } = await reader()
  const [receipt] = lease.receipts
  for (const [receipts, code] of [
    [[{ ...receipt, signature: new Uint8Array(64) }], 'signature_invalid'],
    [[{ ...receipt, index: 3 }], 'lease_invalid'],
  ] as [Lease['receipts'], ErrorCode][]) {
    network.plant(ALICE_KEY, named({ ...lease, receipts }, zoneAt(owner, t0)))
    await refuses(lookup('alice.p2p'), code)
  }
})

test('clearing the cache forgets what was learnt and what was missing, and keeps the pins', async () => {
  const self = await reader()
  self.network.plant(ALICE_KEY, named(lease, zoneAt(owner, t0)))
  await self.lookup('alice.p2p')
  await refuses(self.lookup(BOB), 'name_not_found')
  await self.names.clearCache()
  await refuses(self.lookup('alice.p2p', 'cache-only'), 'name_not_found')
  self.network.plant(BOB_KEY, zoneAt(bob, t0).bytes)
  await self.lookup(BOB)
  assert.notEqual(await self.disk.pins.get('alice.p2p'), undefined)
})

test('a disk that is full fails the lookup with its own error and forgets nothing', async () => {
  const self = await reader()
  self.network.plant(BOB_KEY, zoneAt(bob, t0).bytes)
  await self.lookup(BOB)
  self.disk.cache.put = async () => {
    throw new P2pnsError('disk_full', 'The disk is full')
  }
  self.network.plant(BOB_KEY, zoneAt(bob, t0 + 1).bytes)
  await refuses(self.lookup(BOB, 'network'), 'disk_full')
  assert.equal((await self.lookup(BOB)).zone.seq, BigInt(t0 + 1) * 1000n)
})
