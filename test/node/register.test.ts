import assert from 'node:assert/strict'
import { test } from 'node:test'
import { resolveText } from '../../node/answers.ts'
import type { RecordInput } from '../../node/contract.ts'
import { claimId } from '../../node/core/claim.ts'
import { fromZ32, toHex } from '../../node/core/encoding.ts'
import { P2pnsError } from '../../node/core/errors.ts'
import { keyPairFromSeed, sha256 } from '../../node/core/keys.ts'
import { encodeLease, type Lease, leaseDhtKey, parseNamed, verifyLease } from '../../node/core/lease.ts'
import { keyNameOf } from '../../node/core/name.ts'
import { realmId } from '../../node/core/realm.ts'
import { parseZone, zoneDhtKey } from '../../node/core/zone.ts'
import { pairOf } from '../helpers/leases.ts'
import {
  addressOf,
  Clock,
  DAY,
  emptyDisk,
  FakeIntroducer,
  FakeNetwork,
  fakeRealm,
  HOUR,
  type Home,
  startHome,
} from './harness.ts'

const A: RecordInput = { type: 'A', data: '192.0.2.7' }
const TXT: RecordInput = { type: 'TXT', data: 'hello' }
const CID = 'bafyreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy'

async function world(options: { introducers?: number; seed?: number } = {}) {
  const clock = new Clock()
  const network = new FakeNetwork(clock.now)
  const introducers = [pairOf(100), pairOf(101)]
    .slice(0, options.introducers ?? 1)
    .map((pair) => new FakeIntroducer(clock, { pair }))
  const disk = emptyDisk()
  const start = (home: { disk?: typeof disk; seed?: number } = {}) =>
    startHome({ clock, network, introducers, disk: home.disk ?? emptyDisk(), seed: home.seed ?? 1 })
  return { clock, network, introducers, introducer: introducers[0] as FakeIntroducer, disk, start }
}

/** What `name` says as this home sees it: `label type data`. */
async function says(home: Home, name: string): Promise<string[]> {
  const { records } = await resolveText(home.names, name, 'ANY', { now: () => 0 })
  return records.map((record) => `${record.type} ${record.data}`)
}

test('a short name is claimed, published and known by its lease to whoever trusts the realm', async () => {
  const { start, clock, introducer } = await world()
  const home = await start()
  const registered = await home.register({ name: 'Alice.p2p', records: [A] })
  assert.deepEqual(
    { ...registered, recovery: '', notes: [] },
    {
      name: 'alice.p2p',
      keyName: home.own.byLabel('alice')?.keyName,
      seq: String(BigInt(clock.at) * 1000n),
      kind: 'short',
      stored: 1,
      until: new Date(clock.at + 90 * DAY).toISOString(),
      recovery: '',
      notes: [],
    },
  )
  const reader = await start({ seed: 2 })
  await reader.realms.pinFrom(introducer)
  assert.deepEqual(await says(reader, 'alice.p2p'), ['A 192.0.2.7'])
})

test('the recovery seed is shown once, and it is the one whose hash the lease holds', async () => {
  const { start, disk } = await world()
  const home = await start({ disk })
  const { recovery } = await home.register({ name: 'alice.p2p' })
  const hash = sha256(keyPairFromSeed(fromZ32(recovery as string)).publicKey)
  assert.equal(toHex(home.own.byLabel('alice')?.lease?.claim.recoveryHash as Uint8Array), toHex(hash))
  const again = await home.register({ name: 'alice.p2p', records: [A] })
  assert.equal(again.recovery, undefined)
  assert.equal((await (await start({ disk })).register({ name: 'alice.p2p' })).recovery, undefined)
})

test('a registration that breaks off while it publishes shows the recovery seed at the next try', async () => {
  const { start, network, disk } = await world()
  const home = await start({ disk })
  const leave = new AbortController()
  network.beforePut = async () => {
    leave.abort()
    leave.signal.throwIfAborted()
  }
  await assert.rejects(home.register({ name: 'alice.p2p', records: [A] }, leave.signal), { name: 'AbortError' })
  network.beforePut = async () => {}
  const again = await start({ disk })
  const { recovery, kind } = await again.register({ name: 'alice.p2p' })
  assert.equal(kind, 'short')
  const hash = sha256(keyPairFromSeed(fromZ32(recovery as string)).publicKey)
  assert.equal(toHex(again.own.byLabel('alice')?.lease?.claim.recoveryHash as Uint8Array), toHex(hash))
  assert.equal((await again.register({ name: 'alice.p2p' })).recovery, undefined)
})

test('a registration that broke off after the witness signed is finished by the next, also after a restart', async () => {
  const { start, introducer, disk } = await world()
  introducer.afterClaim = async () => {
    throw new P2pnsError('peer_unreachable', 'The stream ended')
  }
  await assert.rejects((await start({ disk })).register({ name: 'alice.p2p' }), { code: 'peer_unreachable' })
  introducer.afterClaim = async () => {}
  const { kind, recovery } = await (await start({ disk })).register({ name: 'alice.p2p' })
  assert.equal(kind, 'short')
  assert.notEqual(recovery, undefined)
})

test('a name that is taken is refused and leaves no trace in the home or on the network', async () => {
  for (const known of [true, false]) {
    const { start, network, disk, introducer } = await world()
    await (await start({ seed: 2 })).register({ name: 'alice.p2p' })
    // The network may have forgotten it; the witness has not.
    if (!known) network.records.clear()
    const puts = network.puts.length
    const home = await start({ disk })
    await assert.rejects(home.register({ name: 'www.alice.p2p', records: [A] }), { code: 'name_taken' })
    assert.deepEqual(home.own.all(), [])
    for (const table of [disk.zones, disk.published, disk.pending, disk.petnames]) {
      for await (const [row] of table.entries()) assert.fail(`${row} was left`)
    }
    assert.equal(network.puts.length, puts)
    assert.equal(introducer.signed.size, 1)
  }
})

test('a home that was restored from its seed gets its lease and its records back from the network', async () => {
  const { start, network, clock, introducer } = await world()
  const before = await start()
  await before.register({ name: 'alice.p2p', records: [A, TXT] })
  const lease = before.own.byLabel('alice')?.lease as Lease
  clock.at += HOUR
  const restored = await start()
  const { kind, recovery } = await restored.register({ name: 'alice.p2p', records: [{ type: 'A', data: '192.0.2.8' }] })
  assert.deepEqual([kind, recovery], ['short', undefined])
  assert.equal(toHex(encodeLease(restored.own.byLabel('alice')?.lease as Lease)), toHex(encodeLease(lease)))
  assert.deepEqual((await says(restored, 'alice.p2p')).sort(), ['A 192.0.2.8', 'TXT "hello"'])
  const key = leaseDhtKey(realmId(introducer.realm), 'alice')
  const { zoneBytes } = parseNamed(network.records.get(toHex(key)) as Uint8Array)
  assert.equal(parseZone(zoneBytes, {}).seq, BigInt(clock.at) * 1000n)
})

test('a home that was restored after the network forgot its name gets its lease back from the witness', async () => {
  const { start, network, clock } = await world()
  const before = await start()
  await before.register({ name: 'alice.p2p', records: [A] })
  const lease = before.own.byLabel('alice')?.lease as Lease
  network.records.clear()
  clock.at += 72 * HOUR
  const restored = await start()
  const { kind, recovery } = await restored.register({ name: 'alice.p2p', records: [A] })
  assert.deepEqual([kind, recovery], ['short', undefined])
  assert.equal(toHex(encodeLease(restored.own.byLabel('alice')?.lease as Lease)), toHex(encodeLease(lease)))
})

test('without an introducer a short name becomes a key name and a petname, and a note says so plainly', async () => {
  const { start, network } = await world({ introducers: 0 })
  const home = await start()
  const { name, kind, keyName, notes, until } = await home.register({ name: 'www.alice.p2p', records: [A] })
  assert.deepEqual([name, kind, until], ['www.alice.pet.p2p', 'petname', undefined])
  assert.match(notes.join(' '), /No introducer could witness alice\.p2p/)
  assert.match(notes.join(' '), new RegExp(keyName))
  assert.deepEqual(await says(home, name), ['A 192.0.2.7'])
  assert.deepEqual(await says(home, `www.${keyName}`), ['A 192.0.2.7'])
  assert.equal(network.records.size, 1)
})

test('a key name gets its short name when an introducer comes', async () => {
  const { start, introducers, disk } = await world()
  const [introducer] = introducers.splice(0)
  const { kind } = await (await start({ disk })).register({ name: 'alice.p2p', records: [A] })
  assert.equal(kind, 'petname')
  introducers.push(introducer as FakeIntroducer)
  const home = await start({ disk })
  assert.equal((await home.register({ name: 'alice.p2p' })).kind, 'short')
  assert.deepEqual(await says(home, 'alice.p2p'), ['A 192.0.2.7'])
})

test('an introducer that does not answer, or breaks the rules, does not keep the next from being asked', async () => {
  const { start, introducers } = await world({ introducers: 2 })
  const [first, second] = introducers as [FakeIntroducer, FakeIntroducer]
  first.up = false
  const home = await start()
  assert.equal((await home.register({ name: 'alice.p2p' })).kind, 'short')
  first.up = true
  first.describe = () => new Uint8Array(3)
  assert.equal((await home.register({ name: 'bob.p2p' })).kind, 'short')
  second.up = false
  await assert.rejects(home.register({ name: 'carol.p2p' }), { code: 'malformed' })
  first.up = false
  await assert.rejects(home.register({ name: 'carol.p2p' }), { code: 'network_unreachable' })
  assert.equal(home.own.byLabel('carol'), undefined)
})

test('a record replaces those of its type at its label, and all others stay', async () => {
  const { start } = await world()
  const home = await start()
  await home.register({ name: 'alice.p2p', records: [A, { type: 'A', data: '192.0.2.8' }, TXT] })
  await home.register({ name: 'www.alice.p2p', records: [A] })
  await home.register({ name: 'alice.p2p', records: [{ type: 'SRV', data: '0 0 80 alice.p2p', label: '_http._tcp' }] })
  assert.deepEqual(await says(home, 'alice.p2p'), ['A 192.0.2.7', 'A 192.0.2.8', 'TXT "hello"'])
  await home.register({ name: 'alice.p2p', records: [{ type: 'A', data: '192.0.2.9' }] })
  assert.deepEqual((await says(home, 'alice.p2p')).sort(), ['A 192.0.2.9', 'TXT "hello"'])
  assert.deepEqual(await says(home, 'www.alice.p2p'), ['A 192.0.2.7'])
  assert.deepEqual(await says(home, '_http._tcp.alice.p2p'), ['SRV 0 0 80 alice.p2p.'])
  await home.register({ name: 'www.alice.p2p', records: [{ ...TXT, label: '_x' }] })
  assert.deepEqual(await says(home, '_x.www.alice.p2p'), ['TXT "hello"'])
})

test('content is named at the label that was registered, and replaces what was named there', async () => {
  const { start } = await world()
  const home = await start()
  await home.register({ name: 'alice.p2p', content: 'bafyold' })
  await home.register({ name: 'alice.p2p', content: CID })
  await home.register({ name: 'www.alice.p2p', content: CID })
  for (const name of ['_dnslink.alice.p2p', '_dnslink.www.alice.p2p']) {
    assert.deepEqual(await says(home, name), [`TXT "dnslink=/p2pns/${CID}"`])
  }
})

test('a registration that names no records keeps what the zone says', async () => {
  const { start } = await world()
  const home = await start()
  await home.register({ name: 'alice.p2p', records: [A] })
  const { seq } = await home.register({ name: 'alice.p2p' })
  assert.ok(BigInt(seq) > 0n)
  assert.deepEqual(await says(home, 'alice.p2p'), ['A 192.0.2.7'])
})

test('a key name of this home is changed by its key, and one of another home is not ours to change', async () => {
  const { start, introducer } = await world()
  const home = await start()
  const { keyName } = await home.register({ name: 'alice.p2p' })
  const changed = await home.register({ name: `www.${keyName}`, records: [A] })
  assert.deepEqual([changed.name, changed.kind], [`www.${keyName}`, 'key'])
  assert.deepEqual(await says(home, 'www.alice.p2p'), ['A 192.0.2.7'])
  const other = keyNameOf(pairOf(8).publicKey)
  await assert.rejects(home.register({ name: other, records: [A] }), { code: 'name_not_yours' })
  assert.equal(introducer.signed.size, 1)
})

test('a name that is none, or a petname, cannot be registered', async () => {
  const { start, network } = await world()
  const home = await start()
  for (const name of ['alice', 'alice.example', 'local.p2p', 'a_b.p2p', 'bob.pet.p2p', '']) {
    await assert.rejects(home.register({ name }), { code: 'name_invalid' })
  }
  assert.equal(network.gets.length, 0)
})

test('a registration that fails leaves the zone as it was', async () => {
  const { start, disk, network } = await world()
  const home = await start({ disk })
  await home.register({ name: 'alice.p2p', records: [A] })
  const row = await disk.zones.get('alice')
  const failures: [RecordInput[], string][] = [
    [[{ type: 'A', data: 'not an address' }], 'record_data_invalid'],
    [[{ type: 'NOTYPE', data: 'x' }], 'record_data_invalid'],
    [[{ ...A, label: 'not a label' }], 'record_data_invalid'],
    [Array.from({ length: 40 }, () => ({ type: 'TXT', data: 'x'.repeat(250) })), 'too_large'],
  ]
  const puts = network.puts.length
  for (const [records, code] of failures) {
    await assert.rejects(home.register({ name: 'alice.p2p', records: [{ ...A, data: '192.0.2.99' }, ...records] }), {
      code,
    })
  }
  await assert.rejects(home.register({ name: 'alice.p2p', peers: ['nobody'] }), { code: 'usage' })
  assert.deepEqual(await says(home, 'alice.p2p'), ['A 192.0.2.7'])
  assert.deepEqual(await disk.zones.get('alice'), row)
  assert.equal(network.puts.length, puts)
})

test('two registrations at once both count', async () => {
  const { start } = await world()
  const home = await start()
  const all = await Promise.all([
    home.register({ name: 'alice.p2p', records: [A] }),
    home.register({ name: 'alice.p2p', records: [TXT] }),
    home.register({ name: 'www.alice.p2p', records: [A] }),
  ])
  assert.deepEqual((await says(home, 'alice.p2p')).sort(), ['A 192.0.2.7', 'TXT "hello"'])
  assert.deepEqual(await says(home, 'www.alice.p2p'), ['A 192.0.2.7'])
  assert.equal(all.filter(({ recovery }) => recovery !== undefined).length, 1)
})

test('the peers of a name are this node, others by id or address, and nothing that is neither', async () => {
  const { start } = await world()
  const home = await start()
  const address = addressOf(pairOf(8).publicKey)
  const id = address.slice(address.lastIndexOf('/') + 1)
  await home.register({ name: 'alice.p2p', peers: ['self', id, address] })
  assert.deepEqual(await says(home, '_dnsaddr.alice.p2p'), [`TXT "dnsaddr=/p2p/${id}"`, `TXT "dnsaddr=${address}"`])
  assert.deepEqual(home.own.byLabel('alice')?.peers, ['self', `/p2p/${id}`, address])
  for (const peer of ['garbage', '/ip4/192.0.2.1/tcp/1', '/ip4/1', '', '/p2p/xyz']) {
    await assert.rejects(home.register({ name: 'alice.p2p', peers: [peer] }), { code: 'usage' })
  }
  await home.register({ name: 'alice.p2p', peers: [] })
  assert.deepEqual(home.own.byLabel('alice')?.peers, ['self'])
})

test('that nobody was there to store it is said, and the record is put later', async () => {
  const { start, network, disk } = await world({ introducers: 0 })
  network.up = false
  const home = await start({ disk })
  const { stored, notes, keyName } = await home.register({ name: 'alice.p2p', records: [A] })
  assert.equal(stored, 0)
  assert.match(notes.join(' '), /keeps trying/)
  const key = zoneDhtKey(home.own.byLabel('alice')?.pair.publicKey as Uint8Array)
  assert.equal((await disk.published.get(toHex(key)))?.storedAt, 0)
  assert.deepEqual(await says(home, keyName), ['A 192.0.2.7'])
})

/** A home that is pointed at one witness of four. */
async function pointedAtOne() {
  const clock = new Clock()
  const network = new FakeNetwork(clock.now)
  const four = fakeRealm(clock, 4)
  const introducers = four.slice(0, 1)
  const start = (disk = emptyDisk(), seed = 1) =>
    startHome({ clock, network, introducers, others: four.slice(1), disk, seed })
  return { clock, network, four, start }
}

test('who is pointed at one witness of a realm is given leases by all of them', async () => {
  const { start, clock, four } = await pointedAtOne()
  const home = await start()
  assert.equal((await home.register({ name: 'alice.p2p' })).kind, 'short')
  const lease = home.own.byLabel('alice')?.lease as Lease
  assert.equal(lease.receipts.length, 4)
  verifyLease(lease, clock.at)
  assert.deepEqual(toHex(realmId(lease.realm)), toHex(realmId((four[0] as FakeIntroducer).realm)))
})

test('a pinned realm is enough when the introducer that one was pointed at is gone', async () => {
  const { start, four } = await pointedAtOne()
  const disk = emptyDisk()
  await (await start(disk)).register({ name: 'alice.p2p' })
  ;(four[0] as FakeIntroducer).up = false
  const home = await start(disk)
  await home.register({ name: 'bob.p2p' })
  assert.equal(home.own.byLabel('bob')?.lease?.receipts.length, 3)
  ;(four[3] as FakeIntroducer).up = false
  await assert.rejects(home.register({ name: 'carol.p2p' }), { code: 'quorum_missing' })
  assert.equal(home.own.byLabel('carol'), undefined)
  const stranger = await start(emptyDisk(), 2)
  await assert.rejects(stranger.register({ name: 'dave.p2p' }), { code: 'network_unreachable' })
})

test('a lease that the network forgot is put together from what single witnesses remember', async () => {
  const { start, network, clock, four } = await pointedAtOne()
  const before = await start()
  await before.register({ name: 'alice.p2p' })
  const first = before.own.byLabel('alice')?.lease as Lease
  network.records.clear()
  clock.at += 72 * HOUR
  ;(four[1] as FakeIntroducer).up = false
  const restored = await start()
  const { kind, recovery } = await restored.register({ name: 'alice.p2p' })
  assert.deepEqual([kind, recovery], ['short', undefined])
  const lease = restored.own.byLabel('alice')?.lease as Lease
  assert.equal(toHex(claimId(lease.claim)), toHex(claimId(first.claim)))
  assert.equal(lease.receipts.length, 3)
  await assert.rejects((await start(emptyDisk(), 2)).register({ name: 'alice.p2p' }), { code: 'name_taken' })
})
