import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import * as fc from 'fast-check'
import { toHex } from '../../node/core/encoding.ts'
import { P2pnsError } from '../../node/core/errors.ts'
import { zoneKey } from '../../node/core/keys.ts'
import { rrFromText, TYPE, txtStrings } from '../../node/core/rdata.ts'
import { lookupInZone, parseZone, signZone, type Zone, zoneDhtKey } from '../../node/core/zone.ts'
import type { OwnZone } from '../../node/own-zones.ts'
import type { Table } from '../../node/store.ts'
import { Clock, DAY, emptyDisk, FakeNetwork, HOUR, MINUTE, settled, startHome } from './harness.ts'

const PAIR = zoneKey(new Uint8Array(32).fill(1), 'alice')
const KEY = zoneDhtKey(PAIR.publicKey)
const SELF = '/ip4/192.0.2.1/tcp/4001/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN'
const MOVED = SELF.replace('192.0.2.1', '192.0.2.2')

const a = (data: string) => rrFromText({ type: 'A', data })

function world(t: TestContext) {
  t.mock.timers.enable({ apis: ['setInterval'] })
  const clock = new Clock()
  const network = new FakeNetwork(clock.now)
  const self = {
    clock,
    network,
    disk: emptyDisk(),
    addresses: [SELF],
    start: async () => (await startHome({ clock, network, disk: self.disk, addresses: () => self.addresses })).own,
    /** What the network holds of `alice`. */
    published: (): Zone => parseZone(network.records.get(toHex(KEY)) as Uint8Array, { key: PAIR.publicKey }),
    pass: async (ms: number) => {
      clock.at += ms
      t.mock.timers.tick(MINUTE)
      await settled()
    },
  }
  return self
}

/** The A records and the addresses of peers in a zone. */
function says(zone: Zone | undefined): { a: string[]; peers: string[] } {
  const found = (label: string, type: number) => (zone ? lookupInZone(zone, label, type).rrs : [])
  return {
    a: found('', TYPE.A).map((rr) => rr.rdata.join('.')),
    peers: found('_dnsaddr', TYPE.TXT).map((rr) => txtStrings(rr.rdata).join('')),
  }
}

const withA = (own: OwnZone, data: string): OwnZone => ({ ...own, rrs: [a(data)] })

test('a zone is on the disk before anybody else sees it, and is there after a restart', async (t) => {
  const self = world(t)
  const own = await self.start()
  self.network.beforePut = async (_key, value) => {
    assert.equal((await self.disk.zones.get('alice'))?.signed, toHex(value))
  }
  assert.equal(await own.publish(withA(await own.open('alice'), '192.0.2.7')), 1)
  assert.deepEqual(says(self.published()), { a: ['192.0.2.7'], peers: [`dnsaddr=${SELF}`] })
  const again = (await self.start()).byLabel('alice')
  assert.deepEqual(again?.zone, own.byLabel('alice')?.zone)
  assert.deepEqual(again?.rrs, [a('192.0.2.7')])
  assert.equal(again?.keyName, own.byKey(PAIR.publicKey)?.keyName)
})

test('seq only grows, whatever the clock does and however often the home is restarted', async (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] })
  const steps = fc.array(fc.record({ by: fc.integer({ min: -9 * MINUTE, max: DAY }), restart: fc.boolean() }), {
    maxLength: 6,
  })
  await fc.assert(
    fc.asyncProperty(steps, async (changes) => {
      const clock = new Clock()
      const network = new FakeNetwork(clock.now)
      const disk = emptyDisk()
      let home = await startHome({ clock, network, disk })
      let last = 0n
      let highest = clock.at
      for (const { by, restart } of changes) {
        // Back from the highest time seen, so that a record stays within the 10 minutes that readers allow.
        clock.at = by < 0 ? highest + by : clock.at + by
        highest = Math.max(highest, clock.at)
        if (restart) home = await startHome({ clock, network, disk })
        await home.own.publish(await home.own.open('alice'))
        const seq = home.own.byLabel('alice')?.zone?.seq as bigint
        assert.ok(seq > last)
        last = seq
      }
    }),
    { numRuns: 30 },
  )
})

test('a home that was restored from its seed keeps its records and goes on after the seq that the network has', async (t) => {
  const self = world(t)
  const before = await self.start()
  await before.publish(withA(await before.open('alice'), '192.0.2.7'))
  const { seq } = self.published()
  self.disk = emptyDisk()
  self.clock.at -= 5 * MINUTE
  const restored = await self.start()
  const own = await restored.open('alice')
  assert.deepEqual(says(own.zone).a, ['192.0.2.7'])
  await restored.publish(own)
  assert.equal(self.published().seq, seq + 1n)
  assert.deepEqual(says(self.published()), { a: ['192.0.2.7'], peers: [`dnsaddr=${SELF}`] })
})

test('opening a zone changes nothing before it is published', async (t) => {
  const self = world(t)
  const own = await self.start()
  await own.open('alice')
  assert.deepEqual(own.all(), [])
  assert.equal(await self.disk.zones.get('alice'), undefined)
  assert.equal(self.network.puts.length, 0)
})

test('a first zone is made without a network too, but not over a record that could not be read for another reason', async (t) => {
  const self = world(t)
  self.network.up = false
  const own = await self.start()
  assert.equal(await own.publish(await own.open('alice')), 0)
  self.network.answer = async () => {
    throw new P2pnsError('timed_out', 'Nobody answered in time')
  }
  await assert.rejects(own.open('bob'), { code: 'timed_out' })
})

test('a zone that is too large, or cannot be written to the disk, leaves everything as it was', async (t) => {
  const self = world(t)
  const own = await self.start()
  await own.publish(withA(await own.open('alice'), '192.0.2.7'))
  const [zone, row] = [own.byLabel('alice')?.zone, await self.disk.zones.get('alice')]
  const puts = self.network.puts.length
  const rrs = Array.from({ length: 40 }, () => rrFromText({ type: 'TXT', data: 'x'.repeat(250) }))
  await assert.rejects(own.publish({ ...(await own.open('alice')), rrs }), { code: 'too_large' })
  self.disk.zones.put = async () => {
    throw new P2pnsError('disk_full', 'The disk is full')
  }
  await assert.rejects(own.publish(withA(await own.open('alice'), '192.0.2.8')), { code: 'disk_full' })
  assert.equal(own.byLabel('alice')?.zone, zone)
  assert.deepEqual(await self.disk.zones.get('alice'), row)
  assert.equal(self.network.puts.length, puts)
})

test('a zone that names an address which this node no longer has is signed anew at the start', async (t) => {
  const self = world(t)
  const before = await self.start()
  await before.publish(withA(await before.open('alice'), '192.0.2.7'))
  self.addresses = [MOVED]
  self.clock.at += HOUR
  const own = await self.start()
  own.start()
  await settled()
  assert.deepEqual(says(self.published()), { a: ['192.0.2.7'], peers: [`dnsaddr=${MOVED}`] })
  const puts = self.network.puts.length
  await self.pass(HOUR)
  assert.equal(self.network.puts.length, puts, 'and not again without need')
  own.stop()
})

test('an address that comes while the node runs is published within a minute', async (t) => {
  const self = world(t)
  const own = await self.start()
  await own.publish(await own.open('alice'))
  own.start()
  self.addresses = [SELF, MOVED]
  await self.pass(MINUTE)
  assert.deepEqual(says(self.published()).peers, [`dnsaddr=${SELF}`, `dnsaddr=${MOVED}`])
  own.stop()
})

test('a record is signed anew before it is a day old', async (t) => {
  const self = world(t)
  const own = await self.start()
  await own.publish(withA(await own.open('alice'), '192.0.2.7'))
  const { seq } = self.published()
  own.start()
  await self.pass(20 * HOUR)
  assert.equal(self.published().seq, seq)
  await self.pass(MINUTE)
  assert.equal(self.published().seq, BigInt(self.clock.at) * 1000n)
  assert.deepEqual(says(self.published()).a, ['192.0.2.7'])
  own.stop()
  await self.pass(30 * HOUR)
  assert.equal(self.published().seq, BigInt(self.clock.at - 30 * HOUR) * 1000n, 'not after it was stopped')
})

test('nothing is signed anew before the network can be read, since it may hold something newer', async (t) => {
  const self = world(t)
  const before = await self.start()
  await before.publish(withA(await before.open('alice'), '192.0.2.7'))
  self.clock.at += 2 * DAY
  // Another machine with the same seed, meanwhile.
  self.network.plant(KEY, signZone(PAIR, BigInt(self.clock.at - DAY) * 1000n, [a('192.0.2.8')]).bytes)
  self.network.up = false
  const own = await self.start()
  own.start()
  await settled()
  assert.deepEqual(says(own.byLabel('alice')?.zone).a, ['192.0.2.7'])
  self.network.up = true
  await self.pass(MINUTE)
  assert.deepEqual(says(self.published()), { a: ['192.0.2.8'], peers: [`dnsaddr=${SELF}`] })
  assert.deepEqual(own.byLabel('alice')?.rrs, [a('192.0.2.8')])
  own.stop()
})

test('a change on top of a zone that another machine made newer is refused once and then goes on top of that', async (t) => {
  const self = world(t)
  const own = await self.start()
  await own.publish(withA(await own.open('alice'), '192.0.2.7'))
  const ahead = BigInt(self.clock.at + 5 * MINUTE) * 1000n
  self.network.plant(KEY, signZone(PAIR, ahead, [a('192.0.2.8')]).bytes)
  self.clock.at += MINUTE
  await assert.rejects(own.publish(withA(await own.open('alice'), '192.0.2.9')), { code: 'record_older' })
  const taken = await own.open('alice')
  assert.deepEqual(says(taken.zone).a, ['192.0.2.8'])
  assert.deepEqual(says((await self.start()).byLabel('alice')?.zone).a, ['192.0.2.8'], 'also on the disk')
  assert.equal(await own.publish({ ...taken, rrs: [...taken.rrs, a('192.0.2.9')] }), 1)
  assert.equal(self.published().seq, ahead + 1n)
  assert.deepEqual(says(self.published()).a, ['192.0.2.8', '192.0.2.9'])
})

test('signing anew never undoes a change that is made meanwhile', async (t) => {
  const self = world(t)
  const own = await self.start()
  await own.publish(withA(await own.open('aaron'), '192.0.2.1'))
  await own.publish(withA(await own.open('alice'), '192.0.2.7'))
  self.clock.at += DAY
  const gate = Promise.withResolvers<void>()
  const answer = self.network.answer
  self.network.answer = async (key, options) => {
    await gate.promise
    return answer(key, options)
  }
  own.start()
  await settled()
  // The check is held up at aaron; a change of alice is asked for.
  const change = own.oneAtATime('alice', async () => own.publish(withA(await own.open('alice'), '192.0.2.8')))
  await change
  gate.resolve()
  await settled()
  assert.deepEqual(says(own.byLabel('alice')?.zone).a, ['192.0.2.8'])
  assert.deepEqual(says(self.published()).a, ['192.0.2.8'])
  own.stop()
})

test('whatever step a kill comes at, what was acknowledged is there and what the network saw is not newer than the disk', async (t) => {
  for (let steps = 0; steps < 8; steps++) {
    const self = world(t)
    const own = await self.start()
    await own.publish(withA(await own.open('alice'), '192.0.2.7'))
    let left = steps
    const dying = <T>(table: Table<T>): Table<T> => ({
      ...table,
      put: (key, value) => (left-- > 0 ? table.put(key, value) : new Promise<void>(() => {})),
    })
    const home = await startHome({
      clock: self.clock,
      network: self.network,
      disk: { ...self.disk, zones: dying(self.disk.zones), published: dying(self.disk.published) },
    })
    self.network.beforePut = () => (left-- > 0 ? Promise.resolve() : new Promise<void>(() => {}))
    self.clock.at += HOUR
    let acknowledged = false
    void home.own.publish(withA(await home.own.open('alice'), '192.0.2.8')).then(() => {
      acknowledged = true
    })
    await settled()
    self.network.beforePut = async () => {}
    const again = await self.start()
    const zone = again.byLabel('alice')?.zone
    assert.deepEqual(says(zone).a, [steps > 0 ? '192.0.2.8' : '192.0.2.7'])
    assert.ok((zone as Zone).seq >= self.published().seq)
    assert.equal(acknowledged, steps > 3)
    t.mock.timers.reset()
  }
})
