import assert from 'node:assert/strict'
import { createServer } from 'node:net'
import { test } from 'node:test'
import { MemoryDatastore } from 'datastore-core'
import { createIntroducer } from '../../introducer/index.ts'
import { bootstrap, keepBootstrapped } from '../../node/net/bootstrap.ts'
import type { Host } from '../../node/net/host.ts'
import { Introducer } from '../../node/net/introducers.ts'
import { temporaryFolder } from '../helpers/folder.ts'
import { honestHost, meet } from '../helpers/hosts.ts'
import { introducerOf } from '../helpers/introducers.ts'
import { createTestnet, LOOPBACK } from '../helpers/testnet.ts'

const PEER = '12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp'

const peersOf = (host: Host) => host.libp2p.getPeers().map(String).sort()

function connectedTo(host: Host, other: Host): Promise<void> {
  return new Promise((resolve) => {
    const look = () => {
      if (peersOf(host).includes(other.libp2p.peerId.toString())) resolve()
    }
    host.libp2p.addEventListener('peer:connect', look)
    look()
  })
}

function aloneAgain(host: Host): Promise<void> {
  return new Promise((resolve) => {
    host.libp2p.addEventListener('peer:disconnect', () => {
      if (peersOf(host).length === 0) resolve()
    })
  })
}

test('a newcomer meets the introducer and the peers that it names', async (t) => {
  const intro = await createIntroducer({ home: await temporaryFolder(t), listen: LOOPBACK, bits: 0 })
  t.after(() => intro.stop())
  const [old, fresh] = [await honestHost(t, 'old'), await honestHost(t, 'fresh')]
  await bootstrap(old, [new Introducer(old.libp2p, intro.address, Date.now)])
  await bootstrap(fresh, [new Introducer(fresh.libp2p, intro.address, Date.now)])
  assert.ok(fresh.routingTable.size > 0)
  await connectedTo(fresh, old)
})

test('a node with nobody to ask is up at once, and alone', async (t) => {
  const host = await honestHost(t, 'alone')
  await bootstrap(host, [])
  assert.equal(host.routingTable.size, 0)
  await assert.rejects(host.dht.get(Buffer.from('/p2pns-z/x')), { code: 'network_unreachable' })
})

test('a node whose introducer is gone comes back through a peer that it met, after a restart too', async (t) => {
  const datastore = new MemoryDatastore()
  const [self, friend] = [await honestHost(t, 'self', { datastore }), await honestHost(t, 'friend')]
  await meet(self, friend)
  await self.stop()
  const again = await honestHost(t, 'self', { datastore })
  const dead = new Introducer(again.libp2p, `/ip4/127.0.0.1/tcp/1/p2p/${PEER}`, Date.now)
  await bootstrap(again, [dead])
  assert.deepEqual(peersOf(again), [friend.libp2p.peerId.toString()])
  assert.ok(again.routingTable.size > 0)
})

test('an introducer that hands out nonsense keeps nobody from the peers that are real', async (t) => {
  const [host, friend] = [await honestHost(t, 'host'), await honestHost(t, 'friend')]
  const real = String(friend.libp2p.getMultiaddrs()[0])
  const nonsense = ['', 'x', '/ip4/999.0.0.1/tcp/1', '/p2p/x', '/ip4/127.0.0.1/tcp/1', '/unix/a', `/p2p/${PEER}`]
  const own = String(host.libp2p.getMultiaddrs()[0])
  const hostile = await introducerOf(t, host, 'hostile', async () => [...nonsense, own, real])
  await bootstrap(host, [hostile])
  await connectedTo(host, friend)
})

test('an introducer that never answers does not keep a node from coming up', async (t) => {
  const host = await honestHost(t, 'host')
  const hole = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => hole.once('listening', resolve))
  t.after(() => hole.close())
  const { port } = hole.address() as { port: number }
  const silent = new Introducer(host.libp2p, `/ip4/127.0.0.1/tcp/${port}/p2p/${PEER}`, Date.now)
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const up = bootstrap(host, [silent])
  await new Promise((resolve) => hole.once('connection', resolve))
  t.mock.timers.tick(4_000)
  await up
  t.mock.timers.reset()
})

test('a round while an introducer cools down is no unhandled rejection', async (t) => {
  const host = await honestHost(t, 'host')
  const dead = new Introducer(host.libp2p, `/ip4/127.0.0.1/tcp/1/p2p/${PEER}`, Date.now)
  await assert.rejects(dead.connect(), { code: 'network_unreachable' })
  const slow = t.mock.method(host.libp2p.peerStore, 'all', async () => {
    for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve))
    return []
  })
  await bootstrap(host, [dead])
  assert.equal(slow.mock.callCount(), 1)
})

test('a node that lost everybody is not alone for long', async (t) => {
  const [host, friend] = [await honestHost(t, 'host'), await honestHost(t, 'friend')]
  await meet(host, friend)
  const alone = aloneAgain(host)
  await host.libp2p.hangUp(friend.libp2p.peerId)
  await alone
  t.mock.timers.enable({ apis: ['setInterval'] })
  const keeper = keepBootstrapped(host, [])
  t.after(() => keeper.stop())
  t.mock.timers.tick(15_000)
  t.mock.timers.reset()
  await connectedTo(host, friend)
})

test('a name resolves for a node that was restarted while every introducer was dead', async (t) => {
  const net = await createTestnet(t, { introducers: 1, nodes: 0 })
  const alice = await net.join()
  const home = await temporaryFolder(t)
  const bob = await net.join({ home })
  const { keyName } = await alice.register({ name: 'alice.p2p', records: [{ type: 'A', data: '192.0.2.7' }] })
  await bob.resolve('alice.p2p', 'A')
  await bob.stop()
  await net.introducers[0]?.stop()
  const again = await net.join({ home })
  assert.equal((await again.resolve(keyName, 'A', { policy: 'network' })).records[0]?.data, '192.0.2.7')
  assert.equal((await again.resolve('alice.p2p', 'A', { policy: 'network' })).records[0]?.data, '192.0.2.7')
})

test('a node with nobody says that it cannot ask, and exits as unreachable', async (t) => {
  const { nodes } = await createTestnet(t, { introducers: 0, nodes: 1 })
  const error = { code: 'network_unreachable', exitCode: 6 }
  const key = 'y'.repeat(52)
  await assert.rejects((nodes[0] as (typeof nodes)[0]).resolve(`${key}.p2p`), error)
})
