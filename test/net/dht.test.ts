/** Each trap of kad-dht that facts were gathered on, with a claim that fails without its remedy. */
import assert from 'node:assert/strict'
import { createServer } from 'node:net'
import { mock, test } from 'node:test'
import { multiaddr } from '@multiformats/multiaddr'
import { MemoryDatastore } from 'datastore-core'
import { CID } from 'multiformats/cid'
import * as raw from 'multiformats/codecs/raw'
import { sha256 } from 'multiformats/hashes/sha2'
import { equalBytes } from '../../node/core/encoding.ts'
import { P2pnsError } from '../../node/core/errors.ts'
import { zoneDhtKey } from '../../node/core/zone.ts'
import { recordKey } from '../../node/net/record-guard.ts'
import { encodeDhtRecord, honestHost, hostileHost, meet } from '../helpers/hosts.ts'
import { pairOf, zoneAt } from '../helpers/zones.ts'

const pair = pairOf(9)
const key = zoneDhtKey(pair.publicKey)
const older = zoneAt(pair, Date.now() - 60_000, '192.0.2.1')
const newer = zoneAt(pair, Date.now() - 1_000, '192.0.2.2')

async function drain(events: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of events);
}

function same(found: { value: Uint8Array } | undefined, expected: { bytes: Uint8Array }): boolean {
  return found !== undefined && equalBytes(found.value, expected.bytes)
}

test('a record that one peer puts is found by another that knows only a third', async (t) => {
  const [a, b, c] = [await honestHost(t, 'a'), await honestHost(t, 'b'), await honestHost(t, 'c')]
  await meet(a, b)
  assert.equal(await a.dht.put(key, newer.bytes), 1)
  await meet(c, b)
  assert.ok(same(await c.dht.get(key), newer))
})

test('a peer with nothing but private addresses still stores for others', async (t) => {
  const host = await honestHost(t, 'private')
  assert.equal(host.libp2p.services.dht.getMode(), 'server')
})

test('a visitor is no storing node', async (t) => {
  const [host, visitor] = [await honestHost(t, 'host'), await honestHost(t, 'visitor', { role: 'visitor' })]
  await visitor.libp2p.dial(host.libp2p.getMultiaddrs())
  await drain(visitor.libp2p.services.dht.getClosestPeers(key))
  assert.equal(visitor.libp2p.services.dht.getMode(), 'client')
  assert.equal(host.routingTable.size, 0)
})

test('an old record that a hostile client sends to every node changes nothing', async (t) => {
  const [a, b, c] = [await honestHost(t, 'a'), await honestHost(t, 'b'), await honestHost(t, 'c')]
  const attacker = await hostileHost(t, 'accepts')
  await meet(a, b, c)
  await a.dht.put(key, newer.bytes)
  await meet(attacker, a, b, c)
  await drain(attacker.libp2p.services.dht.put(key, older.bytes)).catch(() => {})
  for (const host of [a, b, c]) assert.ok(equalBytes((await host.records.value(key)) ?? new Uint8Array(0), newer.bytes))
})

test('a record without a signature, or of another key, is stored by nobody', async (t) => {
  const host = await honestHost(t, 'host')
  const attacker = await hostileHost(t, 'accepts')
  await meet(attacker, host)
  const forged = Uint8Array.from(newer.bytes)
  forged[forged.length - 1] = (forged[forged.length - 1] as number) ^ 1
  const otherKey = zoneDhtKey(pairOf(10).publicKey)
  await drain(attacker.libp2p.services.dht.put(key, forged)).catch(() => {})
  await drain(attacker.libp2p.services.dht.put(otherKey, newer.bytes)).catch(() => {})
  await drain(attacker.libp2p.services.dht.put(key, new Uint8Array(100_000))).catch(() => {})
  await drain(attacker.libp2p.services.dht.put(Buffer.from('/pk/0123456789'), newer.bytes)).catch(() => {})
  assert.equal(host.records.records, 0)
})

test('a get survives a storing node that holds an old record and refuses its correction', async (t) => {
  const [a, b] = [await honestHost(t, 'a'), await honestHost(t, 'b')]
  const liar = await hostileHost(t, 'refuses')
  await liar.datastore.put(recordKey(key), encodeDhtRecord(key, older.bytes, Date.now()))
  await meet(a, b)
  await a.dht.put(key, newer.bytes)
  const reader = await honestHost(t, 'reader')
  await meet(reader, b)
  // It answers as any DHT node does, and hands out what its own validator would refuse to take.
  await meet(reader, liar)
  assert.ok(same(await reader.dht.get(key), newer))
})

test('a get shows every valid answer, also the old one of a node that is behind', async (t) => {
  const [a, b] = [await honestHost(t, 'a'), await honestHost(t, 'b')]
  await a.records.store(key, older.bytes)
  await b.records.store(key, newer.bytes)
  const reader = await honestHost(t, 'reader')
  await Promise.all([meet(reader, a), meet(reader, b)])
  const seen: Uint8Array[] = []
  assert.ok(same(await reader.dht.get(key, { onSeen: (value) => void seen.push(value) }), newer))
  for (const record of [older, newer]) assert.ok(seen.some((value) => Buffer.compare(value, record.bytes) === 0))
})

test('a get with nobody to ask ends at once and says so', async (t) => {
  const host = await honestHost(t, 'alone')
  await assert.rejects(
    host.dht.get(key),
    (error: unknown) => error instanceof P2pnsError && error.code === 'network_unreachable',
  )
})

test('a get of what nobody has answers nothing, without an error', async (t) => {
  const [a, b] = [await honestHost(t, 'a'), await honestHost(t, 'b')]
  await meet(a, b)
  assert.equal(await a.dht.get(key), undefined)
})

test('a put refuses what this node itself knows to be older', async (t) => {
  const [a, b] = [await honestHost(t, 'a'), await honestHost(t, 'b')]
  await meet(a, b)
  await a.dht.put(key, newer.bytes)
  await assert.rejects(
    a.dht.put(key, older.bytes),
    (error: unknown) => error instanceof P2pnsError && error.code === 'record_older',
  )
})

test('a peer that accepts connections and never answers does not hold a get for the five seconds of the default', async (t) => {
  const [a, b] = [await honestHost(t, 'a'), await honestHost(t, 'b')]
  const hole = createServer(() => {}).listen(0, '127.0.0.1')
  await new Promise((resolve) => hole.once('listening', resolve))
  t.after(() => hole.close())
  const { port } = hole.address() as { port: number }
  await meet(a, b)
  await b.dht.put(key, newer.bytes)
  // The routing table of `a` knows a dead peer: a host that was there and whose port is now a black hole.
  const dead = await hostileHost(t, 'accepts')
  await meet(a, dead)
  const id = dead.libp2p.peerId
  await a.libp2p.hangUp(id)
  await dead.libp2p.stop()
  await a.libp2p.peerStore.patch(id, { multiaddrs: [multiaddr(`/ip4/127.0.0.1/tcp/${port}`)] })
  const started = performance.now()
  await drain(a.libp2p.services.dht.getClosestPeers(key))
  assert.ok(performance.now() - started < 4_500)
})

test('twenty newcomers from one host at once all reach an introducer', async (t) => {
  const introducer = await honestHost(t, 'introducer', { role: 'introducer' })
  const visitors = await Promise.all(
    Array.from({ length: 20 }, (_, i) => honestHost(t, `visitor ${i}`, { role: 'visitor' })),
  )
  const dials = await Promise.allSettled(visitors.map(({ libp2p }) => libp2p.dial(introducer.libp2p.getMultiaddrs())))
  assert.equal(dials.filter(({ status }) => status === 'fulfilled').length, 20)
})

test('a provider is still found with its address hours after it was met', async (t) => {
  const [a, b, c] = [await honestHost(t, 'a'), await honestHost(t, 'b'), await honestHost(t, 'c')]
  const cid = CID.createV1(raw.code, await sha256.digest(new Uint8Array([1])))
  await meet(a, b)
  await a.dht.provide(cid)
  await a.libp2p.hangUp(b.libp2p.peerId)
  mock.timers.enable({ apis: ['Date'], now: Date.now() + 8 * 3600_000 })
  t.after(() => mock.timers.reset())
  await meet(c, b)
  const found = []
  for await (const provider of c.dht.providers(cid)) found.push(provider)
  assert.deepEqual(
    found.map(({ id, addresses }) => [id.toString(), addresses.length > 0]),
    [[a.libp2p.peerId.toString(), true]],
  )
})

test('records are kept over a restart of the storing node', async (t) => {
  const datastore = new MemoryDatastore()
  const [a, b] = [await honestHost(t, 'a'), await honestHost(t, 'b', { datastore })]
  await meet(a, b)
  await a.dht.put(key, newer.bytes)
  await b.stop()
  const again = await honestHost(t, 'b', { datastore })
  const c = await honestHost(t, 'c')
  await meet(c, again)
  assert.ok(same(await c.dht.get(key), newer))
})
