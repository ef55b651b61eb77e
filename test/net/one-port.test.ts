import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import { createLinkServer, dialLink } from '../../node/net/link.ts'
import { FIRST_BYTE, type Takers } from '../../node/net/one-port.ts'
import { tcpPortOf } from '../../node/net/peers.ts'
import { honestHost, meet } from '../helpers/hosts.ts'

const MAX_UNDECIDED = 256

/** A host that says, to whoever comes as a question, everything that came; and ways to come. */
async function onePort(t: TestContext, takers: Takers = {}) {
  const reflect = (socket: Socket): void => void socket.on('error', () => undefined).pipe(socket)
  const host = await honestHost(t, 'one port', { takers: { reflect, ...takers } })
  const port = tcpPortOf(host.libp2p)
  const come = async (): Promise<Socket> => {
    const socket = connect(port, '127.0.0.1').on('error', () => undefined)
    t.after(() => socket.destroy())
    await once(socket, 'connect')
    return socket
  }
  return { host, port, come }
}

async function asks(socket: Socket, rest = ''): Promise<string> {
  socket.write(Buffer.concat([Uint8Array.of(FIRST_BYTE.reflect), Buffer.from(rest)]))
  const [answer] = (await once(socket, 'data')) as [Buffer]
  return answer.toString('latin1')
}

test('the first byte decides who takes a connection, and is left to read for whoever does', async (t) => {
  const taken: Buffer[] = []
  const { come } = await onePort(t, {
    tls: (socket) =>
      socket.on('data', (bytes) => {
        taken.push(bytes)
        if (Buffer.concat(taken).length === 6) socket.end()
      }),
  })
  assert.equal(await asks(await come(), 'where am I'), 'pwhere am I')
  const link = await come()
  link.write(Uint8Array.of(FIRST_BYTE.tls, 1, 2))
  link.write(Uint8Array.of(3, 4, 5))
  await once(link.resume(), 'close')
  assert.deepEqual(Buffer.concat(taken), Buffer.from([FIRST_BYTE.tls, 1, 2, 3, 4, 5]))
})

test('a connection for which there is no taker is closed', async (t) => {
  const { come } = await onePort(t)
  for (const first of ['GET / HTTP/1.1\r\n', Uint8Array.of(FIRST_BYTE.tls), Uint8Array.of(0)]) {
    const socket = await come()
    socket.resume().write(first)
    await once(socket, 'close')
  }
})

test('whoever says nothing for five seconds is closed, and whoever has said something is not', async (t) => {
  const { come } = await onePort(t)
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const [silent, talker] = [await come(), await come()]
  silent.resume()
  // They are accepted in the order in which they came.
  assert.equal(await asks(talker), 'p')
  t.mock.timers.tick(4_999)
  assert.equal(await asks(await come()), 'p')
  assert.equal(silent.closed, false)
  t.mock.timers.tick(1)
  await once(silent, 'close')
  assert.equal(await asks(talker), 'p')
  // The host has timers of its own to clear.
  t.mock.timers.reset()
})

test('the 257th connection that has said nothing pushes out the oldest, and no other', async (t) => {
  const { come } = await onePort(t)
  const silent: Socket[] = []
  for (let i = 0; i < MAX_UNDECIDED; i++) silent.push((await come()).resume())
  const [oldest, second] = silent as [Socket, Socket]
  assert.equal(oldest.closed, false)
  const last = await come()
  await once(oldest, 'close')
  assert.equal(await asks(second), 'p')
  assert.equal(await asks(last), 'p')
  assert.equal(silent.filter(({ closed }) => closed).length, 1)
})

test('libp2p and TLS links work on one port', async (t) => {
  const server = createLinkServer({ now: Date.now })
  t.after(() => server.stop())
  const { host, port } = await onePort(t, { tls: (socket) => server.accept(socket) })
  const other = await honestHost(t, 'other')
  await meet(other, host)
  const ticket = { id: randomBytes(16), secret: randomBytes(32) }
  server.expect(ticket, 'somebody', (socket) => socket.pipe(socket))
  const { socket } = await dialLink([{ host: '127.0.0.1', port }], ticket, { timeout: 5_000 })
  t.after(() => socket.destroy())
  socket.write('over a link')
  assert.equal(String(await once(socket, 'data')), 'over a link')
  assert.ok((await other.libp2p.services.ping.ping(host.libp2p.peerId)) >= 0)
})

test('the port closes although others hold connections to it, decided or not', async (t) => {
  const { host, come } = await onePort(t)
  const [silent, talker] = [await come(), await come()]
  await asks(talker)
  const closed = [silent, talker].map((socket) => once(socket.resume(), 'close'))
  await host.stop()
  await Promise.all(closed)
})
