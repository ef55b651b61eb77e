import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type Server } from 'node:net'
import { type TestContext, test } from 'node:test'
import { lpStream } from '@libp2p/utils'
import { multiaddr } from '@multiformats/multiaddr'
import { type CborValue, fromCbor, toCbor } from '../../node/core/encoding.ts'
import type { Host } from '../../node/net/host.ts'
import { dialLink } from '../../node/net/link.ts'
import { type Link, Paths, pathTo } from '../../node/net/paths.ts'
import { honestHost } from '../helpers/hosts.ts'
import { heldTimeouts } from '../helpers/timeouts.ts'

const PROTOCOL = '/p2pns/link/1'
const NEVER = new AbortController().signal

/** A peer that accepts links and echoes what comes over them. */
async function listening(t: TestContext, seed: string, now: () => number = Date.now) {
  const host = await honestHost(t, seed)
  const paths = new Paths(host.libp2p)
  t.after(() => paths.stop())
  const links: Link[] = []
  const port = await paths.listen({
    port: 0,
    now,
    random: randomBytes,
    onLink(link) {
      links.push(link)
      link.stream.pipe(link.stream)
    },
  })
  return { host, paths, links, port }
}

async function dialler(t: TestContext): Promise<{ host: Host; paths: Paths }> {
  const host = await honestHost(t, 'dialler', { role: 'visitor' })
  return { host, paths: new Paths(host.libp2p) }
}

/** Asks for a ticket and dials with it, as a link thread does. */
async function connect(paths: Paths, to: Parameters<Paths['offerOf']>[0], signal: AbortSignal): Promise<Link> {
  const { peer, candidates, ticket } = await paths.offerOf(to, signal)
  const { socket, candidate } = await dialLink(candidates, ticket, { signal, timeout: 10_000 })
  return { peer, path: pathTo(candidate.host), stream: socket }
}

/** A peer that answers every question for a ticket with `bytes`, in one frame. */
async function offering(t: TestContext, bytes: Uint8Array): Promise<Host> {
  const host = await honestHost(t, 'hostile')
  await host.libp2p.handle(PROTOCOL, async (stream) => {
    await lpStream(stream).write(bytes)
    await stream.close()
  })
  return host
}

function offerOf(candidates: CborValue, change: CborValue[] = [1, new Uint8Array(16), new Uint8Array(32)]): Uint8Array {
  return toCbor([...change, candidates])
}

const addressesOf = (host: Host) => host.libp2p.getMultiaddrs()

/** A port that counts who comes and says nothing. */
async function silentPort(t: TestContext): Promise<{ server: Server; port: number; visits: () => number }> {
  let visits = 0
  const server = createServer(() => visits++).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  return { server, port: (server.address() as { port: number }).port, visits: () => visits }
}

test('two peers open a link, and each knows whom it has there', async (t) => {
  const { host, links } = await listening(t, 'server')
  const { host: self, paths } = await dialler(t)
  const link = await connect(paths, addressesOf(host), NEVER)
  t.after(() => link.stream.destroy())
  link.stream.write('hello')
  const [echo] = (await once(link.stream, 'data')) as [Buffer]
  assert.equal(echo.toString(), 'hello')
  assert.equal(link.peer, host.libp2p.peerId.toString())
  assert.equal(link.path, 'lan')
  assert.deepEqual(
    links.map(({ peer, path }) => [peer, path]),
    [[self.libp2p.peerId.toString(), 'lan']],
  )
})

test('a peer that is known is reached by its id alone, many times at once', async (t) => {
  const { host, links } = await listening(t, 'server')
  const { host: self, paths } = await dialler(t)
  await self.libp2p.dial(addressesOf(host))
  const opened = await Promise.all(Array.from({ length: 8 }, () => connect(paths, host.libp2p.peerId, NEVER)))
  for (const { stream } of opened) {
    stream.write('x')
    await once(stream, 'data')
    stream.destroy()
  }
  assert.equal(links.length, 8)
})

test('a ticket opens one link only', async (t) => {
  const { host, links, port } = await listening(t, 'server')
  const { host: self } = await dialler(t)
  const stream = await self.libp2p.dialProtocol(addressesOf(host), PROTOCOL)
  const offer = fromCbor((await lpStream(stream).read()).subarray(), 2048, 'An offer') as [number, Buffer, Buffer]
  const ticket = { id: offer[1], secret: offer[2], expires: 0 }
  const at = [{ host: '127.0.0.1', port }]
  const { socket } = await dialLink(at, ticket, { timeout: 5_000 })
  socket.write('x')
  await once(socket, 'data')
  await assert.rejects(dialLink(at, ticket, { timeout: 5_000 }), { code: 'ticket_invalid' })
  await assert.rejects(dialLink(at, { ...ticket, secret: randomBytes(32) }, { timeout: 5_000 }), {
    code: 'ticket_invalid',
  })
  assert.equal(links.length, 1)
  socket.destroy()
})

test('a ticket that is 30 seconds old opens nothing', async (t) => {
  // Each look at the clock is 30 s after the one before: the first is at the issue, the second when it is used.
  let now = 1_000_000
  const { host, links } = await listening(t, 'server', () => (now += 30_000))
  const { paths } = await dialler(t)
  await assert.rejects(connect(paths, addressesOf(host), NEVER), { code: 'ticket_invalid' })
  assert.equal(links.length, 0)
})

test('a ticket that the peer made up opens nothing', async (t) => {
  const { port } = await listening(t, 'victim')
  const hostile = await offering(t, offerOf([['127.0.0.1', port]]))
  const { paths } = await dialler(t)
  await assert.rejects(connect(paths, addressesOf(hostile), NEVER), { code: 'ticket_invalid' })
})

const many = Array.from({ length: 17 }, (_, i) => ['10.0.0.1', i + 1])

const offers: [what: string, bytes: Uint8Array, code: string][] = [
  ['is no CBOR', Buffer.from('hello'), 'malformed'],
  ['is empty', new Uint8Array(0), 'malformed'],
  ['is of another version', offerOf([['10.0.0.1', 1]], [2, new Uint8Array(16), new Uint8Array(32)]), 'malformed'],
  ['has a short ticket', offerOf([['10.0.0.1', 1]], [1, new Uint8Array(15), new Uint8Array(32)]), 'malformed'],
  ['has a short secret', offerOf([['10.0.0.1', 1]], [1, new Uint8Array(16), new Uint8Array(31)]), 'malformed'],
  ['has no candidate', offerOf([]), 'malformed'],
  ['has 17 candidates', offerOf(many), 'malformed'],
  [
    'claims 2^20 candidates',
    Buffer.concat([offerOf([]).subarray(0, -1), Buffer.from('9a00100000', 'hex')]),
    'malformed',
  ],
  ['names a host to look up', offerOf([['tracker.example', 80]]), 'malformed'],
  ['names a host that is empty', offerOf([['', 80]]), 'malformed'],
  ['names a host of bytes', offerOf([[new Uint8Array(4), 80]]), 'malformed'],
  ['names an address in a short form', offerOf([['127.1', 80]]), 'malformed'],
  ['names port 0', offerOf([['10.0.0.1', 0]]), 'malformed'],
  ['names port 65536', offerOf([['10.0.0.1', 65_536]]), 'malformed'],
  ['names a port of text', offerOf([['10.0.0.1', '80']]), 'malformed'],
]

for (const [what, bytes, code] of offers) {
  test(`an offer that ${what} is refused`, async (t) => {
    const hostile = await offering(t, bytes)
    const { paths } = await dialler(t)
    await assert.rejects(connect(paths, addressesOf(hostile), NEVER), { code })
  })
}

test('an offer of any size costs one frame, and leaves no stream behind', async (t) => {
  const hostile = await offering(t, offerOf(Array.from({ length: 10_000 }, () => ['10.0.0.1', 1])))
  const { host: self, paths } = await dialler(t)
  // More often than libp2p lets one protocol have streams to one peer.
  for (let i = 0; i < 70; i++) {
    await assert.rejects(connect(paths, addressesOf(hostile), NEVER), { code: 'peer_unreachable' })
  }
  const streams = self.libp2p.getConnections().flatMap((connection) => connection.streams)
  assert.deepEqual(
    streams.filter(({ protocol }) => protocol === PROTOCOL),
    [],
  )
})

test('a peer that hangs up instead of offering cannot be reached', async (t) => {
  const host = await honestHost(t, 'hostile')
  await host.libp2p.handle(PROTOCOL, (stream) => stream.abort(new Error('no')))
  const { paths } = await dialler(t)
  await assert.rejects(connect(paths, addressesOf(host), NEVER), { code: 'peer_unreachable' })
})

test('nobody sends a peer to the services of its own machine', async (t) => {
  const victim = await silentPort(t)
  const { paths } = await dialler(t)
  for (const host of ['127.0.0.2', '0.0.0.0', '::ffff:127.0.0.1', '::1', '::']) {
    // The first candidate's port is taken for the address that the control connection reached: a closed one.
    const hostile = await offering(
      t,
      offerOf([
        [host, 1],
        [host, victim.port],
      ]),
    )
    await assert.rejects(connect(paths, addressesOf(hostile), NEVER), { code: 'peer_unreachable' }, host)
    await hostile.stop()
  }
  assert.equal(victim.visits(), 0)
})

test('a peer that offers no links cannot be reached', async (t) => {
  const host = await honestHost(t, 'plain')
  const { paths } = await dialler(t)
  await assert.rejects(connect(paths, addressesOf(host), NEVER), { code: 'peer_unreachable' })
})

test('a peer that is away, or another than its address says, cannot be reached', async (t) => {
  const host = await honestHost(t, 'away')
  const gone = addressesOf(host)
  await host.stop()
  const { paths } = await dialler(t)
  await assert.rejects(connect(paths, gone, NEVER), { code: 'peer_unreachable' })
  await assert.rejects(connect(paths, host.libp2p.peerId, NEVER), { code: 'peer_unreachable' })
  const other = await honestHost(t, 'other')
  const [address] = addressesOf(other).map((at) => at.toString().replace(/\/p2p\/.*/, ''))
  const wrong = [multiaddr(`${address}/p2p/${host.libp2p.peerId.toString()}`)]
  await assert.rejects(connect(paths, wrong, NEVER), { code: 'peer_unreachable' })
})

test('a dial that is given up ends at once, wherever it is', async (t) => {
  const { paths } = await dialler(t)
  await assert.rejects(connect(paths, [multiaddr('/ip4/127.0.0.1/tcp/1')], AbortSignal.abort()), {
    code: 'interrupted',
  })

  // While it waits for an offer.
  const asked = Promise.withResolvers<void>()
  const mute = await honestHost(t, 'mute')
  await mute.libp2p.handle(PROTOCOL, () => asked.resolve())
  const stop = new AbortController()
  const link = connect(paths, addressesOf(mute), stop.signal)
  await asked.promise
  stop.abort()
  await assert.rejects(link, { code: 'interrupted' })

  // While it waits for a handshake.
  const hole = await silentPort(t)
  const hostile = await offering(t, offerOf([['127.0.0.1', hole.port]]))
  const again = new AbortController()
  const late = connect(paths, addressesOf(hostile), again.signal)
  await once(hole.server, 'connection')
  again.abort()
  await assert.rejects(late, { code: 'interrupted' })
})

test('a peer that goes silent half-way is too slow, not interrupted', async (t) => {
  const { host: self, paths } = await dialler(t)
  const hole = await silentPort(t)
  const hostile = await offering(t, offerOf([['127.0.0.1', hole.port]]))
  await self.libp2p.dial(addressesOf(hostile))
  const runOut = heldTimeouts(t)
  const link = connect(paths, hostile.libp2p.peerId, NEVER)
  await once(hole.server, 'connection')
  runOut(10_000)
  await assert.rejects(link, { code: 'timed_out' })
})

test('a link port in use is an error', async (t) => {
  const { port } = await listening(t, 'server')
  const paths = new Paths((await honestHost(t, 'other')).libp2p)
  const options = { port, now: Date.now, random: randomBytes, onLink: () => {} }
  await assert.rejects(paths.listen(options), { code: 'port_in_use' })
})
