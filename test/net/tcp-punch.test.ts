import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import { tellWhere } from '../../introducer/tcp-reflector.ts'
import { seenBytes } from '../../node/core/datagram.ts'
import type { HostPort } from '../../node/core/hosts.ts'
import { PunchPort, punchTcp } from '../../node/net/tcp-punch.ts'
import { heldTimeouts } from '../helpers/timeouts.ts'

const HERE = '127.0.0.1'
const nowhere = new AbortController().signal

async function listening(t: TestContext, onSocket: (socket: Socket) => void, port = 0, host = HERE): Promise<Server> {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket.on('error', () => undefined))
    onSocket(socket)
  }).listen(port, host)
  t.after(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  await once(server, 'listening')
  return server
}

const at = (server: Server, host = HERE): HostPort => ({ host, port: (server.address() as AddressInfo).port })

/** One on which nobody listens. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, HERE)
  await once(server, 'listening')
  const { port } = at(server)
  server.close()
  await once(server, 'close')
  return port
}

const echo = (socket: Socket): void => void socket.pipe(socket)

async function punchPort(t: TestContext, ...reflectors: HostPort[]): Promise<PunchPort> {
  const port = new PunchPort(reflectors)
  t.after(() => port.stop())
  await port.start()
  return port
}

test('two ends that connect to each other at once have one connection, though nobody listens', async () => {
  // The only two on one machine that are sure to do it at once are one and the same.
  const port = await freePort()
  const socket = await punchTcp(port, [{ host: HERE, port }], nowhere)
  assert.deepEqual([socket.localPort, socket.remotePort], [port, port])
  socket.write('hello')
  assert.equal(String(await once(socket, 'data')), 'hello')
  socket.destroy()
})

test('a punch starts from its port, and is tried again where it was refused', async (t) => {
  const [from, to] = [await freePort(), await freePort()]
  const punch = punchTcp(from, [{ host: HERE, port: to }], nowhere)
  // Refused meanwhile: nobody is there yet.
  const came = Promise.withResolvers<Socket>()
  await listening(t, came.resolve, to)
  const socket = await punch
  t.after(() => socket.destroy())
  assert.equal((await came.promise).remotePort, from)
})

test('of several addresses the one that works wins, and the others are given up', async (t) => {
  const [from, nobody] = [await freePort(), await freePort()]
  const server = await listening(t, echo)
  const candidates = [{ host: '127.0.0.2', port: nobody }, at(server), { host: HERE, port: nobody }]
  const socket = await punchTcp(from, candidates, nowhere)
  t.after(() => socket.destroy())
  assert.equal(socket.remotePort, at(server).port)
  socket.write('hello')
  assert.equal(String(await once(socket, 'data')), 'hello')
})

test('a punch that nobody meets stops when the time is over, or when it is told to', async (t) => {
  const runOut = heldTimeouts(t)
  const [from, nobody] = [await freePort(), await freePort()]
  const late = punchTcp(from, [{ host: HERE, port: nobody }], nowhere)
  runOut(3_000)
  await assert.rejects(late)
  const stop = new AbortController()
  const stopped = punchTcp(from, [{ host: HERE, port: nobody }], stop.signal)
  stop.abort()
  await assert.rejects(stopped)
  await assert.rejects(punchTcp(from, [{ host: HERE, port: nobody }], stop.signal))
})

test('reflectors tell where others see the port, and punches start from it meanwhile', async (t) => {
  const reflectors = [await listening(t, tellWhere), await listening(t, tellWhere)]
  const port = await punchPort(t, ...reflectors.map((server) => at(server)))
  assert.deepEqual(port.mapped, { host: HERE, port: port.port })
  const came = Promise.withResolvers<Socket>()
  const server = await listening(t, came.resolve)
  const socket = await punchTcp(port.port, [at(server)], nowhere)
  t.after(() => socket.destroy())
  assert.equal((await came.promise).remotePort, port.mapped?.port)
})

test('a port that each sees elsewhere is nowhere to be met', async (t) => {
  const other = { host: '192.0.2.1', port: 7 }
  const liar = await listening(t, (socket) => socket.once('data', () => socket.write(seenBytes(other))))
  const honest = await listening(t, tellWhere)
  assert.deepEqual((await punchPort(t, at(liar))).mapped, other)
  assert.equal((await punchPort(t, at(liar), at(honest))).mapped, undefined)
})

test('a reflector that talks nonsense, ends early or is not there tells nothing, and without any there is no port', async (t) => {
  const junk = await listening(t, (socket) => void socket.write(new Uint8Array(19)))
  const short = await listening(t, (socket) => void socket.end(new Uint8Array(5)))
  const port = await punchPort(t, at(junk), at(short), { host: HERE, port: await freePort() })
  assert.equal(port.mapped, undefined)
  const none = await punchPort(t)
  assert.deepEqual([none.port, none.mapped], [0, undefined])
})

test('a reflector that is lost is forgotten, and asked again', async (t) => {
  const sockets: Socket[] = []
  const server = await listening(t, (socket) => {
    sockets.push(socket)
    tellWhere(socket)
  })
  const port = await punchPort(t, at(server))
  const changed = (): Promise<void> => new Promise((resolve) => (port.onChange = resolve))
  const lost = changed()
  sockets[0]?.destroy()
  await lost
  assert.equal(port.mapped, undefined)
  await changed()
  assert.deepEqual(port.mapped, { host: HERE, port: port.port })
})
