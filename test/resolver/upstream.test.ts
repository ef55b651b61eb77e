import assert from 'node:assert/strict'
import { createSocket, type RemoteInfo } from 'node:dgram'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { type TestContext, test } from 'node:test'
import { isError } from '../../node/core/errors.ts'
import { createResolver } from '../../resolver/index.ts'
import { decode, extendedErrorOf, lookupIn, NOW, overTcp, overUdp, query, startResolver, zoneOf } from './harness.ts'

const lookup = lookupIn({ 'alice.p2p': zoneOf([{ type: 'A', data: '192.0.2.1' }]) }, () => NOW)
const A_RECORD = Buffer.from('c00c000100010000003c0004c6336401', 'hex')

/** A response to `packet`: its id and question, and `records` A records. */
function respond(packet: Buffer, records = 1, flags = 0x8180): Buffer {
  const out = Buffer.concat([packet.subarray(0, packet.length), ...Array.from({ length: records }, () => A_RECORD)])
  out.writeUInt16BE(flags, 2)
  out.writeUInt16BE(records, 6)
  return out
}

type Udp = (packet: Buffer, send: (answer: Buffer) => void, from: RemoteInfo) => void

/** Somebody else's resolver, over UDP and TCP on one port. Keeps what it was asked. */
async function startUpstream(
  t: TestContext,
  udp: Udp,
  tcp?: (packet: Buffer) => Buffer,
): Promise<{ address: string; asked: Buffer[] }> {
  const asked: Buffer[] = []
  const socket = createSocket('udp4', (packet, from) => {
    asked.push(packet)
    udp(packet, (answer) => socket.send(answer, from.port, from.address), from)
  })
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  t.after(() => socket.close())
  const { port } = socket.address()
  if (tcp) {
    const server = createServer((connection) => {
      connection.on('error', () => {})
      connection.on('data', (chunk) => {
        const answer = tcp(chunk.subarray(2))
        connection.write(Buffer.concat([Buffer.from([answer.length >> 8, answer.length & 255]), answer]))
      })
    }).listen(port, '127.0.0.1')
    await once(server, 'listening')
    t.after(() => server.close())
  }
  return { address: `127.0.0.1:${port}`, asked }
}

test('another name is forwarded and its answer comes back under the id and in the case of the question', async (t) => {
  const upstream = await startUpstream(t, (packet, send) => {
    const lowered = Buffer.from(packet.toString('latin1').toLowerCase(), 'latin1')
    packet.copy(lowered, 0, 0, 12)
    send(respond(lowered))
  })
  const resolver = await startResolver(t, { lookup, upstream: upstream.address })
  const [answer] = await overUdp(resolver.port, [query('WWW.Example.com', { id: 0xbeef })])
  const { id, answers, questions, flag_ra } = decode(answer)
  assert.deepEqual([id, answers?.length, questions?.[0]?.name, flag_ra], [0xbeef, 1, 'WWW.Example.com', true])
  assert.equal(resolver.stats().forwarded, 1)
})

test('no name below .p2p or .alt ever goes upstream', async (t) => {
  const upstream = await startUpstream(t, (packet, send) => send(respond(packet)))
  const { port } = await startResolver(t, { lookup, upstream: upstream.address })
  const ours = [
    'alice.p2p',
    'ALICE.P2P',
    'nobody.p2p',
    'p2p',
    'alice.p2p.alt',
    'x.alt',
    'alt',
    'a b.p2p',
    '\xff.p2p',
    '_x._y.P2p.aLt',
  ]
  assert.equal(
    (
      await overUdp(
        port,
        ours.map((name) => query(name)),
      )
    ).length,
    ours.length,
  )
  assert.equal(upstream.asked.length, 0)
  await overUdp(port, [query('p2p.com')])
  assert.equal(upstream.asked.length, 1)
})

test('answers from elsewhere, with another id or to another question, are not believed', async (t) => {
  const forger = createSocket('udp4').bind(0, '127.0.0.1')
  await once(forger, 'listening')
  t.after(() => forger.close())
  const upstream = await startUpstream(t, (packet, send, from) => {
    forger.send(respond(packet, 9), from.port, from.address, () => {
      const otherId = respond(packet, 8)
      otherId.writeUInt16BE((packet.readUInt16BE(0) + 1) & 0xffff, 0)
      send(otherId)
      const otherName = respond(packet, 7)
      otherName[13] = 0x7a
      send(otherName)
      send(packet)
      send(Buffer.alloc(3))
      send(respond(packet, 1))
    })
  })
  const { port } = await startResolver(t, { lookup, upstream: upstream.address })
  const [answer] = await overUdp(port, [query('www.example.com')])
  assert.equal(decode(answer).answers?.length, 1)
})

test('the id that goes upstream is not the asker’s, and each question has a port of its own', async (t) => {
  const ports = new Set<number>()
  const upstream = await startUpstream(t, (packet, send, from) => {
    ports.add(from.port)
    send(respond(packet))
  })
  const { port } = await startResolver(t, { lookup, upstream: upstream.address })
  await overUdp(
    port,
    Array.from({ length: 8 }, (_, i) => query(`a${i}.example`, { id: 7 })),
  )
  assert.ok(new Set(upstream.asked.map((packet) => packet.readUInt16BE(0))).size > 1)
  assert.equal(ports.size, 8)
})

test('a lost datagram is sent again', async (t) => {
  let lost = false
  const upstream = await startUpstream(t, (packet, send) => {
    if (lost) send(respond(packet))
    lost = true
  })
  const { port } = await startResolver(t, { lookup, upstream: upstream.address })
  const [answer] = await overUdp(port, [query('example.com')])
  assert.equal(decode(answer).rcode, 'NOERROR')
})

test('a truncated answer is passed on over UDP and asked for again over TCP', async (t) => {
  const upstream = await startUpstream(
    t,
    (packet, send) => send(respond(packet, 0, 0x8380)),
    (packet) => respond(packet, 100),
  )
  const { port } = await startResolver(t, { lookup, upstream: upstream.address })
  const [udp] = await overUdp(port, [query('example.com')])
  const [tcp] = await overTcp(port, [query('example.com')])
  assert.deepEqual([decode(udp).flag_tc, decode(tcp).flag_tc, decode(tcp).answers?.length], [true, false, 100])
})

test('an answer larger than the asker can take is truncated', async (t) => {
  const upstream = await startUpstream(t, (packet, send) => send(respond(packet, 60)))
  const { port } = await startResolver(t, { lookup, upstream: upstream.address })
  const [answer] = await overUdp(port, [query('example.com')])
  assert.deepEqual(
    [decode(answer).flag_tc, decode(answer).answers?.length, (answer?.length ?? 0) <= 512],
    [true, 0, true],
  )
})

test('with nobody there the answer is a failure that says so', async (t) => {
  const closed = createSocket('udp4').bind(0, '127.0.0.1')
  await once(closed, 'listening')
  const address = `127.0.0.1:${closed.address().port}`
  closed.close()
  const { port } = await startResolver(t, { lookup, upstream: address })
  const [answer] = await overUdp(port, [query('example.com', { edns: 1232 })])
  assert.equal(decode(answer).rcode, 'SERVFAIL')
  assert.deepEqual(extendedErrorOf(decode(answer)), [23, 'The upstream resolver did not answer'])
})

test('an upstream is an address, with or without port', async () => {
  const options = { host: '127.0.0.1', port: 0, lookup, now: () => NOW }
  for (const upstream of ['192.0.2.1', '192.0.2.1:5353', '2001:db8::1', '[2001:db8::1]:53']) {
    await (await createResolver({ ...options, upstream })).stop()
  }
  for (const upstream of ['', 'dns.example', '192.0.2.1:0', '192.0.2.1:99999', ':53', '192.0.2.1:x']) {
    await assert.rejects(createResolver({ ...options, upstream }), (error) => isError(error, 'usage'), upstream)
  }
})
