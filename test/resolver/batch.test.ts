import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import * as fs from 'node:fs'
import { test } from 'node:test'
import dnsPacket from 'dns-packet'
import koffi from 'koffi'
import { loadCalls } from '../../resolver/batch/mmsg.ts'
import { a, nameIn, respond, startUpstream } from './fake-upstream.ts'
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

test('what was answered over TCP is answered over UDP without a lookup, and a cleared cache is cleared everywhere', {
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

test('who watches sees each question, also those that the thread could answer', { skip }, async (t) => {
  const resolver = await startResolver(t, { lookup, batch: true, now: Date.now })
  await overUdp(resolver.port, [query('alice.p2p')])
  await overUdp(resolver.port, [query('alice.p2p')])
  const seen: unknown[] = []
  const end = resolver.watch(({ name, type, source }) => seen.push([name, type, source]))
  // The thread takes note between two batches.
  while (seen.length === 0) await overUdp(resolver.port, [query('alice.p2p')])
  assert.deepEqual(seen, [['alice.p2p', 1, 'cached']])
  end()
  await overUdp(resolver.port, [query('alice.p2p')])
  await overUdp(resolver.port, [query('alice.p2p')])
  assert.ok(seen.length <= 2)
})

test('the answers of others are kept in the thread as well, but not for who asks otherwise than a stub resolver', {
  skip,
}, async (t) => {
  const upstream = await startUpstream(t, (packet, send) => send(respond(packet, { answers: [a('198.51.100.1', 60)] })))
  const resolver = await startResolver(t, { lookup, batch: true, now: Date.now, upstream: upstream.address })
  const asked = (): number => upstream.asked.filter((name) => nameIn(name).toLowerCase() === 'example.com').length
  for (let i = 0; i < 10; i++) {
    assert.equal(addressIn((await overUdp(resolver.port, [query('example.com')]))[0]), '198.51.100.1')
  }
  assert.equal(asked(), 1)
  // Only what the main thread answers counts as forwarded: the first, and those before the thread has heard of it.
  assert.ok(resolver.stats().forwarded < 5)
  await overUdp(resolver.port, [query('example.com', { edns: 1232, dnssecOk: true })])
  assert.equal(asked(), 2)
})

test('when the thread breaks down the same port is served without it', { skip }, async (t) => {
  const resolver = await startResolver(t, { lookup, batch: true, now: Date.now })
  await overUdp(resolver.port, [query('alice.p2p')])
  assert.equal(resolver.stats().batched, true)
  // What its socket was is something else now.
  const dup2 = koffi.load(null).func('int dup2(int from, int to)') as (from: number, to: number) => number
  const other = fs.openSync('/dev/null', 'r')
  dup2(other, udpSocketAt(resolver.port))
  fs.closeSync(other)
  while (resolver.stats().batched) await new Promise(setImmediate)
  const answer = await persistently(resolver.port, query('alice.p2p', { id: 9 }))
  assert.deepEqual([answer.readUInt16BE(0), addressIn(answer)], [9, '192.0.2.1'])
  const { lookups, hits } = resolver.stats()
  assert.deepEqual([lookups, hits], [1, 1])
})

/** The answer to `packet`, which is sent again while nobody listens. */
async function persistently(port: number, packet: Buffer): Promise<Buffer> {
  const socket = createSocket('udp4')
  socket.connect(port, '127.0.0.1')
  await once(socket, 'connect')
  try {
    for (;;) {
      socket.send(packet)
      // A system that nobody listens to on that port says so.
      const answer = await once(socket, 'message').catch(() => undefined)
      if (answer) return answer[0] as Buffer
    }
  } finally {
    socket.close()
  }
}

/** The descriptor of this process that is bound to `port`. */
function udpSocketAt(port: number): number {
  const local = `:${port.toString(16).toUpperCase().padStart(4, '0')}`
  const rows = fs.readFileSync('/proc/self/net/udp', 'utf8').split('\n')
  const inode = rows.map((row) => row.trim().split(/\s+/)).find((row) => row[1]?.endsWith(local))?.[9]
  const isOurs = (fd: string): boolean => {
    try {
      return fs.readlinkSync(`/proc/self/fd/${fd}`) === `socket:[${inode}]`
    } catch {
      return false
    }
  }
  return Number(fs.readdirSync('/proc/self/fd').find(isOurs))
}

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

test('a datagram that is longer than any query is dropped, and not read as what is left of it', { skip }, async (t) => {
  const resolver = await startResolver(t, { lookup, batch: true, now: Date.now })
  const long = Buffer.concat([query('alice.p2p', { id: 1 }), Buffer.alloc(5_000)])
  const [answer] = await overUdp(resolver.port, [long, query('alice.p2p', { id: 2 })], 1)
  assert.equal(answer?.readUInt16BE(0), 2)
  assert.equal(resolver.stats().dropped, 1)
})
