import assert from 'node:assert/strict'
import { syncBuiltinESMExports } from 'node:module'
import os, { type NetworkInterfaceInfo } from 'node:os'
import { type TestContext, test } from 'node:test'
import { MAX_HOSTS } from '../../node/core/hosts.ts'
import { interfaceHosts, isWorthTrying, ownHosts, watchInterfaces } from '../../node/net/whereabouts.ts'

/** The machine has these addresses, until the function that is returned is told others. */
function machineWith(t: TestContext, ...addresses: string[]): (...addresses: string[]) => void {
  let now = addresses
  t.mock.method(os, 'networkInterfaces', () => ({ lo: [infoOf('127.0.0.1')], eth0: now.map(infoOf) }))
  syncBuiltinESMExports()
  t.after(() => {
    t.mock.restoreAll()
    syncBuiltinESMExports()
  })
  return (...changed) => {
    now = changed
  }
}

function infoOf(address: string): NetworkInterfaceInfo {
  const common = { address, netmask: '', mac: '', internal: address.startsWith('127.') }
  if (!address.includes(':')) return { ...common, family: 'IPv4', cidr: `${address}/24` }
  return { ...common, family: 'IPv6', cidr: `${address}/64`, scopeid: address.startsWith('fe80') ? 2 : 0 }
}

const PORTS = { tcp: 1, udp: 2 }
const STRANGER = { host: '198.51.100.7', port: 7 }
const textOf = (hosts: ReturnType<typeof ownHosts>): string[] =>
  hosts.map(({ use, host, port }) => `${use} ${host} ${port}`)

test('what may be public is told before what is not', (t) => {
  machineWith(t, '192.168.1.5')
  const outside = {
    udp: { host: '203.0.113.1', port: 20 },
    punch: { host: '203.0.113.1', port: 30 },
    mapped: { tcp: { host: '203.0.113.1', port: 10 }, udp: { host: '203.0.113.1', port: 20 } },
  }
  assert.deepEqual(textOf(ownHosts(PORTS, outside, STRANGER)), [
    'tcp 203.0.113.1 10',
    'udp 203.0.113.1 20',
    'punch 203.0.113.1 30',
    'tcp 192.168.1.5 1',
    'udp 192.168.1.5 2',
  ])
})

test('only programs on this machine are told of its loopback address', (t) => {
  machineWith(t, '192.168.1.5')
  const inside = ['tcp 192.168.1.5 1', 'udp 192.168.1.5 2']
  assert.deepEqual(textOf(ownHosts(PORTS, {}, STRANGER)), inside)
  assert.deepEqual(textOf(ownHosts(PORTS, {}, undefined)), inside)
  assert.deepEqual(textOf(ownHosts(PORTS, {}, { host: '127.0.0.1', port: 7 })), [
    'tcp 127.0.0.1 1',
    'udp 127.0.0.1 2',
    ...inside,
  ])
})

test('nothing is told of a port that there is not, nor more than a message may hold', (t) => {
  machineWith(t, ...Array.from({ length: 20 }, (_, i) => `10.0.0.${i}`), 'fd00::1', 'fe80::1')
  assert.deepEqual(ownHosts({ tcp: 0, udp: 0 }, {}, STRANGER), [])
  assert.ok(ownHosts({ tcp: 0, udp: 2 }, {}, STRANGER).every(({ use }) => use === 'udp'))
  const many = textOf(ownHosts(PORTS, { punch: { host: '203.0.113.1', port: 3 } }, STRANGER))
  assert.ok(many.length <= MAX_HOSTS)
  // The many of one kind leave room for the other.
  assert.ok(many.includes('tcp fd00::1 1'))
  assert.ok(!interfaceHosts().includes('fe80::1'))
})

test('a stranger cannot send us to this machine or into our network, and who is in it can', (t) => {
  machineWith(t, '192.168.1.5')
  const worth = (host: string, theirs: string, ours?: string): boolean =>
    isWorthTrying({ host, port: 1 }, { host: theirs, port: 1 }, ours)
  const cases: [string, string, string | undefined, boolean][] = [
    ['198.51.100.7', '198.51.100.7', undefined, true],
    ['198.51.100.9', '198.51.100.7', undefined, true],
    ['127.0.0.1', '198.51.100.7', undefined, false],
    ['::1', '198.51.100.7', undefined, false],
    ['0.0.0.0', '198.51.100.7', undefined, false],
    ['127.0.0.1', '192.168.1.9', undefined, false],
    ['127.0.0.1', '127.0.0.1', undefined, true],
    ['10.0.0.1', '198.51.100.7', '203.0.113.1', false],
    ['169.254.169.254', '198.51.100.7', '203.0.113.1', false],
    // From behind the same NAT as we are.
    ['10.0.0.1', '203.0.113.1', '203.0.113.1', true],
    ['10.0.0.1', '10.0.0.1', undefined, true],
    ['10.0.0.1', '192.168.1.9', undefined, true],
    ['224.0.0.1', '198.51.100.7', undefined, false],
    ['255.255.255.255', '192.168.1.9', undefined, false],
  ]
  for (const [host, theirs, ours, is] of cases) assert.equal(worth(host, theirs, ours), is, `${host} from ${theirs}`)
})

test('an address that comes or goes is told of, and one that goes as lost', (t) => {
  const change = machineWith(t, '192.168.1.5')
  t.mock.timers.enable({ apis: ['setInterval'] })
  const told: string[] = []
  const watch = watchInterfaces({ onChange: () => told.push('changed'), onLost: () => told.push('lost') })
  const afterASecond = (): string[] => {
    t.mock.timers.tick(1_000)
    return told.splice(0)
  }
  assert.deepEqual(afterASecond(), [])
  change('192.168.1.5', '10.0.0.1')
  assert.deepEqual(afterASecond(), ['changed'])
  assert.deepEqual(afterASecond(), [])
  change('10.0.0.1')
  assert.deepEqual(afterASecond(), ['lost', 'changed'])
  watch.stop()
  change()
  assert.deepEqual(afterASecond(), [])
})
