import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MemoryDatastore } from 'datastore-core'
import { Key } from 'interface-datastore'
import { toHex } from '../../node/core/encoding.ts'
import { P2pnsError } from '../../node/core/errors.ts'
import { zoneDhtKey } from '../../node/core/zone.ts'
import { RecordGuard, recordKey } from '../../node/net/record-guard.ts'
import { encodeDhtRecord } from '../helpers/hosts.ts'
import { pairOf, zoneAt } from '../helpers/zones.ts'

const NOW = 1_800_000_000_000
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

function setUp() {
  const inner = new MemoryDatastore()
  const clock = { now: NOW }
  return { inner, clock, guard: new RecordGuard(inner, () => clock.now) }
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
