/** A page that leads to 200 names at once, each asked for as browsers do: A, AAAA and HTTPS, from a port of its own. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { keyPairFromSeed } from '../../node/core/keys.ts'
import { keyNameOf } from '../../node/core/name.ts'
import { rrFromText } from '../../node/core/rdata.ts'
import { signZone, zoneDhtKey } from '../../node/core/zone.ts'
import type { Node } from '../../node/index.ts'
import { Dht } from '../../node/net/dht.ts'
import { Introducer } from '../../node/net/introducers.ts'
import type { FoundZone } from '../../resolver/index.ts'
import { honestHost } from '../helpers/hosts.ts'
import { createTestnet } from '../helpers/testnet.ts'
import { a, nameIn, respond, soa, startUpstream } from './fake-upstream.ts'
import {
  type Decoded,
  decode,
  extendedErrorOf,
  lookupIn,
  NOW,
  overUdp,
  query,
  startResolver,
  zoneOf,
} from './harness.ts'

const HALF = 100
/** How long a lookup may take unless told otherwise. Milliseconds. */
const BOUND = 4_000
const TYPES = [1, 28, 65]
const numbers = Array.from({ length: HALF }, (_, i) => i)

/** The names of the page, and the answers to all that is asked for it, in the order of `names` and of TYPES. */
async function openPage(port: number, names: string[]): Promise<Decoded[]> {
  const asked = names.map((name) =>
    overUdp(
      port,
      TYPES.map((type) => query(name, { id: type, type, edns: 1232 })),
    ),
  )
  const answers = (await Promise.all(asked)).map((all) => all.map(decode))
  return answers.flatMap((all) => TYPES.map((type) => all.find(({ id }) => id === type) as Decoded))
}

/** Name and type that a query asks for. */
function askedIn(packet: Buffer): string {
  const name = nameIn(packet).toLowerCase()
  return `${name} ${packet.readUInt16BE(12 + name.length + 2)}`
}

function countsOf(all: string[]): Map<string, number> {
  return new Map([...Map.groupBy(all, (one) => one)].map(([one, same]) => [one, same.length]))
}

/** What the answers are: for names that exist an address and twice nothing, for the others that there is no such name. */
function assertRight(answers: Decoded[], exists: (i: number) => boolean): void {
  for (const [i, answer] of answers.entries()) {
    const found = exists(Math.floor(i / TYPES.length))
    assert.equal(answer.rcode, found ? 'NOERROR' : 'NXDOMAIN')
    assert.equal(answer.answers?.length, found && i % TYPES.length === 0 ? 1 : 0)
  }
}

for (const batch of [false, true]) {
  test(`a page of 200 names of ours looks each of them up once, and again none that is missing${batch ? ', in batches' : ''}`, async (t) => {
    const there = numbers.map((i) => `n${i}.p2p`)
    const names = [...there, ...numbers.map((i) => `missing${i}.p2p`)]
    const zone = zoneOf([{ type: 'A', data: '192.0.2.1' }])
    const find = lookupIn(Object.fromEntries(there.map((name) => [name, zone])), () => NOW)
    const lookedUp: string[] = []
    const kept = new Map<string, FoundZone>()
    const resolver = await startResolver(t, {
      lookup: async (apex, options) => {
        lookedUp.push(apex)
        await setImmediate()
        const found = await find(apex, options)
        kept.set(apex, found)
        return found
      },
      known: async (apex) => kept.get(apex) ?? assert.fail('not known'),
      batch,
    })
    assertRight(await openPage(resolver.port, names), (i) => i < HALF)
    assert.deepEqual(lookedUp.toSorted(), names.toSorted())

    assertRight(
      await openPage(
        resolver.port,
        names.map((name) => `www.${name}`),
      ),
      () => false,
    )
    assertRight(await openPage(resolver.port, names), (i) => i < HALF)
    assert.equal(lookedUp.length, names.length)
    assert.equal(resolver.stats().rcodes.SERVFAIL, undefined)
  })
}

test('a page of 200 names of others asks the upstream for each name and type once', async (t) => {
  const upstream = await startUpstream(t, (packet, send) => {
    const asked = askedIn(packet)
    if (!asked.startsWith('n')) send(respond(packet, { authority: [soa(60, 60)], flags: 0x8183 }))
    else send(respond(packet, asked.endsWith(' 1') ? { answers: [a('198.51.100.1')] } : { authority: [soa(60, 60)] }))
  })
  const names = [...numbers.map((i) => `n${i}.example`), ...numbers.map((i) => `missing${i}.example`)]
  const resolver = await startResolver(t, { lookup: lookupIn({}, () => NOW), upstream: upstream.address })
  assertRight(await openPage(resolver.port, names), (i) => i < HALF)
  const asked = countsOf(upstream.asked.map(askedIn))
  assert.deepEqual([asked.size, Math.max(...asked.values())], [names.length * TYPES.length, 1])

  assertRight(await openPage(resolver.port, names), (i) => i < HALF)
  assert.equal(upstream.asked.length, names.length * TYPES.length)
})

test('a page of 200 names when the upstream keeps silent: all is answered within 4 s, and it is not flooded', async (t) => {
  const upstream = await startUpstream(t, () => {})
  const names = [...numbers.map((i) => `n${i}.example`), ...numbers.map((i) => `missing${i}.example`)]
  const resolver = await startResolver(t, { lookup: lookupIn({}, () => NOW), upstream: upstream.address })
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const opened = openPage(resolver.port, names)
  while (resolver.stats().forwarded < names.length * TYPES.length) await setImmediate()
  const started = upstream.asked.length
  for (let passed = 0; passed < BOUND; passed += 100) {
    t.mock.timers.tick(100)
    await setImmediate()
  }
  // No more time passes: what is not answered now never is.
  for (const answer of await opened) {
    assert.equal(answer.rcode, 'SERVFAIL')
    assert.match(String(extendedErrorOf(answer)?.[1]), /upstream/)
  }
  // What was sent before this has arrived when it is answered.
  upstream.behave((packet, send) => send(respond(packet, {})))
  await overUdp(upstream.port, [query('last.example')])
  assert.equal(upstream.asked.pop()?.length, query('last.example').length)
  // At most three times, as any stub resolver asks; and never more than 100 that are not late yet.
  const asked = countsOf(upstream.asked.map(askedIn))
  assert.ok(started <= 100, `${started} at once`)
  assert.ok(Math.max(...asked.values()) <= 3)
  t.diagnostic(`${upstream.asked.length} queries for ${names.length * TYPES.length} questions`)

  // Whoever reloads the page is told again, and nobody is asked.
  const before = upstream.asked.length
  assert.ok((await openPage(resolver.port, names)).every(({ rcode }) => rcode === 'SERVFAIL'))
  assert.equal(upstream.asked.length, before)
})

/** Counts what all nodes of this process ask others of the DHT, from now on; for nodes that are made later. */
async function countDhtRequests(t: TestContext): Promise<() => number> {
  const { dht } = (await honestHost(t, 'counter')).libp2p.services
  const network = Object.getPrototypeOf((dht as unknown as { network: object }).network) as {
    sendRequest: () => object
  }
  const { mock } = t.mock.method(network, 'sendRequest')
  return () => mock.callCount()
}

/** Names of keys that nobody here holds, kept by the introducer. */
async function plantKeyNames(t: TestContext, address: string, count: number): Promise<string[]> {
  const { libp2p } = await honestHost(t, 'planter', { role: 'visitor' })
  const introducer = new Introducer(libp2p, address, Date.now)
  t.after(() => introducer.close())
  const planted = Array.from({ length: count }, async (_, i) => {
    const zone = signZone(keyPairFromSeed(new Uint8Array(32).fill(i + 1)), BigInt(Date.now()) * 1000n, [
      rrFromText({ type: 'A', data: '192.0.2.1' }),
    ])
    await introducer.put(zoneDhtKey(zone.key), zone.bytes)
    return keyNameOf(zone.key)
  })
  return Promise.all(planted)
}

test('a page of 200 real names asks the network once for each, and each node of it twice at most, and is answered in time', async (t) => {
  const requests = await countDhtRequests(t)
  const net = await createTestnet(t)
  const [alice, bob] = net.nodes as [Node, Node]
  const there = numbers.slice(0, 10).map((i) => `n${i}.p2p`)
  await Promise.all(there.map((name) => alice.register({ name, records: [{ type: 'A', data: '192.0.2.1' }] })))
  there.push(...(await plantKeyNames(t, net.introducers[0]?.address ?? '', HALF - there.length)))
  const asked = [t.mock.method(Introducer.prototype, 'get'), t.mock.method(Dht.prototype, 'get')]
  const resolver = await startResolver(t, {
    lookup: (apex, options) => bob.lookup(apex, options),
    known: (apex) => bob.lookup(apex, { policy: 'cache-only' }),
    now: Date.now,
    batch: true,
    // The machine may have other things to do, so what counts is what this costs it.
    lookupTimeout: 15_000,
  })
  const names = [...there, ...numbers.map((i) => `missing${i}.p2p`)]
  const [before, began] = [requests(), process.cpuUsage()]
  assertRight(await openPage(resolver.port, names), (i) => i < HALF)
  const { user, system } = process.cpuUsage(began)
  const took = Math.round((user + system) / 1000)
  const counts = asked.map(({ mock }) => mock.callCount())
  const sent = requests() - before
  t.diagnostic(
    `${took} ms of a core; questions to the introducer, the DHT: ${counts.join(', ')}; requests of the DHT: ${sent}`,
  )
  assert.deepEqual(counts, [names.length, names.length])
  // First as one that is connected, then by the query of the library.
  assert.ok(sent <= 2 * names.length * (net.nodes.length + net.introducers.length), `${sent} requests`)
  assert.ok(took < BOUND, `${took} ms`)

  assertRight(await openPage(resolver.port, names), (i) => i < HALF)
  assert.deepEqual(
    asked.map(({ mock }) => mock.callCount()),
    counts,
  )
})
