import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import type { Duplex } from 'node:stream'
import { type TestContext, test } from 'node:test'
import { TLSSocket } from 'node:tls'
import { createIntroducer } from '../../introducer/index.ts'
import type { Host as HostAt } from '../../node/core/hosts.ts'
import { keyPairFromSeed } from '../../node/core/keys.ts'
import { createLinkServer, dialLink } from '../../node/net/link.ts'
import { Meetings, type Met } from '../../node/net/meetings.ts'
import type { Takers } from '../../node/net/one-port.ts'
import { type Link, Paths, pathTo } from '../../node/net/paths.ts'
import { tcpPortOf } from '../../node/net/peers.ts'
import type { Way } from '../../node/net/race.ts'
import { Circuits } from '../../node/net/relayed.ts'
import { UdpPort } from '../../node/net/udp.ts'
import { temporaryFolder } from '../helpers/folder.ts'
import { honestHost } from '../helpers/hosts.ts'
import { LOOPBACK } from '../helpers/testnet.ts'
import { heldTimeouts } from '../helpers/timeouts.ts'

const HERE = '127.0.0.1'

interface Options {
  /** What it tells others of itself. */
  uses: HostAt['use'][]
  /** Whoever punches to it gets through: without a NAT that drops what comes too early, both are refused for ever. */
  isPunched?: boolean
  /** An introducer through which it may be called. */
  relay?: string
}

/** A host on this machine that can be reached as its `uses` say. */
async function side(t: TestContext, seed: string, { uses, relay, isPunched = false }: Options) {
  const server = createLinkServer({ now: Date.now })
  t.after(() => server.stop())
  let refused = (): void => undefined
  const takers: Takers = {
    tls: (socket) => {
      socket.once('close', () => refused())
      server.accept(socket)
    },
  }
  const host = await honestHost(t, seed, { takers })
  const udp = await UdpPort.open(0)
  assert.ok(udp)
  t.after(() => udp.close())
  const gate = createServer((socket) => server.accept(socket)).listen(0, HERE)
  t.after(() => gate.close())
  await once(gate, 'listening')
  const punch = (gate.address() as AddressInfo).port
  // Only one that nobody listens on can be dialled from.
  if (!isPunched) gate.close()
  const all: HostAt[] = [
    { use: 'tcp', host: HERE, port: tcpPortOf(host.libp2p) },
    { use: 'punch', host: HERE, port: punch },
    { use: 'udp', host: HERE, port: udp.port },
  ]
  const circuits = relay === undefined ? undefined : new Circuits(host.libp2p, [relay])
  t.after(() => circuits?.close())
  if (circuits) void circuits.listen((stream) => server.accept(stream))
  const links: Link[] = []
  let came = Promise.withResolvers<Link>()
  const paths = new Paths({
    server,
    udp,
    punchPort: () => punch,
    address: () => undefined,
    circuits: () => circuits,
    birthday: false,
    onLink: (link) => {
      links.push(link)
      link.stream.on('error', () => undefined).pipe(link.stream)
      came.resolve(link)
      came = Promise.withResolvers()
    },
  })
  const stop = new AbortController()
  t.after(() => stop.abort())
  const meetings = new Meetings({
    libp2p: host.libp2p,
    key: keyPairFromSeed(createHash('sha256').update(seed).digest()),
    own: () => ({ mapping: 'independent', filtering: 'address', hosts: all.filter(({ use }) => uses.includes(use)) }),
    random: (length) => randomBytes(length),
    onCall: (met) => paths.meet(met, stop.signal),
  })
  await meetings.listen()
  const call = async (other: { host: typeof host }): Promise<Met> =>
    meetings.callOver(await host.libp2p.dial(other.host.libp2p.getMultiaddrs()), stop.signal)
  return {
    host,
    paths,
    links,
    call,
    stop,
    peer: host.libp2p.peerId.toString(),
    next: () => came.promise,
    refused: () => new Promise<void>((resolve) => (refused = resolve)),
  }
}

async function opened(t: TestContext, way: Way): Promise<{ path: string; stream: Duplex }> {
  if ('stream' in way) {
    t.after(() => way.stream.destroy())
    return way
  }
  const { socket, candidate } = await dialLink(way.candidates, way.ticket, { timeout: 5_000 })
  t.after(() => socket.destroy())
  const path = pathTo(candidate.host)
  way.up?.(path)
  return { path, stream: socket }
}

async function echo(stream: Duplex, text: string): Promise<string> {
  stream.write(text)
  const [data] = (await once(stream, 'data')) as [Buffer]
  return data.toString()
}

async function introducer(t: TestContext): Promise<string> {
  const running = await createIntroducer({ home: await temporaryFolder(t), listen: LOOPBACK, bits: 4 })
  t.after(() => running.stop())
  return running.address
}

/** What each of caller and callee tells, and the path that remains then. */
const CASES: { path: string; caller: HostAt['use'][]; callee: HostAt['use'][] }[] = [
  { path: 'lan', caller: [], callee: ['tcp'] },
  { path: 'reversed-tcp', caller: ['tcp'], callee: [] },
  { path: 'punched-tcp', caller: ['punch'], callee: ['punch'] },
  { path: 'punched-udp', caller: ['udp'], callee: ['udp'] },
  { path: 'relayed', caller: [], callee: [] },
]

for (const { path, caller, callee } of CASES) {
  test(`a link by the path ${path} is encrypted, and both sides know whom they have`, async (t) => {
    const relay = path === 'relayed' ? await introducer(t) : undefined
    const options = relay === undefined ? {} : { relay }
    const [a, b] = [
      await side(t, 'a', { uses: caller, ...options }),
      await side(t, 'b', { uses: callee, isPunched: true, ...options }),
    ]
    const came = b.next()
    const ways = a.paths.to(await a.call(b), a.stop.signal)
    const { value: way } = await ways.next()
    assert.ok(way)
    const link = await opened(t, way)
    assert.equal(link.path, path)
    assert.ok(link.stream instanceof TLSSocket)
    assert.equal(link.stream.getProtocol(), 'TLSv1.3')
    assert.equal(await echo(link.stream, 'hello'), 'hello')
    const { peer, path: theirs } = await came
    assert.deepEqual({ peer, path: theirs }, { peer: a.peer, path })
    assert.equal((await ways.next()).done, true)
    assert.equal(b.links.length, 1)
  })
}

test('what is known at once to lead to the other comes first, and the rest as it opens', async (t) => {
  const a = await side(t, 'a', { uses: ['udp'] })
  const b = await side(t, 'b', { uses: ['udp', 'tcp'] })
  const ways = a.paths.to(await a.call(b), a.stop.signal)
  const first = (await ways.next()).value
  assert.ok(first && 'candidates' in first)
  const second = (await ways.next()).value
  assert.ok(second && 'stream' in second)
  assert.equal(second.path, 'punched-udp')
  // The better one works after the worse one, too.
  const links = [await opened(t, second), await opened(t, first)]
  for (const { stream, path } of links) assert.equal(await echo(stream, path), path)
  assert.deepEqual(links.map(({ path }) => path).toSorted(), ['lan', 'punched-udp'])
})

test('a better path ends the attempts at worse ones', async (t) => {
  // Nobody listens where the punches go, and no time is ever over.
  heldTimeouts(t)
  const [a, b] = [await side(t, 'a', { uses: ['punch'] }), await side(t, 'b', { uses: ['punch', 'tcp'] })]
  const ways = a.paths.to(await a.call(b), a.stop.signal)
  const { value: way } = await ways.next()
  assert.ok(way)
  const last = ways.next()
  assert.equal((await opened(t, way)).path, 'lan')
  assert.equal((await last).done, true)
})

test('a worse path leaves the attempts at better ones alone', async (t) => {
  const runOut = heldTimeouts(t)
  const [a, b] = [await side(t, 'a', { uses: ['punch', 'udp'] }), await side(t, 'b', { uses: ['punch', 'udp'] })]
  const ways = a.paths.to(await a.call(b), a.stop.signal)
  const { value: way } = await ways.next()
  assert.ok(way)
  assert.equal((await opened(t, way)).path, 'punched-udp')
  const last = ways.next()
  const turn = new Promise((resolve) => setImmediate(resolve, 'on'))
  assert.equal(await Promise.race([last.then(() => 'over'), turn]), 'on')
  runOut(3_000)
  assert.equal((await last).done, true)
})

test('a link that comes when nobody waits for links any more is closed', async (t) => {
  const [a, b] = [await side(t, 'a', { uses: ['tcp'] }), await side(t, 'b', { uses: ['tcp'] })]
  const came = b.next()
  const ways = a.paths.to(await a.call(b), a.stop.signal)
  assert.ok((await ways.next()).value)
  await ways.return(undefined)
  const { stream } = await came
  await once(stream.resume(), 'close')
})

test('who is called may come before the answer has, and comes again', async (t) => {
  const [a, b] = [await side(t, 'a', { uses: ['tcp'] }), await side(t, 'b', { uses: [] })]
  const refused = a.refused()
  const met = await a.call(b)
  // The answer is still on its way through a distant introducer.
  await refused
  const { value: way } = await a.paths.to(met, a.stop.signal).next()
  assert.ok(way)
  assert.equal((await opened(t, way)).path, 'reversed-tcp')
})

test('a search that is stopped ends every attempt', async (t) => {
  heldTimeouts(t)
  const [a, b] = [await side(t, 'a', { uses: ['punch', 'tcp'] }), await side(t, 'b', { uses: ['punch'] })]
  // It does not come towards the caller.
  b.stop.abort()
  const ways = a.paths.to(await a.call(b), a.stop.signal)
  const next = ways.next()
  a.stop.abort()
  assert.equal((await next).done, true)
})
