/** `p2pns dns setup` on machines of its own, with the real programs: every other name goes on as before. */
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { type TestContext, test } from 'node:test'
import { ADDRESS, cannotIsolate, DnsMachine, type Ran } from './dns-machine.ts'

const OURS = '192.0.2.7'
const OUTSIDE = '198.51.100.9'
const RESOLVER = ['--dns', '127.0.0.1:5354']

function worked({ code, stdout, stderr }: Ran): string {
  assert.equal(code, 0, stdout + stderr)
  return stdout
}

/** What must hold of a machine that asks a DNS server of its own, which forwards the rest. */
async function forwards(t: TestContext, system: string, machine: DnsMachine, file: string): Promise<void> {
  const read = async (): Promise<unknown> => [
    await machine.run('ls', '-laR', '--time-style=+', '/etc'),
    await machine.read(file),
  ]
  await machine.outside(OUTSIDE)
  await machine.resolver(5354)
  worked(await machine.run('service', system, 'restart'))
  const before = await read()
  await t.test('before, .p2p is asked of others', async () => {
    assert.equal(await machine.addressOf('alice.p2p'), undefined)
    assert.ok((await machine.askedOutside()).includes('alice.p2p'))
  })
  await t.test('it is found out what the machine uses, and showing changes nothing', async () => {
    const shown = JSON.parse(worked(await machine.p2pns('dns', 'setup', '--json', ...RESOLVER))) as { system: string }
    assert.equal(shown.system, system)
    assert.deepEqual(await read(), before)
  })
  await t.test('after --apply every program finds .p2p, and all other names as before', async () => {
    worked(await machine.p2pns('dns', 'setup', '--apply', ...RESOLVER))
    assert.equal(await machine.addressOf('alice.p2p'), OURS)
    assert.equal(await machine.addressOf('example.com'), OUTSIDE)
    assert.equal(await machine.addressOf('bob.p2p'), undefined)
    const asked = await machine.askedOutside()
    assert.ok(asked.includes('example.com'))
    assert.deepEqual(
      asked.filter((name) => name.endsWith('p2p')),
      [],
    )
  })
  await t.test('a second --apply changes nothing', async () => {
    const again = JSON.parse(worked(await machine.p2pns('dns', 'setup', '--apply', '--json', ...RESOLVER))) as object
    assert.equal((again as { state: string }).state, 'unchanged')
  })
  await t.test('after --undo every file is as it was', async () => {
    worked(await machine.p2pns('dns', 'setup', '--undo'))
    assert.deepEqual(await read(), before)
    assert.equal(await machine.addressOf('alice.p2p'), undefined)
    assert.equal(await machine.addressOf('example.com'), OUTSIDE)
  })
}

const LOCAL = 'nameserver 127.0.0.1\noptions timeout:2 attempts:1\n'
const ROOT_KEY = '20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D'

const DNSMASQ = `no-resolv
listen-address=127.0.0.1
bind-interfaces
user=root
pid-file=
cache-size=0
server=${ADDRESS}`

const UNBOUND = `server:
  interface: 127.0.0.1
  do-daemonize: no
  use-syslog: no
  chroot: ""
  username: ""
  pidfile: ""
  trust-anchor-file: ""
forward-zone:
  name: "."
  forward-addr: ${ADDRESS}
`

const noDnsmasq = cannotIsolate('dnsmasq', 'dig')
const noUnbound = cannotIsolate('unbound', 'unbound-checkconf', 'dig')

async function withDnsmasq(t: TestContext, text: string): Promise<DnsMachine> {
  const machine = await DnsMachine.create(t, LOCAL)
  await machine.run('rm', '-f', '/etc/default/dnsmasq')
  await machine.write('/etc/dnsmasq.conf', text)
  await machine.service('127.0.0.1', 'dnsmasq --keep-in-foreground')
  return machine
}

async function withUnbound(t: TestContext, text: string): Promise<DnsMachine> {
  const machine = await DnsMachine.create(t, LOCAL)
  await machine.run('rm', '-rf', '/etc/unbound')
  await machine.write('/etc/unbound/unbound.conf', text)
  await machine.service('127.0.0.1', 'unbound')
  return machine
}

test('dnsmasq with a folder of files forwards .p2p', { skip: noDnsmasq }, async (t) => {
  const machine = await withDnsmasq(t, `conf-dir=/etc/dnsmasq.d/,*.conf\n${DNSMASQ}\n`)
  await machine.write('/etc/dnsmasq.d/other.conf', '# somebody else\n')
  await forwards(t, 'dnsmasq', machine, '/etc/dnsmasq.conf')
})

test('dnsmasq with a single file forwards .p2p', { skip: noDnsmasq }, async (t) => {
  const withoutLastLineFeed = await withDnsmasq(t, DNSMASQ)
  await forwards(t, 'dnsmasq', withoutLastLineFeed, '/etc/dnsmasq.conf')
})

test('unbound with a folder of files forwards .p2p', { skip: noUnbound }, async (t) => {
  const machine = await withUnbound(t, `${UNBOUND}include-toplevel: "/etc/unbound/unbound.conf.d/*.conf"\n`)
  await machine.write('/etc/unbound/unbound.conf.d/other.conf', 'server:\n  prefetch: yes\n')
  await forwards(t, 'unbound', machine, '/etc/unbound/unbound.conf')
})

test('unbound with a single file forwards .p2p', { skip: noUnbound }, async (t) => {
  await forwards(t, 'unbound', await withUnbound(t, UNBOUND), '/etc/unbound/unbound.conf')
})

for (const [name, skip, create] of [
  [
    'dnsmasq',
    noDnsmasq,
    (t: TestContext) =>
      withDnsmasq(
        t,
        `${DNSMASQ.replace('cache-size=0\n', '')}\ndnssec\ntrust-anchor=.,${ROOT_KEY.replaceAll(' ', ',')}\n`,
      ),
  ],
  [
    'unbound',
    noUnbound,
    (t: TestContext) => withUnbound(t, UNBOUND.replace('trust-anchor-file: ""', `trust-anchor: ". DS ${ROOT_KEY}"`)),
  ],
] as const) {
  test(`${name} that checks DNSSEC finds .p2p, which nobody has signed`, { skip }, async (t) => {
    const machine = await create(t)
    await machine.outside(OUTSIDE)
    await machine.resolver(5354)
    worked(await machine.p2pns('dns', 'setup', '--apply', ...RESOLVER, '--system', name))
    assert.equal(await machine.addressOf('alice.p2p'), OURS)
    // It does check: the other server signs nothing.
    assert.equal(await machine.addressOf('example.com'), undefined)
  })
}

test('a service that does not take the new file gets the old one back', { skip: noUnbound }, async (t) => {
  const machine = await withUnbound(t, `${UNBOUND}include-toplevel: "/etc/unbound/unbound.conf.d/*.conf"\n`)
  await machine.write(
    '/etc/unbound/unbound.conf.d/other.conf',
    'forward-zone:\n  name: "p2p"\n  forward-addr: 127.0.0.9\n',
  )
  await machine.service('127.0.0.1', 'grep -qs do-not /etc/unbound/unbound.conf.d/* && exit 1; exec unbound')
  await machine.outside(OUTSIDE)
  worked(await machine.run('service', 'unbound', 'restart'))
  const { code, stderr } = await machine.p2pns('dns', 'setup', '--apply', ...RESOLVER)
  assert.equal(code, 1)
  assert.match(stderr, /failed/)
  assert.equal(await machine.read('/etc/unbound/unbound.conf.d/p2pns.conf'), undefined)
  assert.equal(await machine.addressOf('example.com'), OUTSIDE)
})

test('resolv.conf asks our resolver only when it forwards at port 53, and the old servers when it is gone', {
  skip: cannotIsolate(),
}, async (t) => {
  const text = `# by hand\nsearch lan\nnameserver ${ADDRESS}\noptions timeout:2 attempts:1`
  const machine = await DnsMachine.create(t, text)
  const setup = (...args: string[]): Promise<Ran> => machine.p2pns('dns', 'setup', ...args)
  const refused = async (why: RegExp, ...args: string[]): Promise<void> => {
    const { code, stderr } = await setup('--apply', ...args)
    assert.equal(code, 5)
    assert.match(stderr, why)
    assert.equal(await machine.read('/etc/resolv.conf'), text)
  }
  await machine.outside(OUTSIDE)
  await machine.resolver(5354)
  await refused(/knows no ports.*p2pns up --dns 127\.0\.0\.1:53 --upstream system/, ...RESOLVER)
  const at53 = ['--dns', '127.0.0.1:53']
  await refused(/nobody at 127\.0\.0\.1:53 answers both/, ...at53)
  await machine.resolver(53)
  await refused(/nobody at 127\.0\.0\.1:53 answers both/, ...at53)
  await machine.resolver(53, 'system')
  worked(await setup('--apply', ...at53))
  assert.equal(await machine.addressOf('alice.p2p'), OURS)
  assert.equal(await machine.addressOf('example.com'), OUTSIDE)
  await machine.stopResolver()
  assert.equal(await machine.addressOf('example.com'), OUTSIDE)
  worked(await setup('--undo'))
  assert.equal(await machine.read('/etc/resolv.conf'), text)
})

test('resolv.conf that others have changed since loses only what is ours', { skip: cannotIsolate() }, async (t) => {
  const machine = await DnsMachine.create(t, `nameserver ${ADDRESS}\n`)
  await machine.outside(OUTSIDE)
  await machine.resolver(53, `${ADDRESS}:53`)
  worked(await machine.p2pns('dns', 'setup', '--apply', '--dns', '127.0.0.1:53'))
  await machine.run('sh', '-c', 'echo "search lan" >> /etc/resolv.conf')
  const { changed } = JSON.parse(worked(await machine.p2pns('dns', 'setup', '--undo', '--json'))) as {
    changed: string[]
  }
  assert.deepEqual(changed, ['/etc/resolv.conf'])
  assert.equal(await machine.read('/etc/resolv.conf'), `nameserver ${ADDRESS}\nsearch lan\n`)
})

const RESOLVED = '/lib/systemd/systemd-resolved'

test('systemd-resolved asks us for .p2p, and the DNS server of the network for all else, also when we are gone', {
  skip: cannotIsolate('dig') || (!existsSync(RESOLVED) && 'needs systemd-resolved'),
}, async (t) => {
  const machine = await DnsMachine.create(t, 'nameserver 127.0.0.53\noptions timeout:2 attempts:1\n')
  const users = 'systemd-resolve:x:990:990::/:/usr/sbin/nologin'
  await machine.run(
    'sh',
    '-c',
    `id systemd-resolve || { echo ${users} >> /etc/passwd; echo systemd-resolve:x:990: >> /etc/group; }`,
  )
  await machine.run('sh', '-c', 'rm -rf /etc/systemd/resolved.conf*')
  const link = worked(await machine.run('sh', '-c', 'ip -o link show eth0')).split(':')[0]
  await machine.write(
    `/run/systemd/netif/links/${link}`,
    `ADMIN_STATE=configured\nOPER_STATE=routable\nDNS=${ADDRESS}\n`,
  )
  await machine.write('/run/systemd/netif/state', 'OPER_STATE=routable\n')
  await machine.service('127.0.0.53', RESOLVED)
  await forwards(t, 'systemd-resolved', machine, '/etc/resolv.conf')
  worked(await machine.p2pns('dns', 'setup', '--apply', ...RESOLVER))
  await machine.stopResolver()
  assert.equal(await machine.addressOf('example.net'), OUTSIDE)
})
