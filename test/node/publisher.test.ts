import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { toHex } from '../../node/core/encoding.ts'
import { P2pnsError } from '../../node/core/errors.ts'
import { encodeNamed, leaseDhtKey } from '../../node/core/lease.ts'
import { realmId } from '../../node/core/realm.ts'
import { zoneDhtKey } from '../../node/core/zone.ts'
import { type Published, Publisher } from '../../node/publisher.ts'
import { firstClaim, leaseOf, owner, pairOf, realmOfWitnesses } from '../helpers/leases.ts'
import { memoryTable } from '../helpers/table.ts'
import { zoneAt } from '../helpers/zones.ts'
import { Clock, FakeNetwork, HOUR, MINUTE, settled } from './harness.ts'

const bob = pairOf(9)
const KEY = zoneDhtKey(bob.publicKey)
const ROW = toHex(KEY)

/** A publisher whose minutes pass when the test says so. */
function world(t: TestContext) {
  t.mock.timers.enable({ apis: ['setInterval'] })
  const clock = new Clock()
  const network = new FakeNetwork(clock.now)
  const table = memoryTable<Published>()
  const start = () => {
    const publisher = new Publisher(table, network, clock.now)
    t.after(() => publisher.stop())
    return publisher
  }
  /** Lets `ms` pass; the look through the table at their end is over when this resolves. */
  const pass = async (ms: number) => {
    clock.at += ms
    t.mock.timers.tick(MINUTE)
    await settled()
  }
  return { clock, network, table, start, pass, zone: (ms: number) => zoneAt(bob, clock.at + ms).bytes }
}

test('a record is on the disk before it is put', async (t) => {
  const { network, table, start, zone } = world(t)
  const value = zone(0)
  network.beforePut = async () => {
    assert.deepEqual(await table.get(ROW), { value: toHex(value), storedAt: 0 })
  }
  assert.equal(await start().publish(KEY, value), 1)
  assert.equal((await table.get(ROW))?.storedAt, 1_800_000_000_000)
  assert.equal(network.puts.length, 1)
})

test('a record that cannot be written to the disk is not put', async (t) => {
  const { network, table, start, zone } = world(t)
  table.put = async () => {
    throw new P2pnsError('disk_full', 'The disk is full')
  }
  await assert.rejects(start().publish(KEY, zone(0)), { code: 'disk_full' })
  assert.equal(network.puts.length, 0)
})

test('after a restart everything is put again at once, also what nobody took before', async (t) => {
  const { network, start, zone, pass } = world(t)
  const before = start()
  await before.publish(KEY, zone(0))
  network.up = false
  const other = pairOf(8)
  assert.equal(await before.publish(zoneDhtKey(other.publicKey), zoneAt(other, 1).bytes), 0)
  network.up = true
  network.records.clear()
  start().start()
  await settled()
  assert.equal(network.records.size, 2)
  const puts = network.puts.length
  await pass(MINUTE)
  assert.equal(network.puts.length, puts)
})

test('a record is put again every 6 hours', async (t) => {
  const { network, start, zone, pass } = world(t)
  const publisher = start()
  publisher.start()
  await publisher.publish(KEY, zone(0))
  await pass(6 * HOUR - 1)
  assert.equal(network.puts.length, 1)
  await pass(1)
  assert.equal(network.puts.length, 2)
  await pass(6 * HOUR - 1)
  assert.equal(network.puts.length, 2)
  await pass(1)
  assert.equal(network.puts.length, 3)
})

test('a record that nobody took is tried again at the next check, and one that fails does not hold up the others', async (t) => {
  const { network, start, zone, pass } = world(t)
  const publisher = start()
  publisher.start()
  network.beforePut = async () => {
    throw new P2pnsError('network_unreachable', 'Nobody is there')
  }
  await assert.rejects(publisher.publish(KEY, zone(0)), { code: 'network_unreachable' })
  const other = pairOf(8)
  await assert.rejects(publisher.publish(zoneDhtKey(other.publicKey), zoneAt(other, 1).bytes))
  network.beforePut = async (key) => {
    if (toHex(key) === ROW) throw new P2pnsError('timed_out', 'Nobody answered')
  }
  await pass(MINUTE)
  assert.deepEqual([...network.records.keys()], [toHex(zoneDhtKey(other.publicKey))])
  network.beforePut = async () => {}
  await pass(MINUTE)
  assert.equal(network.records.size, 2)
})

test('a time of storing that is still to come, from a clock that was ahead, does not keep a record from being put', async (t) => {
  const { clock, network, start, zone, pass } = world(t)
  const publisher = start()
  clock.at += 365 * 24 * HOUR
  await publisher.publish(KEY, zone(-365 * 24 * HOUR))
  clock.at -= 365 * 24 * HOUR
  publisher.start()
  await settled()
  assert.equal(network.puts.length, 2)
  await pass(6 * HOUR)
  assert.equal(network.puts.length, 3)
})

test('a record that the network has a newer one of is not put any more', async (t) => {
  const { network, table, start, zone, pass } = world(t)
  const publisher = start()
  publisher.start()
  await publisher.publish(KEY, zone(0))
  network.plant(KEY, zone(5))
  await pass(6 * HOUR)
  assert.equal(await table.get(ROW), undefined)
  const puts = network.puts.length
  await pass(6 * HOUR)
  assert.equal(network.puts.length, puts)
})

test('a record of a lease that has ended is not put any more', async (t) => {
  const { clock, table, start, pass } = world(t)
  const realm = realmOfWitnesses(1)
  const lease = leaseOf(firstClaim(realm), realm)
  const key = leaseDhtKey(realmId(realm), 'alice')
  const publisher = start()
  publisher.start()
  await publisher.publish(key, encodeNamed(lease, zoneAt(owner, clock.at).bytes))
  await pass(90 * 24 * HOUR - 1)
  assert.notEqual(await table.get(toHex(key)), undefined)
  await pass(6 * HOUR)
  assert.equal(await table.get(toHex(key)), undefined)
})

test('what is published while its forerunner is being put again stays', async (t) => {
  const { network, table, start, zone } = world(t)
  const publisher = start()
  const [old, newer] = [zone(0), zone(5)]
  await publisher.publish(KEY, old)
  const gate = Promise.withResolvers<void>()
  network.beforePut = async (_key, value) => {
    if (value.length === old.length && toHex(value) === toHex(old)) await gate.promise
  }
  publisher.start()
  await settled()
  await publisher.publish(KEY, newer)
  gate.resolve()
  await settled()
  assert.equal((await table.get(ROW))?.value, toHex(newer))
  assert.equal(toHex(network.records.get(ROW) as Uint8Array), toHex(newer))
})

test('a look through the table that began before something newer was published puts only the newer', async (t) => {
  const { network, table, start, zone } = world(t)
  const publisher = start()
  const [old, newer] = [zone(0), zone(5)]
  await publisher.publish(KEY, old)
  const gate = Promise.withResolvers<void>()
  table.entries = async function* () {
    const picture = await table.get(ROW)
    await gate.promise
    yield [ROW, picture as Published]
  }
  publisher.start()
  await settled()
  await publisher.publish(KEY, newer)
  gate.resolve()
  await settled()
  assert.deepEqual(
    network.puts.map(({ value }) => toHex(value)),
    [old, newer, newer].map(toHex),
  )
  assert.equal((await table.get(ROW))?.value, toHex(newer))
})

test('a disk that fails is looked at again at the next check', async (t) => {
  const { network, table, start, zone, pass } = world(t)
  const publisher = start()
  await publisher.publish(KEY, zone(0))
  const entries = table.entries.bind(table)
  table.entries = () => {
    throw new P2pnsError('disk_error', 'The disk failed')
  }
  publisher.start()
  await settled()
  table.entries = entries
  await pass(6 * HOUR)
  assert.equal(network.puts.length, 2)
})

test('checks do not pile up behind a slow network', async (t) => {
  const { network, start, zone, pass } = world(t)
  const publisher = start()
  await publisher.publish(KEY, zone(0))
  const gate = Promise.withResolvers<void>()
  let waiting = 0
  network.beforePut = async () => {
    waiting++
    await gate.promise
  }
  publisher.start()
  for (let i = 0; i < 5; i++) await pass(6 * HOUR)
  assert.equal(waiting, 1)
  gate.resolve()
  await settled()
  assert.equal(network.puts.length, 2)
})

test('a publisher that stops waits for the put that is on its way and begins no other', async (t) => {
  const { network, start, zone } = world(t)
  const publisher = start()
  await publisher.publish(KEY, zone(0))
  const other = pairOf(8)
  await publisher.publish(zoneDhtKey(other.publicKey), zoneAt(other, 1).bytes)
  const gate = Promise.withResolvers<void>()
  network.beforePut = () => gate.promise
  publisher.start()
  await settled()
  let stopped = false
  const stop = publisher.stop().then(() => {
    stopped = true
  })
  await settled()
  assert.equal(stopped, false)
  gate.resolve()
  await stop
  assert.equal(network.puts.length, 3)
})
