import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isSelf, parseResolvConf, readSystemDns } from '../../resolver/system-servers.ts'
import { parseServer, type Server } from '../../resolver/upstream.ts'

const ETC = '/etc/resolv.conf'
const RESOLVED = '/run/systemd/resolve/resolv.conf'
const MANAGER = '/run/NetworkManager/no-stub-resolv.conf'

function hosts(
  files: Record<string, string>,
  self: (server: Server) => boolean = () => false,
  others: string[] = [],
): string[] {
  const { servers } = readSystemDns(
    (path) => files[path],
    () => others,
    self,
  )
  return servers.map(({ host, port }) => (port === 53 ? host : `${host} ${port}`))
}

test('a resolv.conf is read as the C library reads it', () => {
  const text = '# x\n; y\nnameserver 192.0.2.1 # home\n\tnameserver\t2001:db8::1\nnameserver nobody\noptions edns0\n'
  assert.deepEqual(parseResolvConf(`domain old.example\n${text}search Fritz.Box example.org\nsortlist`), {
    servers: ['192.0.2.1', '2001:db8::1'],
    search: ['fritz.box', 'example.org'],
  })
  assert.deepEqual(parseResolvConf('nameserver fe80::1%eth0').servers, ['fe80::1%eth0'])
  assert.deepEqual(parseResolvConf(''), { servers: [], search: [] })
})

test('behind the stub of systemd-resolved stand the servers that it asks', () => {
  const files = { [ETC]: 'nameserver 127.0.0.53\n', [RESOLVED]: 'nameserver 192.0.2.1\nnameserver 192.0.2.2\n' }
  assert.deepEqual(hosts(files), ['192.0.2.1', '192.0.2.2'])
  assert.deepEqual(hosts({ [ETC]: 'nameserver 127.0.0.53\n' }), ['127.0.0.53'], 'when nothing else is known')
})

test('we are never asked by ourselves: what the system used before is found elsewhere', () => {
  const self = (server: Server): boolean => isSelf({ host: '127.0.0.1', port: 53 }, server)
  const files = { [ETC]: 'nameserver 127.0.0.1\n', [MANAGER]: 'nameserver 192.0.2.9\n' }
  assert.deepEqual(hosts(files, self), ['192.0.2.9'])
  assert.deepEqual(hosts({ [ETC]: 'nameserver 127.0.0.1\nnameserver 192.0.2.1\n' }, self), ['192.0.2.1'])
  assert.deepEqual(hosts({ [ETC]: 'nameserver 127.0.0.1\n' }, self), [])
})

test('where no file names servers, those count that the system tells in another way', () => {
  assert.deepEqual(
    hosts({}, () => false, ['192.0.2.1', '192.0.2.2:5353']),
    ['192.0.2.1', '192.0.2.2 5353'],
  )
})

test('whoever listens on all addresses is each of them, at its port only', () => {
  const own = (): string[] => ['192.0.2.7', '::1']
  const listening = { host: '0.0.0.0', port: 53 }
  for (const address of ['127.0.0.53', '192.0.2.7', '[::1]:53']) {
    assert.ok(isSelf(listening, parseServer(address), own), address)
  }
  assert.ok(!isSelf(listening, parseServer('192.0.2.1'), own))
  assert.ok(!isSelf(listening, parseServer('192.0.2.7:5353'), own))
  assert.ok(!isSelf({ host: '127.0.0.1', port: 5354 }, parseServer('127.0.0.1'), own))
})
