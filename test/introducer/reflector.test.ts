import assert from 'node:assert/strict'
import * as dgram from 'node:dgram'
import { once } from 'node:events'
import { networkInterfaces } from 'node:os'
import { type TestContext, test } from 'node:test'
import { startReflector } from '../../introducer/reflector.ts'
import { encodePoke, encodeQuestion, parseReflection, type Reflection } from '../../node/core/datagram.ts'
import { type Bytes, toHex } from '../../node/core/encoding.ts'

const NONCE = new Uint8Array(12).fill(3)

async function reflectorOf(t: TestContext, ipv6 = false) {
  const reflector = await startReflector({ ports: [0, 0], ipv6 })
  t.after(() => reflector.stop())
  return reflector
}

/** A socket that asks, and keeps all that comes. */
async function asker(t: TestContext, address = '127.0.0.1') {
  const socket = dgram.createSocket(address.includes(':') ? 'udp6' : 'udp4')
  socket.bind(0, address)
  await once(socket, 'listening')
  t.after(() => socket.close())
  const heard: Bytes[] = []
  socket.on('message', (bytes) => heard.push(bytes))
  return {
    at: { host: address, port: socket.address().port },
    heard,
    send: (bytes: Bytes, port: number) => socket.send(bytes, port, address),
    async next(): Promise<{ told: Reflection | undefined; from: number }> {
      const [bytes, { port }] = (await once(socket, 'message')) as [Buffer, dgram.RemoteInfo]
      return { told: parseReflection(bytes), from: port }
    },
  }
}

test('whoever asks with a cookie is told the address and port that both ports of the reflector see', async (t) => {
  const { ports } = await reflectorOf(t)
  const peer = await asker(t)
  assert.notEqual(ports[0], ports[1])
  for (const port of ports) {
    peer.send(encodeQuestion(NONCE), port)
    const first = await peer.next()
    assert.ok(first.told?.type === 'cookie')
    peer.send(encodeQuestion(NONCE, first.told.cookie), port)
    const { told, from } = await peer.next()
    assert.ok(told?.type === 'answer')
    assert.deepEqual([told.seen, toHex(told.nonce), from], [peer.at, toHex(NONCE), port])
  }
})

test('a cookie is good at both ports', async (t) => {
  const { ports } = await reflectorOf(t)
  const peer = await asker(t)
  peer.send(encodeQuestion(NONCE), ports[0])
  const { told } = await peer.next()
  assert.ok(told?.type === 'cookie')
  peer.send(encodeQuestion(NONCE, told.cookie), ports[1])
  assert.equal((await peer.next()).told?.type, 'answer')
})

test('junk gets nothing', async (t) => {
  const { ports } = await reflectorOf(t)
  const peer = await asker(t)
  const junk = [
    new Uint8Array(0),
    Uint8Array.of(0x70),
    new Uint8Array(48),
    encodeQuestion(NONCE).subarray(0, 47),
    Buffer.concat([encodeQuestion(NONCE), Buffer.alloc(1)]),
    encodePoke(NONCE),
    new Uint8Array(1400).fill(0xff),
  ]
  for (const bytes of junk) peer.send(bytes, ports[0])
  peer.send(encodeQuestion(NONCE), ports[0])
  // Answers come in the order of what they answer: this one is to the question.
  const { told } = await peer.next()
  assert.equal(told?.type, 'cookie')
  assert.equal(peer.heard.length, 1)
})

test('a poke comes from the port that was asked for', async (t) => {
  const reflector = await reflectorOf(t)
  const peer = await asker(t)
  for (const which of [0, 1] as const) {
    reflector.poke(which, peer.at, NONCE)
    const { told, from } = await peer.next()
    assert.ok(told?.type === 'poke')
    assert.deepEqual([toHex(told.nonce), from], [toHex(NONCE), reflector.ports[which]])
  }
})

const hasIpv6 = Object.values(networkInterfaces()).some((all) => all?.some(({ address }) => address === '::1'))

test('it answers and pokes over IPv6, on the same ports', { skip: !hasIpv6 && 'no IPv6 here' }, async (t) => {
  const reflector = await reflectorOf(t, true)
  const peer = await asker(t, '::1')
  peer.send(encodeQuestion(NONCE), reflector.ports[1])
  const first = await peer.next()
  assert.ok(first.told?.type === 'cookie')
  peer.send(encodeQuestion(NONCE, first.told.cookie), reflector.ports[1])
  const { told } = await peer.next()
  assert.ok(told?.type === 'answer')
  assert.deepEqual(told.seen, peer.at)
  reflector.poke(0, peer.at, NONCE)
  assert.deepEqual((await peer.next()).from, reflector.ports[0])
})

test('a port that somebody has is told', async (t) => {
  const taken = dgram.createSocket('udp4')
  taken.bind(0)
  await once(taken, 'listening')
  t.after(() => taken.close())
  const { port } = taken.address()
  await assert.rejects(startReflector({ ports: [0, port], ipv6: false }), { code: 'port_in_use' })
})

test('a reflector that stopped has left its ports', async () => {
  const reflector = await startReflector({ ports: [0, 0], ipv6: false })
  await reflector.stop()
  const again = await startReflector({ ports: reflector.ports, ipv6: false })
  assert.deepEqual(again.ports, reflector.ports)
  await again.stop()
})

test('when its thread breaks down another answers at the same ports, after a second', async (t) => {
  const reflector = await reflectorOf(t)
  const [port] = reflector.ports
  const peer = await asker(t)
  peer.send(encodeQuestion(NONCE), port)
  const { told } = await peer.next()
  assert.ok(told?.type === 'cookie')
  const question = encodeQuestion(NONCE, told.cookie)
  // There is no such port, and so it throws.
  reflector.poke(0, { host: '127.0.0.1', port: 99_999 }, NONCE)
  const asking = setInterval(() => peer.send(question, port), 50)
  t.after(() => clearInterval(asking))
  // Another thread has another key, and so does not know the cookie.
  while ((await peer.next()).told?.type !== 'cookie');
})
