import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { type TestContext, test } from 'node:test'
import { MemoryDatastore } from 'datastore-core'
import { P2pnsError } from '../../node/core/errors.ts'
import type { Host } from '../../node/net/host.ts'
import { isLoopback, onKeptPort, type PortTable, startHost } from '../../node/net/listen.ts'
import { memoryTable } from '../helpers/table.ts'
import { LOOPBACK } from '../helpers/testnet.ts'
import { pairOf } from '../helpers/zones.ts'

async function start(t: TestContext, ports: PortTable, listen?: string[]): Promise<Host> {
  const datastore = new MemoryDatastore()
  const host = await startHost(
    { key: pairOf(1), listen, datastore, role: 'peer', lan: false, takers: {}, now: Date.now },
    ports,
  )
  t.after(() => host.stop())
  return host
}

function portOf(host: Host): number {
  return Number(/\/tcp\/(\d+)/.exec(String(host.libp2p.getMultiaddrs()[0]))?.[1])
}

/** A port that another program has. */
async function takenPort(t: TestContext): Promise<number> {
  const server = createServer().listen(0, '0.0.0.0')
  t.after(() => server.close())
  await once(server, 'listening')
  return (server.address() as { port: number }).port
}

test('a host without orders listens on any port the first time and on the same one later', async (t) => {
  const ports = memoryTable<number>()
  const first = await start(t, ports)
  const port = portOf(first)
  await first.stop()
  assert.equal(portOf(await start(t, ports)), port)
})

test('a kept port that another program has taken is replaced by any other', async (t) => {
  const ports = memoryTable<number>()
  const taken = await takenPort(t)
  await ports.put('control', taken)
  assert.notEqual(portOf(await start(t, ports)), taken)
})

test('a port that a person chose is not replaced when it is taken', async (t) => {
  const taken = await takenPort(t)
  await assert.rejects(
    start(t, memoryTable(), [`/ip4/0.0.0.0/tcp/${taken}`]),
    (error: unknown) => error instanceof P2pnsError && error.code === 'port_in_use',
  )
})

test('orders are followed whatever was remembered, and nothing is remembered of them', async (t) => {
  const ports = memoryTable<number>()
  await ports.put('control', 4001)
  await start(t, ports, LOOPBACK)
  assert.equal(await ports.get('control'), 4001)
})

test('an error other than a taken port is not tried again', async () => {
  const ports = memoryTable<number>()
  await ports.put('x', 7)
  const tried: number[] = []
  const open = async (port: number): Promise<never> => {
    tried.push(port)
    throw new Error('broken')
  }
  await assert.rejects(onKeptPort(ports, 'x', open), /broken/)
  assert.deepEqual(tried, [7])
})

test('loopback is told from what only looks like it', () => {
  for (const address of ['/ip4/127.0.0.1/tcp/1', '/ip4/127.9.9.9/udp/1', '/ip6/::1/tcp/1/p2p/x']) {
    assert.equal(isLoopback(address), true, address)
  }
  for (const address of ['/ip4/10.127.0.1/tcp/1', '/ip4/12.7.0.0/tcp/1', '/ip6/::12/tcp/1', '/dns4/x/tcp/127', '']) {
    assert.equal(isLoopback(address), false, address)
  }
})
