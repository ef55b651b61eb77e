import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer } from 'node:net'
import { type TestContext, test } from 'node:test'
import type * as tls from 'node:tls'
import { dialLink } from '../../node/net/link.ts'
import { type LinkPort, linkPort } from '../helpers/link-port.ts'

interface Rig {
  server: LinkPort
  clock: { now: number }
  contexts: string[]
  here: { host: string; port: number }
}

/** A server that echoes whatever comes over a link. */
async function rig(t: TestContext): Promise<Rig> {
  const clock = { now: 1_000_000 }
  const contexts: string[] = []
  const server = await linkPort({
    now: () => clock.now,
    onLink: (socket, context) => {
      contexts.push(context)
      socket.pipe(socket)
    },
  })
  t.after(() => server.stop())
  return { server, clock, contexts, here: { host: '127.0.0.1', port: server.port } }
}

async function echo(socket: tls.TLSSocket, text: string): Promise<string> {
  socket.write(text)
  const [data] = (await once(socket, 'data')) as [Buffer]
  return data.toString()
}

test('a ticket opens one link, encrypted with TLS 1.3, known to its issuer', async (t) => {
  const { server, contexts, here } = await rig(t)
  const { socket, candidate } = await dialLink([here], server.issue('for bob'), { timeout: 5000 })
  assert.equal(await echo(socket, 'hello'), 'hello')
  assert.equal(socket.getProtocol(), 'TLSv1.3')
  assert.equal(socket.getCipher().name, 'TLS_AES_128_GCM_SHA256')
  assert.deepEqual(candidate, here)
  assert.deepEqual(contexts, ['for bob'])
  socket.destroy()
})

test('a wrong secret, an unknown id, an expired and a used ticket are refused, and the server goes on', async (t) => {
  const { server, clock, contexts, here } = await rig(t)
  const dial = (ticket: ReturnType<typeof server.issue>) => dialLink([here], ticket, { timeout: 5000 })
  await assert.rejects(dial({ ...server.issue('a'), secret: randomBytes(32) }), { code: 'ticket_invalid' })
  await assert.rejects(dial({ ...server.issue('b'), id: randomBytes(16) }), { code: 'ticket_invalid' })

  const late = server.issue('c')
  clock.now += 30_000
  await assert.rejects(dial(late), { code: 'ticket_invalid' })

  const ticket = server.issue('d')
  const first = await dial(ticket)
  await echo(first.socket, 'x')
  await assert.rejects(dial(ticket), { code: 'ticket_invalid' })
  assert.deepEqual(contexts, ['d'])
  first.socket.destroy()
})

test('the session of an earlier link does not open another', async (t) => {
  const { server, contexts, here } = await rig(t)
  const { socket } = await dialLink([here], server.issue('first'), { timeout: 5000 })
  await echo(socket, 'x')
  const session = socket.getSession()
  socket.destroy()
  const { connect: tlsConnect } = await import('node:tls')
  const again = tlsConnect({ ...here, session, minVersion: 'TLSv1.3', rejectUnauthorized: false })
  const [outcome] = await Promise.race([once(again, 'error'), once(again, 'close'), once(again, 'data')])
  assert.ok(!Buffer.isBuffer(outcome))
  assert.deepEqual(contexts, ['first'])
})

test('more tickets than are kept push out the oldest', async (t) => {
  const { server, here } = await rig(t)
  const oldest = server.issue('oldest')
  const kept = server.issue('kept')
  for (let i = 0; i < 1023; i++) server.issue(`more ${i}`)
  await assert.rejects(dialLink([here], oldest, { timeout: 5000 }), { code: 'ticket_invalid' })
  const { socket } = await dialLink([here], kept, { timeout: 5000 })
  socket.destroy()
})

test("a peer that asks for many tickets pushes out its own and nobody else's", async (t) => {
  const { server, here } = await rig(t)
  const honest = server.issue('honest')
  const greedy = server.issue('greedy')
  for (let i = 0; i < 2000; i++) server.issue('greedy')
  await assert.rejects(dialLink([here], greedy, { timeout: 5000 }), { code: 'ticket_invalid' })
  const { socket } = await dialLink([here], honest, { timeout: 5000 })
  socket.destroy()
})

test('bytes that are no handshake, and connections that say nothing, do not keep a peer out', async (t) => {
  const { server, here } = await rig(t)
  const noise = connect(here.port, here.host)
  noise.on('error', () => undefined).resume()
  noise.write(randomBytes(500))
  await once(noise, 'close')

  const silent = Array.from({ length: 70 }, () => connect(here.port, here.host).on('error', () => undefined))
  const closed = silent.slice(0, 6).map((socket) => once(socket.resume(), 'close'))
  await Promise.all(closed)
  const { socket } = await dialLink([here], server.issue('late'), { timeout: 5000 })
  assert.equal(await echo(socket, 'still here'), 'still here')
  socket.destroy()
  for (const other of silent) other.destroy()
})

test('of several candidates a working one wins, though one is silent and one refuses', async (t) => {
  const { server, here } = await rig(t)
  const silent = createServer().listen(0, '127.0.0.1')
  await once(silent, 'listening')
  t.after(() => silent.close())
  const closedPort = createServer().listen(0, '127.0.0.1')
  await once(closedPort, 'listening')
  const refusing = { host: '127.0.0.1', port: (closedPort.address() as AddressInfo).port }
  closedPort.close()
  await once(closedPort, 'close')

  const accepted = once(silent, 'connection') as Promise<[tls.TLSSocket]>
  const hanging = { host: '127.0.0.1', port: (silent.address() as AddressInfo).port }
  const { socket, candidate } = await dialLink([refusing, hanging, here], server.issue('x'), { timeout: 5000 })
  assert.deepEqual(candidate, here)
  const [loser] = await accepted
  loser.resume()
  await once(loser, 'close')
  socket.destroy()
})

test('a dial that nobody answers says so, and one that is stopped stops', async (t) => {
  const { server, here } = await rig(t)
  const ticket = server.issue('x')
  await server.stop()
  await assert.rejects(dialLink([here], ticket, { timeout: 5000 }), { code: 'peer_unreachable' })
  await assert.rejects(dialLink([], ticket, { timeout: 5000 }), { code: 'peer_unreachable' })

  const silent = createServer().listen(0, '127.0.0.1')
  await once(silent, 'listening')
  t.after(() => silent.close())
  const hanging = { host: '127.0.0.1', port: (silent.address() as AddressInfo).port }
  await assert.rejects(dialLink([hanging], ticket, { timeout: 200 }), { code: 'timed_out' })
  const stop = new AbortController()
  const dial = dialLink([hanging], ticket, { timeout: 5000, signal: stop.signal })
  stop.abort()
  await assert.rejects(dial, { code: 'interrupted' })
})
