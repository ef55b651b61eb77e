import assert from 'node:assert/strict'
import { test } from 'node:test'
import dnsPacket from 'dns-packet'
import { loadCalls } from '../../resolver/batch/mmsg.ts'
import { lookupIn, overTcp, overUdp, query, startResolver, zoneOf } from './harness.ts'

const skip = loadCalls() === undefined && 'many datagrams at once are taken on 64-bit Linux only'
const ZONE = zoneOf([{ type: 'A', data: '192.0.2.1', ttl: 300 }])
const lookup = lookupIn({ 'alice.p2p': ZONE }, Date.now)

function addressIn(answer: Buffer | undefined): unknown {
  const [first] = dnsPacket.decode(answer as Buffer).answers ?? []
  return first && 'data' in first ? first.data : undefined
}

test('a name is looked up once, and every later question is answered from what the thread keeps', {
  skip,
}, async (t) => {
  let lookups = 0
  const counted: typeof lookup = (...asked) => (lookups++, lookup(...asked))
  const resolver = await startResolver(t, { lookup: counted, batch: true, now: Date.now })
  for (let i = 0; i < 20; i++) {
    const [answer] = await overUdp(resolver.port, [query('alice.p2p', { id: i })])
    assert.deepEqual([answer?.readUInt16BE(0), addressIn(answer)], [i, '192.0.2.1'])
  }
  assert.equal(lookups, 1)
  const { hits, queries } = resolver.stats()
  assert.deepEqual([hits, queries], [19, 20])
})

test('hundreds of questions at once are each answered with their own id and case', { skip }, async (t) => {
  const resolver = await startResolver(t, { lookup, batch: true, now: Date.now })
  await overUdp(resolver.port, [query('alice.p2p')])
  const questions = Array.from({ length: 500 }, (_, id) => query(id % 2 ? 'aLiCe.p2P' : 'alice.p2p', { id }))
  const answers: Buffer[] = []
  // As many as a client's socket holds.
  for (let i = 0; i < 500; i += 100) answers.push(...(await overUdp(resolver.port, questions.slice(i, i + 100))))
  assert.deepEqual(
    answers.map((answer) => answer.readUInt16BE(0)).sort((a, b) => a - b),
    [...questions.keys()],
  )
  for (const answer of answers) {
    const question = questions[answer.readUInt16BE(0)] as Buffer
    assert.deepEqual(answer.subarray(12, question.length), question.subarray(12))
    assert.equal(addressIn(answer), '192.0.2.1')
  }
})

test('what was answered over TCP is kept for UDP too, and a cleared cache is cleared everywhere', {
  skip,
}, async (t) => {
  const seen = { lookups: 0 }
  const counted: typeof lookup = (...asked) => (seen.lookups++, lookup(...asked))
  const resolver = await startResolver(t, { lookup: counted, batch: true, now: Date.now })
  await overTcp(resolver.port, [query('alice.p2p')])
  await overUdp(resolver.port, [query('alice.p2p')])
  assert.equal(seen.lookups, 1)
  resolver.clear()
  // The thread looks for news between two batches.
  while (seen.lookups === 1) await overUdp(resolver.port, [query('alice.p2p')])
  assert.equal(seen.lookups, 2)
})

test('junk, responses and scraps get what they get elsewhere, and do not stop the thread', { skip }, async (t) => {
  const resolver = await startResolver(t, { lookup, batch: true, now: Date.now })
  const response = query('alice.p2p', { flags: 0x8000 })
  const opcode = query('alice.p2p', { flags: 0x2000, id: 7 })
  const [notImplemented, good] = await overUdp(
    resolver.port,
    [Buffer.alloc(5), response, opcode, query('alice.p2p', { id: 8 })],
    2,
  )
  assert.deepEqual([notImplemented?.readUInt16BE(0), (notImplemented?.[3] ?? 0) & 15], [7, 4])
  assert.equal(addressIn(good), '192.0.2.1')
  assert.equal(resolver.stats().dropped, 2)
})

test('a port that is in use is told as such', { skip }, async (t) => {
  const { port } = await startResolver(t, { lookup, batch: true, now: Date.now })
  await assert.rejects(startResolver(t, { lookup, batch: true, port, now: Date.now }), { code: 'port_in_use' })
})

test('a resolver that stops leaves the port free', { skip }, async (t) => {
  const first = await startResolver(t, { lookup, batch: true, now: Date.now })
  await first.stop()
  const second = await startResolver(t, { lookup, batch: true, port: first.port, now: Date.now })
  assert.equal(second.port, first.port)
})
