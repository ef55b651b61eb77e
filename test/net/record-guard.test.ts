import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import { MemoryDatastore } from 'datastore-core'
import { Key } from 'interface-datastore'
import { toHex } from '../../node/core/encoding.ts'
import { P2pnsError } from '../../node/core/errors.ts'
import { type Zone, zoneDhtKey } from '../../node/core/zone.ts'
import { RECORD_LIMITS, RecordGuard, recordKey } from '../../node/net/record-guard.ts'
import { encodeDhtRecord } from '../helpers/hosts.ts'
import { pairOf, zoneAt } from '../helpers/zones.ts'

const NOW = 1_800_000_000_000
/** Where the node that stores stands. */
const POSITION = createHash('sha256').update('here').digest()
const pair = pairOf(1)
const key = zoneDhtKey(pair.publicKey)
const older = zoneAt(pair, NOW - 1000, '192.0.2.1')
const newer = zoneAt(pair, NOW, '192.0.2.2')

function hex(bytes: Uint8Array | undefined): string | undefined {
  return bytes && toHex(bytes)
}

function refusal(code: string) {
  return (error: unknown) => error instanceof P2pnsError && error.code === code
}

function setUp(limits = RECORD_LIMITS) {
  const inner = new MemoryDatastore()
  const clock = { now: NOW }
  return { inner, clock, guard: new RecordGuard(inner, () => clock.now, POSITION, limits) }
}

/** Zones of twenty keys, the nearest to this node first. */
const zones = Array.from({ length: 20 }, (_, i) => zoneAt(pairOf(i + 1), NOW)).sort((a, b) =>
  distance(a) < distance(b) ? -1 : 1,
)

function distance(zone: Zone): bigint {
  const place = createHash('sha256').update(zoneDhtKey(zone.key)).digest('hex')
  return BigInt(`0x${place}`) ^ BigInt(`0x${toHex(POSITION)}`)
}

async function heldBy(guard: RecordGuard): Promise<number[]> {
  const values = await Promise.all(zones.map((zone) => guard.value(zoneDhtKey(zone.key))))
  return values.flatMap((value, i) => (value === undefined ? [] : [i]))
}

function shuffled<T>(all: T[]): T[] {
  return all.map((_, i) => all[(i * 7) % all.length] as T)
}

test('a replayed older record never replaces a newer one', async () => {
  const { guard } = setUp()
  await guard.store(key, newer.bytes)
  await assert.rejects(guard.store(key, older.bytes), refusal('record_older'))
  assert.equal(hex(await guard.value(key)), hex(newer.bytes))
})

test('of two records that come at once the newer one stays, in either order', async () => {
  for (const order of [
    [older, newer],
    [newer, older],
  ]) {
    const { guard } = setUp()
    await Promise.allSettled(order.map((zone) => guard.store(key, zone.bytes)))
    assert.equal(hex(await guard.value(key)), hex(newer.bytes))
  }
})

test('the same record again counts as received anew', async () => {
  const { guard, clock } = setUp()
  await guard.store(key, newer.bytes)
  clock.now += 40 * 3600_000
  await guard.store(key, newer.bytes)
  clock.now += 40 * 3600_000
  assert.equal(hex(await guard.value(key)), hex(newer.bytes))
})

test('a record is gone 48 hours after it was last received, and sweeping removes it', async () => {
  const { guard, clock, inner } = setUp()
  await guard.store(key, newer.bytes)
  clock.now += 48 * 3600_000 + 1
  assert.equal(await guard.value(key), undefined)
  assert.equal(await inner.has(recordKey(key)), true)
  await guard.sweep()
  assert.equal(await inner.has(recordKey(key)), false)
  assert.equal(guard.records, 0)
})

test('a record under the key of another is refused', async () => {
  const { guard } = setUp()
  await assert.rejects(guard.store(zoneDhtKey(pairOf(2).publicKey), newer.bytes), refusal('key_mismatch'))
  const misplaced = guard.put(recordKey(zoneDhtKey(pairOf(2).publicKey)), encodeDhtRecord(key, newer.bytes, NOW))
  await assert.rejects(misplaced, refusal('key_mismatch'))
})

test('a key of no namespace of ours is refused, whatever its value', async () => {
  const { guard } = setUp()
  for (const text of ['/pk/abc', '/p2pns-z/short', 'anything', '/p2pns-x/12345678901234567890123456789012']) {
    await assert.rejects(guard.store(Buffer.from(text), newer.bytes), refusal('key_mismatch'))
  }
})

test('an oversize record is refused before anything of it is read', async () => {
  const { guard } = setUp()
  await assert.rejects(guard.store(key, new Uint8Array(8193)), refusal('too_large'))
})

test('a record that cannot be read any more holds no new one off', async () => {
  const { guard, inner } = setUp()
  await inner.put(recordKey(key), new Uint8Array([1, 2, 3]))
  await guard.store(key, newer.bytes)
  assert.equal(hex(await guard.value(key)), hex(newer.bytes))
})

test('what is no DHT record passes through untouched', async () => {
  const { guard, inner } = setUp()
  await guard.put(new Key('/peers/x'), new Uint8Array([7]))
  assert.deepEqual(await inner.get(new Key('/peers/x')), new Uint8Array([7]))
  assert.deepEqual(await guard.get(new Key('/peers/x')), new Uint8Array([7]))
})

test('when there is no room the farthest goes, and one that comes is never refused', async () => {
  const { guard, inner } = setUp({ ...RECORD_LIMITS, count: 5 })
  for (const zone of shuffled(zones)) {
    await guard.store(zoneDhtKey(zone.key), zone.bytes)
    assert.ok(await guard.value(zoneDhtKey(zone.key)))
  }
  assert.deepEqual((await heldBy(guard)).slice(0, 4), [0, 1, 2, 3])
  assert.equal(guard.records, 5)
  const stored = []
  for await (const key of inner.queryKeys({})) stored.push(key)
  assert.equal(stored.length, 5)
})

test('records that come at once leave no more than there is room for', async () => {
  const { guard } = setUp({ ...RECORD_LIMITS, count: 5 })
  await Promise.all(shuffled(zones).map((zone) => guard.store(zoneDhtKey(zone.key), zone.bytes)))
  assert.equal(guard.records, 5)
  assert.equal((await heldBy(guard)).length, 5)
})

test('bytes count too, those from before a restart with them, and one that is replaced counts once', async () => {
  const stored = encodeDhtRecord(key, newer.bytes, NOW).length
  const { guard, inner, clock } = setUp({ ...RECORD_LIMITS, bytes: 5 * stored + 5 })
  for (const zone of zones.slice(5, 10)) {
    await guard.store(zoneDhtKey(zone.key), zone.bytes)
    await guard.store(zoneDhtKey(zone.key), zone.bytes)
  }
  assert.deepEqual(await heldBy(guard), [5, 6, 7, 8, 9])
  const again = new RecordGuard(inner, () => clock.now, POSITION, { ...RECORD_LIMITS, bytes: 5 * stored + 5 })
  await again.sweep()
  const [nearest] = zones
  assert.ok(nearest)
  await again.store(zoneDhtKey(nearest.key), nearest.bytes)
  assert.deepEqual(await heldBy(again), [0, 5, 6, 7, 8])
})
