import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isLoopback, listenAddresses, rememberControlPort } from '../../node/net/listen.ts'
import { honestHost } from '../helpers/hosts.ts'
import { memoryTable } from '../helpers/table.ts'
import { LOOPBACK } from '../helpers/testnet.ts'

test('a host without orders listens on any port the first time and on the same one later', async (t) => {
  const ports = memoryTable<number>()
  assert.deepEqual(await listenAddresses(undefined, ports), ['/ip4/0.0.0.0/tcp/0'])
  const { libp2p } = await honestHost(t, 'host')
  await rememberControlPort(libp2p, ports)
  const port = /\/tcp\/(\d+)/.exec(String(libp2p.getMultiaddrs()[0]))?.[1]
  assert.deepEqual(await listenAddresses(undefined, ports), [`/ip4/0.0.0.0/tcp/${port}`])
})

test('orders are followed whatever was remembered', async () => {
  const ports = memoryTable<number>()
  await ports.put('control', 4001)
  assert.deepEqual(await listenAddresses(LOOPBACK, ports), LOOPBACK)
  assert.deepEqual(await listenAddresses([], ports), [])
})

test('a host that listens nowhere remembers nothing', async (t) => {
  const ports = memoryTable<number>()
  const { libp2p } = await honestHost(t, 'visitor', { role: 'visitor' })
  await rememberControlPort(libp2p, ports)
  assert.equal(await ports.get('control'), undefined)
})

test('loopback is told from what only looks like it', () => {
  for (const address of ['/ip4/127.0.0.1/tcp/1', '/ip4/127.9.9.9/udp/1', '/ip6/::1/tcp/1/p2p/x']) {
    assert.equal(isLoopback(address), true, address)
  }
  for (const address of ['/ip4/10.127.0.1/tcp/1', '/ip4/12.7.0.0/tcp/1', '/ip6/::12/tcp/1', '/dns4/x/tcp/127', '']) {
    assert.equal(isLoopback(address), false, address)
  }
})
