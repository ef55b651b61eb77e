import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { test } from 'node:test'
import { isError, P2pnsError } from '../../node/core/errors.ts'
import { createResolver } from '../../resolver/index.ts'
import {
  ask,
  Clock,
  decode,
  extendedErrorOf,
  lookupIn,
  NOW,
  overTcp,
  overUdp,
  query,
  startResolver,
  Z32,
  zoneOf,
} from './harness.ts'

const zones = {
  'alice.p2p': zoneOf([
    { type: 'A', data: '192.0.2.1' },
    { label: 'www', type: 'CNAME', data: Z32 },
    { label: 'big', type: 'TXT', data: 'x'.repeat(3_000) },
  ]),
}
const lookup = lookupIn(zones, () => NOW)

test('UDP and TCP answer on the same port', async (t) => {
  const { port } = await startResolver(t, { lookup })
  const [udp] = await overUdp(port, [query('alice.p2p')])
  const [tcp] = await overTcp(port, [query('alice.p2p')])
  assert.deepEqual(udp, tcp)
  const { rcode, flag_aa, flag_ra, answers } = decode(udp)
  assert.deepEqual([rcode, flag_aa, flag_ra, answers?.length], ['NOERROR', true, true, 1])
})

test('the answer to a second query is the same but for its id and case, and costs no lookup', async (t) => {
  const resolver = await startResolver(t, { lookup })
  const [first] = await overUdp(resolver.port, [query('www.alice.p2p', { id: 1 })])
  const [second] = await overUdp(resolver.port, [query('WwW.aLiCe.P2p', { id: 2 })])
  assert.deepEqual([resolver.stats().lookups, resolver.stats().hits], [1, 1])
  assert.deepEqual(
    decode(second).answers?.map((one) => one.name),
    ['WwW.aLiCe.P2p', 'aLiCe.P2p'],
  )
  assert.equal(second?.toString('latin1').toLowerCase().slice(4), first?.toString('latin1').toLowerCase().slice(4))
})

test('a cached answer is asked for again when its time is over, and shows what changed', async (t) => {
  const clock = new Clock()
  const known = { 'alice.p2p': zoneOf([{ type: 'A', data: '192.0.2.1', ttl: 60 }]) }
  const { port } = await startResolver(t, { lookup: lookupIn(known, clock.now), now: clock.now })
  const address = async () => {
    const [answer] = (await ask(port, 'alice.p2p')).answers ?? []
    return answer?.type === 'A' ? `${answer.data} ${answer.ttl}` : undefined
  }
  assert.equal(await address(), '192.0.2.1 60')
  known['alice.p2p'] = zoneOf([{ type: 'A', data: '192.0.2.2', ttl: 60 }])
  clock.ms += 59_999
  assert.equal(await address(), '192.0.2.1 1')
  clock.ms += 1
  assert.equal(await address(), '192.0.2.2 60')
})

test('cleared, it looks up again, and keeps nothing that was asked for before', async (t) => {
  const gates: (() => void)[] = []
  const slow = lookupIn(zones, () => NOW)
  const resolver = await startResolver(t, {
    async lookup(apex, options) {
      await new Promise<void>((resolve) => gates.push(resolve))
      return slow(apex, options)
    },
  })
  const first = ask(resolver.port, 'alice.p2p')
  while (gates.length < 1) await new Promise(setImmediate)
  resolver.clear()
  gates[0]?.()
  assert.equal((await first).rcode, 'NOERROR')
  const second = ask(resolver.port, 'alice.p2p')
  while (gates.length < 2) await new Promise(setImmediate)
  gates[1]?.()
  await second
  assert.equal(resolver.stats().hits, 0)
  await ask(resolver.port, 'alice.p2p')
  assert.equal(resolver.stats().hits, 1)
})

test('below a name that nobody has nothing is looked up for half a minute, or until it is cleared', async (t) => {
  const clock = new Clock()
  const resolver = await startResolver(t, { lookup: lookupIn({}, clock.now), now: clock.now })
  const lookupsAfter = async (name: string) => {
    assert.equal((await ask(resolver.port, name)).rcode, 'NXDOMAIN')
    return resolver.stats().lookups
  }
  assert.deepEqual([await lookupsAfter('nobody.p2p'), await lookupsAfter('a.nobody.p2p')], [1, 1])
  clock.ms += 29_999
  assert.equal(await lookupsAfter('b.nobody.p2p'), 1)
  clock.ms += 1
  assert.equal(await lookupsAfter('c.nobody.p2p'), 2)
  resolver.clear()
  assert.equal(await lookupsAfter('d.nobody.p2p'), 3)
})

test('questions about one zone in flight share its lookup', async (t) => {
  const gate = Promise.withResolvers<void>()
  const resolver = await startResolver(t, { lookup: async (...args) => (await gate.promise, lookup(...args)) })
  const names = ['alice.p2p', 'www.alice.p2p', 'ALICE.p2p', 'x.alice.p2p', 'alice.p2p']
  const answers = overUdp(
    resolver.port,
    names.map((name, id) => query(name, { id })),
  )
  while (resolver.stats().queries < names.length) await new Promise(setImmediate)
  gate.resolve()
  assert.equal((await answers).length, names.length)
  assert.equal(resolver.stats().lookups, 1)
})

test('a lookup that does not end is given up, says so, and is told to stop', async (t) => {
  let aborted = false
  const resolver = await startResolver(t, {
    lookupTimeout: 20,
    lookup: (_apex, { signal }) =>
      new Promise(() => {
        signal.addEventListener('abort', () => {
          aborted = true
        })
      }),
  })
  const answer = await ask(resolver.port, 'alice.p2p', { edns: 1232 })
  assert.deepEqual([answer.rcode, answer.answers, aborted], ['SERVFAIL', [], true])
  assert.deepEqual(extendedErrorOf(answer), [23, 'alice.p2p was not found within 20 ms'])
})

test('when too many names are looked up at once the rest is refused, and nothing that was cached suffers', async (t) => {
  const resolver = await startResolver(t, {
    lookup: (apex, ...rest) => (apex === 'alice.p2p' ? lookup(apex, ...rest) : new Promise(() => {})),
  })
  await ask(resolver.port, 'alice.p2p')
  const packets = Array.from({ length: 64 }, (_, i) => query(`x${i}.p2p`))
  // 256 of them wait, on four connections; what comes then is told so.
  for (let i = 0; i < 4; i++)
    void overTcp(
      resolver.port,
      packets.map((_, j) => query(`x${i}-${j}.p2p`)),
    ).catch(() => {})
  while (resolver.stats().lookups < 257) await new Promise(setImmediate)
  const answer = await ask(resolver.port, 'one-more.p2p', { edns: 1232 })
  assert.deepEqual([answer.rcode, extendedErrorOf(answer)], ['SERVFAIL', [23, 'Too many names are being looked up']])
  assert.equal((await ask(resolver.port, 'alice.p2p')).rcode, 'NOERROR')
})

test('what is known needs no lookup, however many others are looked up, and is shown though it is stale when there is no room', async (t) => {
  const known = lookupIn({ ...zones, 'old.p2p': zones['alice.p2p'] }, () => NOW)
  const resolver = await startResolver(t, {
    lookup: () => new Promise(() => {}),
    known: async (apex) => ({
      ...(await known(apex, { signal: AbortSignal.abort() })),
      stale: apex === 'old.p2p',
    }),
  })
  for (let i = 0; i < 4; i++) {
    const packets = Array.from({ length: 64 }, (_, j) => query(`x${i}-${j}.p2p`))
    void overTcp(resolver.port, packets).catch(() => {})
  }
  while (resolver.stats().lookups < 256) await new Promise(setImmediate)
  assert.equal((await ask(resolver.port, 'alice.p2p')).rcode, 'NOERROR')
  const old = await ask(resolver.port, 'old.p2p', { edns: 1232 })
  assert.deepEqual([old.rcode, extendedErrorOf(old)], ['NOERROR', [3, 'old.p2p could not be refreshed']])
  assert.equal((await ask(resolver.port, 'new.p2p')).rcode, 'SERVFAIL')
  assert.equal(resolver.stats().lookups, 256)
})

test('when all connections are taken the idlest of the client with the most makes room', async (t) => {
  const { port } = await startResolver(t, { lookup, host: '0.0.0.0' })
  const open = (localAddress: string) => connect({ port, host: '127.0.0.1', localAddress })
  const modest = open('127.0.0.2')
  await once(modest, 'connect')
  const crowd = []
  for (let i = 0; i < 255; i++) {
    const socket = open('127.0.0.1')
    crowd.push(socket)
    await once(socket, 'connect')
  }
  const [oldest, second] = crowd
  assert.ok(oldest && second)
  const packet = query('alice.p2p')
  const framed = Buffer.concat([Buffer.from([0, packet.length]), packet])
  oldest.write(framed)
  await once(oldest, 'data')
  const closed = once(second, 'close')
  second.resume()
  const late = open('127.0.0.3')
  late.write(framed)
  await once(late, 'data')
  await closed
  modest.write(framed)
  await once(modest, 'data')
  for (const socket of [modest, late, ...crowd]) socket.destroy()
})

test('when the network cannot be asked the answer says so, and a second later it is asked again', async (t) => {
  const clock = new Clock()
  let down = true
  const { port } = await startResolver(t, {
    now: clock.now,
    async lookup(...args) {
      if (down) throw new P2pnsError('network_unreachable', 'No introducer and no peer answered')
      return lookup(...args)
    },
  })
  const answer = await ask(port, 'alice.p2p', { edns: 1232 })
  assert.deepEqual([answer.rcode, extendedErrorOf(answer)], ['SERVFAIL', [22, 'No introducer and no peer answered']])
  assert.equal(extendedErrorOf(await ask(port, 'alice.p2p')), undefined, 'no OPT, no extended error')
  down = false
  assert.equal((await ask(port, 'alice.p2p')).rcode, 'SERVFAIL')
  clock.ms += 1_000
  assert.equal((await ask(port, 'alice.p2p')).rcode, 'NOERROR')
})

test('an answer that does not fit is truncated over UDP and whole over TCP', async (t) => {
  const { port } = await startResolver(t, { lookup })
  for (const edns of [undefined, 512, 4096]) {
    const [packet] = await overUdp(port, [
      query('big.alice.p2p', { type: 16, ...(edns === undefined ? {} : { edns }) }),
    ])
    assert.ok(decode(packet).flag_tc && (packet?.length ?? 0) <= 512)
  }
  const [whole] = await overTcp(port, [query('big.alice.p2p', { type: 16 })])
  assert.ok(!decode(whole).flag_tc && (whole?.length ?? 0) > 3_000)
})

test('what is no query of ours gets the answer that good servers give', async (t) => {
  const { port, ...resolver } = await startResolver(t, { lookup })
  const cases: [string, Buffer, string][] = [
    ['other names', query('example.com'), 'REFUSED'],
    ['the root', query(''), 'REFUSED'],
    [
      'a label with a dot in it',
      Buffer.concat([query('').subarray(0, 12), Buffer.from('\x05a.p2p\0\0\x01\0\x01', 'latin1')]),
      'REFUSED',
    ],
    ['class CH', query('alice.p2p', { class: 3 }), 'REFUSED'],
    ['a zone transfer', query('alice.p2p', { type: 252 }), 'REFUSED'],
    ['a status query', query('alice.p2p', { flags: 0x1000 }), 'NOTIMP'],
    ['no question', query('alice.p2p').fill(0, 4, 6), 'FORMERR'],
  ]
  for (const [what, packet, rcode] of cases) {
    const [answer] = await overUdp(port, [packet])
    assert.equal(decode(answer).rcode, rcode, what)
    assert.equal(answer?.readUInt16BE(0), 0x1234)
  }
  const [status] = await overUdp(port, [query('alice.p2p', { flags: 0x1000 })])
  assert.equal((status?.[2] ?? 0) & 0x78, 0x10, 'the opcode is echoed')
  const [badVersion] = await overUdp(port, [query('alice.p2p', { edns: 1232, version: 1 })])
  const [opt] = decode(badVersion).additionals ?? []
  assert.ok(opt?.type === 'OPT' && opt.extendedRcode === 1 && opt.ednsVersion === 0)
  assert.equal(resolver.stats().lookups, 0)
})

test('responses and scraps get no answer, so that two servers never talk to each other', async (t) => {
  const resolver = await startResolver(t, { lookup })
  const packets = [
    query('alice.p2p', { id: 1, flags: 0x8180 }),
    Buffer.from('x'),
    Buffer.alloc(0),
    query('alice.p2p', { id: 2 }),
  ]
  const [answer] = await overUdp(resolver.port, packets, 1)
  assert.equal(answer?.readUInt16BE(0), 2)
  assert.equal(resolver.stats().dropped, 3)
})

test('queries on one connection are answered as they are ready, however they are cut', async (t) => {
  const gate = Promise.withResolvers<void>()
  const { port } = await startResolver(t, {
    async lookup(apex, options) {
      if (apex !== 'alice.p2p') await gate.promise
      return lookup(apex, options)
    },
  })
  const answers = overTcp(port, [
    query('slow.p2p', { id: 1 }),
    query('alice.p2p', { id: 2 }),
    query('alice.p2p', { id: 3 }),
  ])
  setImmediate(() => void ask(port, 'alice.p2p').then(() => gate.resolve()))
  assert.deepEqual(
    (await answers).map((answer) => answer.readUInt16BE(0)),
    [2, 3, 1],
  )
})

test('a thousand queries at once on one connection are all answered, though only some may wait', async (t) => {
  const { port } = await startResolver(t, { lookup })
  const packets = Array.from({ length: 1_000 }, (_, id) => query(`x${id}.alice.p2p`, { id }))
  const ids = (await overTcp(port, packets)).map((answer) => answer.readUInt16BE(0))
  assert.equal(new Set(ids).size, 1_000)
})

test('a connection that sends what is no query is closed', async (t) => {
  const { port } = await startResolver(t, { lookup })
  for (const junk of [Buffer.alloc(5), query('alice.p2p', { flags: 0x8000 }), Buffer.alloc(5_000)]) {
    assert.deepEqual(await overTcp(port, [junk, query('alice.p2p')], 2).catch(() => []), [])
  }
  assert.equal((await overTcp(port, [query('alice.p2p')])).length, 1)
})

test('random packets crash nothing', async (t) => {
  const resolver = await startResolver(t, { lookup })
  let seed = 1
  const random = () => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) & 0x7fffffff
    return (seed >> 8) & 0xff
  }
  for (let round = 0; round < 40; round++) {
    const packets = Array.from({ length: 50 }, (_, i) => {
      const packet = i % 2 ? query('alice.p2p', { edns: 1232 }) : Buffer.alloc(random())
      for (let flips = i % 2 ? 3 : packet.length; flips > 0; flips--)
        packet[random() % Math.max(packet.length, 1)] = random()
      return packet
    })
    await overUdp(resolver.port, [...packets, query('alice.p2p', { id: round })], 1)
    await overTcp(resolver.port, packets.slice(0, 10), 10).catch(() => [])
  }
  assert.equal((await ask(resolver.port, 'alice.p2p')).rcode, 'NOERROR')
})

test('a port that is in use, by UDP or by TCP, is an error that names it', async (t) => {
  const { port } = await startResolver(t, { lookup })
  const options = { host: '127.0.0.1', lookup, now: () => NOW }
  await assert.rejects(
    createResolver({ ...options, port }),
    (error) => isError(error, 'port_in_use') && error.message.includes(String(port)),
  )
  const tcp = createServer().listen(0, '127.0.0.1')
  t.after(() => tcp.close())
  await once(tcp, 'listening')
  const taken = (tcp.address() as { port: number }).port
  await assert.rejects(createResolver({ ...options, port: taken }), (error) => isError(error, 'port_in_use'))
})

test('an address that cannot be listened on is a usage error', async () => {
  const options = { port: 0, lookup, now: () => NOW }
  for (const host of ['example.com', '', '192.0.2.1']) {
    await assert.rejects(createResolver({ ...options, host }), (error) => isError(error, 'usage'), host)
  }
})

test('stopped, it frees its port, tells lookups to end, and closes every connection', async (t) => {
  const started = Promise.withResolvers<AbortSignal>()
  const resolver = await startResolver(t, {
    lookup: (_apex, { signal }) => {
      started.resolve(signal)
      return new Promise(() => {})
    },
  })
  const answers = overTcp(resolver.port, [query('alice.p2p')]).catch(() => [])
  const signal = await started.promise
  await resolver.stop()
  assert.ok(signal.aborted)
  assert.deepEqual(await answers, [])
  const again = await createResolver({ host: '127.0.0.1', port: resolver.port, lookup, now: () => NOW })
  await again.stop()
})
