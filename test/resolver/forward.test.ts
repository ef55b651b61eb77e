import assert from 'node:assert/strict'
import { test } from 'node:test'
import { P2pnsError } from '../../node/core/errors.ts'
import { isAppended } from '../../resolver/appended.ts'
import { CachingForwarder, type ForwarderOptions } from '../../resolver/forward.ts'
import type { Forwarded } from '../../resolver/outside.ts'
import type { Question } from '../../resolver/upstream.ts'
import { type Received, readResponse } from '../../resolver/upstream-answer.ts'
import { fill, type Query, readQuery, udpLimit } from '../../resolver/wire.ts'
import { a, nameIn, respond, soa } from './fake-upstream.ts'
import { Clock, type Decoded, decode, extendedErrorOf, query } from './harness.ts'

const HOUR = 3_600_000
const gone = (): Promise<never> => Promise.reject(new P2pnsError('network_unreachable', 'Nobody can be reached'))

/** A forwarder whose upstream is `answer`, which may be exchanged, and what that was asked. */
function setUp(first: (packet: Buffer) => Buffer | Promise<Buffer>, options: Partial<ForwarderOptions> = {}) {
  const clock = new Clock()
  const upstream = { answer: first, asked: [] as string[] }
  const ask = async (question: Question): Promise<Received> => {
    const packet = Buffer.concat([Buffer.from('000001000001000000000000', 'hex'), question.wire])
    upstream.asked.push(nameIn(packet))
    return readResponse(question, await upstream.answer(packet), () => true)
  }
  const forwarder = new CachingForwarder({ ask, gone: () => false, now: clock.now, ...options })
  const find = (name: string, edns = true, flags = 0x0100): { asked: Query; found: Forwarded | Promise<Forwarded> } => {
    const asked = readQuery(query(name, edns ? { edns: 1232, flags } : { flags }))
    assert.ok(!('drop' in asked))
    return { asked, found: forwarder.forward(asked, '192.0.2.7') }
  }
  const put = async (name: string, edns = true, flags = 0x0100): Promise<Decoded> => {
    const { asked, found } = find(name, edns, flags)
    return decode(fill(asked, (await found).template, udpLimit(asked)))
  }
  return { clock, upstream, put, find }
}

function ttlOf(answer: Decoded): number | undefined {
  const [first] = answer.answers ?? []
  return first && 'ttl' in first ? first.ttl : undefined
}

test('an answer is kept as long as its TTL, which is lowered by the time that passed', async () => {
  const { clock, upstream, put } = setUp((packet) => respond(packet, { answers: [a('198.51.100.1', 60)] }))
  assert.equal(ttlOf(await put('Example.com')), 60)
  clock.ms += 45_500
  assert.equal(ttlOf(await put('EXAMPLE.com')), 15)
  assert.equal(upstream.asked.length, 1)
  clock.ms += 15_000
  assert.equal(ttlOf(await put('example.com')), 60)
  assert.equal(upstream.asked.length, 2)
})

test('that there is no such name holds as long as its SOA says, and not at all without one', async () => {
  const missing = setUp((packet) => respond(packet, { flags: 0x8183, authority: [soa(900, 120)] }))
  assert.equal((await missing.put('no.example')).rcode, 'NXDOMAIN')
  missing.clock.ms += 119_000
  const [record] = (await missing.put('no.example')).authorities ?? []
  assert.equal(record && 'ttl' in record && record.ttl, 1)
  assert.equal(missing.upstream.asked.length, 1)
  missing.clock.ms += 1_000
  await missing.put('no.example')
  assert.equal(missing.upstream.asked.length, 2)

  const silent = setUp((packet) => respond(packet, { flags: 0x8183 }))
  await silent.put('no.example')
  await silent.put('no.example')
  assert.equal(silent.upstream.asked.length, 2)
})

test('the same question of many is asked once', async () => {
  const { promise: wait, resolve } = Promise.withResolvers<void>()
  const { upstream, put } = setUp((packet) => respond(packet, { answers: [a('198.51.100.1')] }))
  const { answer } = upstream
  upstream.answer = async (packet) => {
    await wait
    return await answer(packet)
  }
  const asked = ['a.example', 'A.example', 'a.EXAMPLE'].map((name) => put(name, false))
  resolve()
  assert.deepEqual(
    (await Promise.all(asked)).map(({ answers }) => answers?.length),
    [1, 1, 1],
  )
  assert.equal(upstream.asked.length, 1)
})

test('what asks for signatures, without checks or without recursion has answers of its own', async () => {
  const { upstream, put } = setUp((packet) => respond(packet, { answers: [a('198.51.100.1')] }))
  for (const flags of [0x0100, 0x0110, 0x0000, 0x0100]) await put('a.example', true, flags)
  assert.equal(upstream.asked.length, 3)
})

test('a failure is not asked for again for five seconds, and then for longer', async () => {
  const { clock, upstream, put } = setUp(gone)
  const first = await put('a.example')
  assert.deepEqual([first.rcode, extendedErrorOf(first)], ['SERVFAIL', [22, 'Nobody can be reached']])
  clock.ms += 4_999
  await put('a.example')
  assert.equal(upstream.asked.length, 1)
  clock.ms += 1
  await put('a.example')
  clock.ms += 9_999
  await put('a.example')
  assert.equal(upstream.asked.length, 2)
  clock.ms += 1
  upstream.answer = (packet) => respond(packet, { answers: [a('198.51.100.1')] })
  assert.equal((await put('a.example')).rcode, 'NOERROR')
})

test('the network gone for an hour: names used before still answer, marked stale, and are new when it is back', async () => {
  const { clock, upstream, put } = setUp((packet) =>
    nameIn(packet).startsWith('no')
      ? respond(packet, { flags: 0x8183, authority: [soa(300, 300)] })
      : respond(packet, { answers: [a('198.51.100.1', 300)] }),
  )
  const online = upstream.answer
  await put('www.example')
  await put('no.example')
  upstream.answer = gone
  clock.ms += HOUR
  for (let i = 0; i < 50; i++) {
    const stale = await put('www.example')
    assert.deepEqual([stale.rcode, ttlOf(stale), extendedErrorOf(stale)?.[0]], ['NOERROR', 30, 3])
  }
  assert.equal(upstream.asked.length, 3, 'asked for once, and then given up for a while')
  const missing = await put('no.example')
  assert.deepEqual([missing.rcode, extendedErrorOf(missing)?.[0]], ['NXDOMAIN', 19])
  assert.equal((await put('never.asked')).rcode, 'SERVFAIL')

  upstream.answer = online
  clock.ms += 30_000
  const fresh = await put('www.example')
  assert.deepEqual([ttlOf(fresh), extendedErrorOf(fresh)], [300, undefined])
})

test('after a day a stale answer is none any more', async () => {
  const { clock, upstream, put } = setUp((packet) => respond(packet, { answers: [a('198.51.100.1', 60)] }))
  await put('www.example')
  upstream.answer = gone
  clock.ms += 24 * HOUR + 59_999
  assert.equal((await put('www.example')).rcode, 'NOERROR')
  clock.ms += 30_001
  assert.equal((await put('www.example')).rcode, 'SERVFAIL')
})

test('a stale answer comes before the patience of who asks is over, and the late one is kept', async () => {
  const { clock, upstream, put } = setUp((packet) => respond(packet, { answers: [a('198.51.100.1', 60)] }), {
    patience: 1,
  })
  const { promise, resolve } = Promise.withResolvers<Buffer>()
  const online = upstream.answer
  await put('www.example')
  clock.ms += HOUR
  upstream.answer = () => promise
  assert.equal(extendedErrorOf(await put('www.example'))?.[0], 3)
  resolve(online(query('www.example')))
  await promise
  const fresh = await put('www.example')
  assert.deepEqual([ttlOf(fresh), extendedErrorOf(fresh), upstream.asked.length], [60, undefined, 2])
})

test('when the network is known to be gone nobody waits for it', async () => {
  const away = { gone: false }
  const { clock, upstream, put } = setUp((packet) => respond(packet, { answers: [a('198.51.100.1', 60)] }), {
    gone: () => away.gone,
    patience: 60_000,
  })
  await put('www.example')
  clock.ms += HOUR
  away.gone = true
  upstream.answer = () => new Promise<Buffer>(() => {})
  assert.equal(extendedErrorOf(await put('www.example'))?.[0], 3)
  assert.equal(upstream.asked.length, 2, 'it is asked for all the same')
})

test('what many ask for is fetched again shortly before its time, once; what nobody asks for is not', async () => {
  const { clock, upstream, put } = setUp((packet) => respond(packet, { answers: [a('198.51.100.1', 100)] }))
  for (const name of ['hot.example', 'hot.example', 'hot.example', 'cold.example']) await put(name)
  assert.deepEqual(upstream.asked, ['hot.example', 'cold.example'])
  clock.ms += 89_000
  await put('hot.example')
  assert.equal(upstream.asked.length, 2)
  clock.ms += 1_000
  assert.equal(ttlOf(await put('hot.example')), 10, 'who asks does not wait')
  await put('cold.example')
  assert.deepEqual(upstream.asked.slice(2), ['hot.example'])
  assert.equal(ttlOf(await put('hot.example')), 100)
  assert.equal(upstream.asked.length, 3)
})

test('another may repeat an answer until it may have to be fetched again, and no stale one and no failure at all', async () => {
  const { clock, upstream, put, find } = setUp((packet) => respond(packet, { answers: [a('198.51.100.1', 100)] }))
  const told = async (): Promise<unknown[]> => {
    const { source, lifetime } = await find('example.com').found
    return [source, lifetime]
  }
  assert.deepEqual(await told(), ['found', 0])
  clock.ms += 30_000
  assert.deepEqual(await told(), ['cached', 60])
  clock.ms += 61_000
  assert.deepEqual(await told(), ['cached', 0])
  upstream.answer = gone
  clock.ms += HOUR
  assert.deepEqual(await told(), ['stale', 0])
  await put('other.example')
  assert.deepEqual([(await find('other.example').found).lifetime], [0])
})

test('a name that is ours is never asked for, whoever wants it', async () => {
  const { upstream, put } = setUp((packet) => respond(packet, { answers: [a('198.51.100.1')] }))
  for (const name of ['alice.p2p', 'p2p', 'x.alt', 'alice.p2p.alt', 'localhost']) {
    assert.equal((await put(name)).rcode, 'SERVFAIL')
  }
  assert.deepEqual(upstream.asked, [])
})

test('a name of ours with a search domain behind it is not asked for, and does not exist', async () => {
  const search = ['Fritz.Box.', 'example.org']
  const { upstream, put } = setUp((packet) => respond(packet, { answers: [a('198.51.100.1')] }), {
    withheld: (name) => isAppended(name, search),
  })
  for (const name of [
    'Alice.p2p.fritz.box',
    'www.alice.p2p.example.org',
    'alice.p2p.alt.fritz.box',
    'x.alt.fritz.box',
  ]) {
    const answer = await put(name)
    assert.deepEqual([answer.rcode, answer.authorities?.[0]?.type], ['NXDOMAIN', 'SOA'], name)
    assert.match(extendedErrorOf(answer)?.[1] ?? '', /search domain/, name)
  }
  assert.deepEqual(upstream.asked, [])
  const others = ['p2p.fritz.box', 'nas.fritz.box', 'xp2p.fritz.box', 'alice.p2p.example.com', 'p2p.box', 'fritz.box']
  for (const name of others) assert.equal((await put(name)).rcode, 'NOERROR', name)
  assert.deepEqual(upstream.asked, others)
  assert.ok(!isAppended('alice.p2p.example', ['', '.']))
})
