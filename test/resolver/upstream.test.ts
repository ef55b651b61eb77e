import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { test } from 'node:test'
import { isError } from '../../node/core/errors.ts'
import { createResolver } from '../../resolver/index.ts'
import { a, nameIn, optWith, respond, rr, startUpstream } from './fake-upstream.ts'
import { decode, extendedErrorOf, lookupIn, NOW, overTcp, overUdp, query, startResolver, zoneOf } from './harness.ts'

const lookup = lookupIn({ 'alice.p2p': zoneOf([{ type: 'A', data: '192.0.2.1' }]) }, () => NOW)
const A = a('198.51.100.1')
const many = (count: number): Buffer[] => Array.from({ length: count }, (_, i) => a(`198.51.100.${i}`))

/** The same with the name of its question in one case. */
function inOneCase(response: Buffer): Buffer {
  const end = 12 + nameIn(response).length + 2
  response.write(response.toString('latin1', 12, end).toLowerCase(), 12, 'latin1')
  return response
}

test('another name is forwarded and its answer comes back under the id and in the case of the question', async (t) => {
  const upstream = await startUpstream(t, (packet, send) => send(respond(packet, { answers: [A] })))
  const resolver = await startResolver(t, { lookup, upstream: upstream.address })
  const [answer] = await overUdp(resolver.port, [query('WWW.Example.com', { id: 0xbeef })])
  const { id, answers, questions, flag_ra } = decode(answer)
  assert.deepEqual([id, answers?.length, questions?.[0]?.name, flag_ra], [0xbeef, 1, 'WWW.Example.com', true])
  assert.equal(resolver.stats().forwarded, 1)
})

test('no name below .p2p or .alt ever goes upstream', async (t) => {
  const upstream = await startUpstream(t, (packet, send) => send(respond(packet, { answers: [A] })))
  const { port } = await startResolver(t, { lookup, upstream: upstream.address })
  const plain = ['alice.p2p', 'ALICE.P2P', 'nobody.p2p', 'p2p', 'alice.p2p.alt', 'x.alt', 'alt']
  const odd = ['a b.p2p', '\xff.p2p', '_x._y.P2p.aLt']
  const ours = [...plain, ...odd].map((name) => query(name))
  assert.equal((await overUdp(port, ours)).length, ours.length)
  assert.equal(upstream.asked.length, 0)
  await overUdp(port, [query('p2p.com')])
  assert.equal(upstream.asked.length, 1)
})

test('an alias that leads others to one of our names is not followed upstream', async (t) => {
  const target = Buffer.from('\x05alice\x03p2p\x00', 'latin1')
  const upstream = await startUpstream(t, (packet, send) => send(respond(packet, { answers: [rr(5, target)] })))
  const { port } = await startResolver(t, { lookup, upstream: upstream.address })
  await overUdp(port, [query('www.example.com')])
  assert.deepEqual(
    upstream.asked.map((packet) => nameIn(packet).toLowerCase()),
    ['www.example.com'],
  )
})

test('answers from elsewhere, with another id or to another question, are not believed', async (t) => {
  const forger = createSocket('udp4').bind(0, '127.0.0.1')
  await once(forger, 'listening')
  t.after(() => forger.close())
  const upstream = await startUpstream(t, (packet, send, from) => {
    forger.send(respond(packet, { answers: many(9) }), from.port, from.address, () => {
      const otherId = respond(packet, { answers: many(8) })
      otherId.writeUInt16BE((packet.readUInt16BE(0) + 1) & 0xffff, 0)
      send(otherId)
      const otherName = respond(packet, { answers: many(7) })
      otherName[13] = 0x7a
      send(otherName)
      const otherType = respond(packet, { answers: many(6) })
      otherType[12 + nameIn(packet).length + 3] = 28
      send(otherType)
      send(packet)
      send(Buffer.alloc(3))
      send(respond(packet, { answers: [A] }))
    })
  })
  const { port } = await startResolver(t, { lookup, upstream: upstream.address })
  const [answer] = await overUdp(port, [query('www.example.com')])
  assert.equal(decode(answer).answers?.length, 1)
})

test('each question has an id, a port and a case of its own, and says nothing of who asked', async (t) => {
  const ports = new Set<number>()
  const upstream = await startUpstream(t, (packet, send, from) => {
    ports.add(from.port)
    send(respond(packet, { answers: [A] }))
  })
  const { port } = await startResolver(t, { lookup, upstream: upstream.address })
  const names = Array.from({ length: 8 }, (_, i) => `a${i}.a-rather-long-name.example`)
  await overUdp(
    port,
    names.map((name) => query(name, { id: 7, flags: 0x0120, edns: 4096 })),
  )
  assert.ok(new Set(upstream.asked.map((packet) => packet.readUInt16BE(0))).size > 1)
  assert.equal(ports.size, 8)
  const cases = new Set(upstream.asked.map((packet) => nameIn(packet).slice(2)))
  assert.ok(cases.size > 1, 'the letters')
  assert.deepEqual(new Set(upstream.asked.map((packet) => packet.readUInt16BE(2))), new Set([0x0100]))
  // An OPT of ours: root, type, 1232 bytes, no option.
  const opts = upstream.asked.map((packet) => packet.subarray(-11).toString('hex'))
  assert.deepEqual(new Set(opts), new Set(['00002904d0000000000000']))
})

test('a server that writes all letters in one case is asked again without, and soon always so', async (t) => {
  const upstream = await startUpstream(t, (packet, send) => send(inOneCase(respond(packet, { answers: [A] }))))
  const { port } = await startResolver(t, { lookup, upstream: upstream.address })
  for (let i = 0; i < 5; i++) {
    const [answer] = await overUdp(port, [query(`q${i}.the-letters-of-a-long-name-are-mixed.example`)])
    assert.equal(decode(answer).answers?.length, 1)
  }
  assert.equal(upstream.asked.length, 3 * 2 + 2)
  const last = upstream.asked.at(-1)
  assert.equal(last && nameIn(last), 'q4.the-letters-of-a-long-name-are-mixed.example')
})

test('a lost datagram is sent again', async (t) => {
  let lost = false
  const upstream = await startUpstream(t, (packet, send) => {
    if (lost) send(respond(packet, { answers: [A] }))
    lost = true
  })
  const { port } = await startResolver(t, { lookup, upstream: upstream.address })
  const [answer] = await overUdp(port, [query('example.com')])
  assert.equal(decode(answer).rcode, 'NOERROR')
})

test('what is truncated is asked for once over TCP, for those who come over UDP and those who come over TCP', async (t) => {
  let overStream = 0
  const upstream = await startUpstream(
    t,
    (packet, send) => send(respond(packet, { flags: 0x8380 })),
    (packet) => {
      overStream++
      return respond(packet, { answers: many(100) })
    },
  )
  const { port } = await startResolver(t, { lookup, upstream: upstream.address })
  const [udp] = await overUdp(port, [query('example.com')])
  const [tcp] = await overTcp(port, [query('example.com')])
  assert.deepEqual([decode(udp).flag_tc, decode(udp).answers?.length, (udp?.length ?? 0) <= 512], [true, 0, true])
  assert.deepEqual([decode(tcp).flag_tc, decode(tcp).answers?.length, overStream], [false, 100, 1])
})

test('a server that refuses what has an OPT is asked without one', async (t) => {
  const upstream = await startUpstream(t, (packet, send) => {
    const hasOpt = packet.readUInt16BE(10) > 0
    send(respond(packet, hasOpt ? { flags: 0x8181 } : { answers: [A] }))
  })
  const { port } = await startResolver(t, { lookup, upstream: upstream.address })
  for (const name of ['one.example', 'two.example']) {
    const [answer] = await overUdp(port, [query(name)])
    assert.equal(decode(answer).answers?.length, 1)
  }
  assert.equal(upstream.asked.length, 3, 'the second time it is known')
})

test('a server that keeps silent stands back for the next, and the next question goes there at once', async (t) => {
  const silent = await startUpstream(t, () => {})
  const good = await startUpstream(t, (packet, send) => send(respond(packet, { answers: [A] })))
  const { port } = await startResolver(t, { lookup, upstream: [silent.address, good.address] })
  for (const name of ['one.example', 'two.example', 'three.example']) {
    const [answer] = await overUdp(port, [query(name)])
    assert.equal(decode(answer).answers?.length, 1)
  }
  assert.deepEqual([silent.asked.length, good.asked.length], [1, 3])
})

test('with nobody there the answer is a failure that says so, and it holds for a while', async (t) => {
  const closed = createSocket('udp4').bind(0, '127.0.0.1')
  await once(closed, 'listening')
  const address = `127.0.0.1:${closed.address().port}`
  closed.close()
  const { port } = await startResolver(t, { lookup, upstream: address })
  const [answer] = await overUdp(port, [query('example.com', { edns: 1232 })])
  assert.equal(decode(answer).rcode, 'SERVFAIL')
  assert.deepEqual(extendedErrorOf(decode(answer)), [22, 'No upstream resolver can be reached'])
})

test('why another resolver failed is passed on', async (t) => {
  const upstream = await startUpstream(t, (packet, send) =>
    send(respond(packet, { flags: 0x8182, additional: [optWith(6, 'bogus')] })),
  )
  const { port } = await startResolver(t, { lookup, upstream: upstream.address })
  const [answer] = await overUdp(port, [query('example.com', { edns: 1232 })])
  assert.deepEqual([decode(answer).rcode, extendedErrorOf(decode(answer))], ['SERVFAIL', [6, 'bogus']])
})

test('an upstream is an address, with or without port, or `system`, and never the resolver itself', async () => {
  const options = { host: '127.0.0.1', port: 0, lookup, now: () => NOW }
  for (const upstream of ['192.0.2.1', '192.0.2.1:5353', '2001:db8::1', '[2001:db8::1]:53', 'system']) {
    await (await createResolver({ ...options, upstream })).stop()
  }
  for (const upstream of ['', 'dns.example', '192.0.2.1:0', '192.0.2.1:99999', ':53', '192.0.2.1:x']) {
    await assert.rejects(createResolver({ ...options, upstream }), (error) => isError(error, 'usage'), upstream)
  }
  const itself = createResolver({ ...options, port: 5399, upstream: ['192.0.2.1', '127.0.0.1:5399'] })
  await assert.rejects(itself, (error) => isError(error, 'usage'))
})
