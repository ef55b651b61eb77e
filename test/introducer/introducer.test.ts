import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import * as fs from 'node:fs/promises'
import * as path from 'node:path'
import { type TestContext, test } from 'node:test'
import { createIntroducer, type IntroducerOptions, type RunningIntroducer } from '../../introducer/index.ts'
import { encodeAuth, encodeClaim, signClaim } from '../../node/core/claim.ts'
import { type CborValue, equalBytes, utf8 } from '../../node/core/encoding.ts'
import type { ErrorCode } from '../../node/core/errors.ts'
import { nodeKey } from '../../node/core/keys.ts'
import { parseReceipt, verifyLease } from '../../node/core/lease.ts'
import { realmOf } from '../../node/core/realm.ts'
import { zoneDhtKey } from '../../node/core/zone.ts'
import type { Host } from '../../node/net/host.ts'
import { INTRODUCER_PROTOCOL, Introducer } from '../../node/net/introducers.ts'
import { RpcClient } from '../../node/net/rpc.ts'
import { temporaryFolder } from '../helpers/folder.ts'
import { honestHost } from '../helpers/hosts.ts'
import { firstClaim, owner, thief } from '../helpers/leases.ts'
import { LOOPBACK } from '../helpers/testnet.ts'
import { pairOf, zoneAt } from '../helpers/zones.ts'

const pair = pairOf(9)
const key = zoneDhtKey(pair.publicKey)
const older = zoneAt(pair, Date.now() - 60_000, '192.0.2.1').bytes
const newer = zoneAt(pair, Date.now() - 1_000, '192.0.2.2').bytes
const BITS = 4

async function running(t: TestContext, options: Partial<IntroducerOptions> = {}): Promise<RunningIntroducer> {
  const home = options.home ?? (await temporaryFolder(t))
  const introducer = await createIntroducer({ listen: LOOPBACK, bits: BITS, ...options, home })
  t.after(() => introducer.stop())
  return introducer
}

async function visitor(t: TestContext, introducer: RunningIntroducer, seed = 'visitor') {
  const host = await honestHost(t, seed, { role: 'visitor' })
  const seen = new Introducer(host.libp2p, introducer.address, Date.now)
  return { host, seen, stream: await rawClient(host, introducer) }
}

/** Asks what an honest node would not. */
async function rawClient({ libp2p }: Host, { address }: RunningIntroducer): Promise<RpcClient> {
  const { multiaddr } = await import('@multiformats/multiaddr')
  return new RpcClient(await libp2p.dialProtocol(multiaddr(address), INTRODUCER_PROTOCOL))
}

async function metric(introducer: RunningIntroducer, name: string): Promise<number> {
  const { host, port } = introducer.http as { host: string; port: number }
  const text = await (await fetch(`http://${host}:${port}/metrics`)).text()
  const line = text.split('\n').find((candidate) => candidate.startsWith(`${name} `))
  return Number(line?.slice(name.length + 1))
}

const same = (a: Uint8Array | undefined, b: Uint8Array) => a !== undefined && equalBytes(a, b)

test('a record that one visitor puts another gets', async (t) => {
  const introducer = await running(t)
  const [one, two] = [await visitor(t, introducer, 'one'), await visitor(t, introducer, 'two')]
  assert.equal(await two.seen.get(key), undefined)
  await one.seen.put(key, newer)
  assert.ok(same(await two.seen.get(key), newer))
})

test('a put that may not stand is refused with its own error, changes nothing and is counted', async (t) => {
  const introducer = await running(t, { http: { host: '127.0.0.1', port: 0 } })
  const { seen, stream } = await visitor(t, introducer)
  await seen.put(key, newer)
  await seen.put(key, newer)
  const forged = Uint8Array.from(newer)
  forged[40] = (forged[40] as number) ^ 1
  const cases: [args: CborValue[], code: ErrorCode][] = [
    [[key, older], 'record_older'],
    [[key, forged], 'signature_invalid'],
    [[zoneDhtKey(owner.publicKey), newer], 'key_mismatch'],
    [[utf8('/pk/x'), newer], 'key_mismatch'],
    [[new Uint8Array(0), newer], 'key_mismatch'],
    [[key, zoneAt(pair, Date.now() + 3_600_000).bytes], 'seq_in_future'],
    [[key, new Uint8Array(8193)], 'too_large'],
    [[key, new Uint8Array(0)], 'key_mismatch'],
    [[key], 'frame_invalid'],
    [[], 'frame_invalid'],
    [['key', newer], 'frame_invalid'],
    [[key, 7], 'frame_invalid'],
  ]
  for (const [args, code] of cases) await assert.rejects(stream.call('put', args), { code })
  assert.ok(same(await seen.get(key), newer))
  assert.equal(await metric(introducer, 'p2pns_requests_total{kind="refused"}'), cases.length)
  assert.equal(await metric(introducer, 'p2pns_requests_total{kind="put"}'), cases.length + 2)
  assert.equal(await metric(introducer, 'p2pns_requests_total{kind="get"}'), 1)
  assert.equal(await metric(introducer, 'p2pns_records'), 1)
  assert.ok((await metric(introducer, 'p2pns_connections')) >= 1)
})

test('a question for what it keeps to itself, or does not know, is refused', async (t) => {
  const { stream } = await visitor(t, await running(t))
  for (const [method, args, code] of [
    ['get', [], 'frame_invalid'],
    ['get', [7], 'frame_invalid'],
    ['get', [new Uint8Array(0)], 'key_mismatch'],
    ['get', [utf8('/peers/x')], 'key_mismatch'],
    ['get', [randomBytes(10_000)], 'key_mismatch'],
    ['seed', [], 'frame_invalid'],
    ['', [], 'frame_invalid'],
    ['constructor', [], 'frame_invalid'],
    ['x'.repeat(10_000), [], 'frame_invalid'],
  ] as [string, CborValue[], ErrorCode][]) {
    await assert.rejects(stream.call(method, args), { code }, method.slice(0, 20))
  }
  assert.ok(!stream.closed)
})

test('the descriptor is that of a realm of one, whose witness is its own peer id, under its own address', async (t) => {
  const introducer = await running(t)
  const { seen } = await visitor(t, introducer)
  const { realm, addresses } = await seen.descriptor()
  assert.deepEqual([realm.quorum, realm.bits, realm.keys.length], [1, BITS, 1])
  assert.ok(same(realm.keys[0], seen.witnessKey))
  assert.ok(addresses.includes(introducer.address))
})

/** A first claim to `name` in the realm of an introducer, from now on. */
async function claimTo(seen: Introducer, name: string, by = owner) {
  const { realm } = await seen.descriptor()
  const from = Math.floor(Date.now() / 1000)
  const claim = firstClaim(realm, { name, from, owner: by.publicKey })
  return { realm, claim, bytes: encodeClaim(claim), auth: encodeAuth(signClaim(claim, 0, by)) }
}

test('a claim gets a receipt that makes a lease, and nobody else gets one for the name', async (t) => {
  const introducer = await running(t)
  const { seen } = await visitor(t, introducer)
  const { realm, claim, bytes, auth } = await claimTo(seen, 'alice')
  const receipt = parseReceipt(await seen.claim(bytes, auth))
  verifyLease({ claim, auth: signClaim(claim, 0, owner), receipts: [receipt], realm }, Date.now())
  const stolen = await claimTo(seen, 'alice', thief)
  await assert.rejects(seen.claim(stolen.bytes, stolen.auth), { code: 'name_taken' })
})

test('of two claims to one name at the same moment one gets a receipt', async (t) => {
  const introducer = await running(t)
  const [one, two] = [await visitor(t, introducer, 'one'), await visitor(t, introducer, 'two')]
  const claims = [await claimTo(one.seen, 'alice'), await claimTo(two.seen, 'alice', thief)] as const
  const outcomes = await Promise.allSettled([
    one.seen.claim(claims[0].bytes, claims[0].auth),
    two.seen.claim(claims[1].bytes, claims[1].auth),
  ])
  assert.deepEqual(outcomes.map(({ status }) => status).sort(), ['fulfilled', 'rejected'])
})

test('a claim that may not be witnessed is refused with its own error', async (t) => {
  const { seen, stream } = await visitor(t, await running(t))
  const { claim, bytes, auth, realm } = await claimTo(seen, 'alice')
  const cases: [args: CborValue[], code: ErrorCode][] = [
    [[bytes], 'frame_invalid'],
    [[bytes, new Uint8Array(0)], 'malformed'],
    [[new Uint8Array(100), auth], 'malformed'],
    [[new Uint8Array(400), auth], 'too_large'],
    [[bytes, encodeAuth(signClaim(claim, 0, thief))], 'lease_invalid'],
    [[encodeClaim(firstClaim(realmOf([thief.publicKey], BITS))), auth], 'lease_invalid'],
    [[encodeClaim(firstClaim(realm, { from: 1_000_000 })), auth], 'clock_wrong'],
  ]
  for (const [args, code] of cases) await assert.rejects(stream.call('claim', args), { code })
})

test('a newcomer is told of random others, and never of itself', async (t) => {
  const introducer = await running(t)
  const hosts = await Promise.all(Array.from({ length: 20 }, (_, i) => honestHost(t, `peer ${i}`)))
  const met = await Promise.all(
    hosts.map(async (host) => {
      const seen = new Introducer(host.libp2p, introducer.address, Date.now)
      await seen.connect()
      return seen
    }),
  )
  // An introducer learns where a peer listens when it says so itself, shortly after it came.
  const identified = async (): Promise<number> => (await met[0]?.peers())?.length ?? 0
  while ((await identified()) < 16) await new Promise((resolve) => setImmediate(resolve))

  const addresses = new Map(hosts.map(({ libp2p }) => [libp2p.peerId.toString(), libp2p.getMultiaddrs().map(String)]))
  const told = new Set<string>()
  for (let i = 0; i < 30; i++) {
    const asker = i % hosts.length
    const peers = (await met[asker]?.peers()) ?? []
    assert.ok(peers.length <= 16)
    assert.equal(new Set(peers).size, peers.length)
    for (const peer of peers) {
      const id = peer.split('/').at(-1) as string
      assert.notEqual(id, hosts[asker]?.libp2p.peerId.toString())
      assert.ok(addresses.get(id)?.includes(peer), peer)
      told.add(id)
    }
  }
  assert.equal(told.size, 20)
})

test('a visitor, who listens nowhere, is told to nobody', async (t) => {
  const introducer = await running(t)
  const [one, two] = [await visitor(t, introducer, 'one'), await visitor(t, introducer, 'two')]
  await one.seen.connect()
  assert.deepEqual(await two.seen.peers(), [])
})

test('records, leases and the peer id are kept over a restart', async (t) => {
  const home = await temporaryFolder(t)
  const first = await createIntroducer({ home, listen: LOOPBACK, bits: BITS })
  const before = await visitor(t, first)
  await before.seen.put(key, newer)
  const { bytes, auth } = await claimTo(before.seen, 'alice')
  const receipt = await before.seen.claim(bytes, auth)
  await first.stop()

  const second = await running(t, { home, listen: [first.address.replace(/\/p2p\/.*/, '')] })
  assert.equal(second.address, first.address)
  const { seen } = await visitor(t, second, 'later')
  assert.ok(same(await seen.get(key), newer))
  await assert.rejects(seen.put(key, older), { code: 'record_older' })
  assert.ok(same(await seen.claim(bytes, auth), receipt))
  const stolen = await claimTo(seen, 'alice', thief)
  await assert.rejects(seen.claim(stolen.bytes, stolen.auth), { code: 'name_taken' })
})

test('an introducer without orders has the same port after a restart, since others were told it', async (t) => {
  const home = await temporaryFolder(t)
  const first = await createIntroducer({ home })
  await first.stop()
  const second = await createIntroducer({ home })
  t.after(() => second.stop())
  assert.equal(second.address, first.address)
})

test('a peer may open two kept streams, and has no need of more', async (t) => {
  const introducer = await running(t)
  const { host, stream } = await visitor(t, introducer)
  const second = await rawClient(host, introducer)
  assert.deepEqual(await Promise.all([stream.call('peers', []), second.call('peers', [])]), [[], []])
  const third = rawClient(host, introducer).then((client) => client.call('peers', []))
  await assert.rejects(third)
  assert.deepEqual(await stream.call('peers', []), [])
})

test('a home or a port in use is an error, after which nothing is left open', async (t) => {
  const home = await temporaryFolder(t)
  const introducer = await running(t, { home, http: { host: '127.0.0.1', port: 0 } })
  await assert.rejects(createIntroducer({ home, listen: LOOPBACK }), { code: 'db_locked' })
  const other = await temporaryFolder(t)
  const taken = [introducer.address.replace(/\/p2p\/.*/, '')]
  await assert.rejects(createIntroducer({ home: other, listen: taken }), { code: 'port_in_use' })
  const http = introducer.http as { host: string; port: number }
  await assert.rejects(createIntroducer({ home: other, listen: LOOPBACK, http }), { code: 'port_in_use' })
  await running(t, { home: other })
})

test('a home whose database is damaged is not served from', async (t) => {
  const home = await temporaryFolder(t)
  const first = await createIntroducer({ home, listen: LOOPBACK, bits: BITS })
  const { seen } = await visitor(t, first)
  const { bytes, auth } = await claimTo(seen, 'alice')
  await seen.claim(bytes, auth)
  await first.stop()
  const log = (await fs.readdir(path.join(home, 'db'))).find((name) => name.endsWith('.log')) as string
  const file = path.join(home, 'db', log)
  const damaged = await fs.readFile(file)
  damaged.writeUInt8(damaged.readUInt8(20) ^ 1, 20)
  await fs.writeFile(file, damaged)
  // A witness that forgot what it signed would sign the name away.
  await assert.rejects(createIntroducer({ home, listen: LOOPBACK }), { code: 'db_corrupt' })
  assert.deepEqual(await fs.readFile(file), damaged)
})

test('an introducer is known by the node key of its seed', async (t) => {
  const home = await temporaryFolder(t)
  const introducer = await running(t, { home })
  const { seen } = await visitor(t, introducer)
  const seed = Buffer.from((await fs.readFile(path.join(home, 'seed'), 'utf8')).trim(), 'hex')
  assert.ok(same(nodeKey(seed).publicKey, seen.witnessKey))
})
