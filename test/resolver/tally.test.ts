import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BOUNDS, Tally } from '../../resolver/tally.ts'
import { Clock, lookupIn, overTcp, query, startResolver, zoneOf } from './harness.ts'

test('what two threads counted adds up', () => {
  const [one, other] = [new Tally(), new Tally(new SharedArrayBuffer(1024))]
  one.answered('found', 0)
  one.count('lookups')
  other.answered('cached', 0)
  other.answered('stale', 3)
  other.answered('refused', 5)
  other.count('dropped')
  const { queries, hits, stale, misses, refused, dropped, lookups, rcodes } = Tally.sum([one, other], true)
  assert.deepEqual([queries, hits, stale, misses, refused, dropped, lookups], [4, 1, 1, 1, 1, 1, 1])
  assert.deepEqual(rcodes, { NOERROR: 2, NXDOMAIN: 1, REFUSED: 1 })
})

test('half of the answers took at most p50, and 95 of 100 at most p95', () => {
  const tally = new Tally()
  tally.took(0.000_15, 90)
  tally.took(0.03, 10)
  const { times } = Tally.sum([tally], false)
  assert.equal(times.count, 100)
  assert.ok(times.p50 > 0.000_1 && times.p50 <= 0.000_2)
  assert.ok(times.p95 > 0.02 && times.p95 <= 0.05)
  assert.ok(Math.abs(times.sum - 0.3135) < 1e-9)
  assert.deepEqual(
    times.upTo
      .map((some, i) => [BOUNDS[i], some])
      .filter(([bound]) => bound === 0.0001 || bound === 0.01 || bound === 5),
    [
      [0.0001, 0],
      [0.01, 90],
      [5, 100],
    ],
  )
})

test('with nothing answered there is nothing to tell, and what takes for ever is counted too', () => {
  assert.deepEqual(Tally.sum([new Tally()], false).times.p95, 0)
  const tally = new Tally()
  tally.took(1000)
  assert.deepEqual([Tally.sum([tally], false).times.count, Tally.sum([tally], false).times.p50], [1, 5])
})

test('each question is counted once, by where its answer came from and by its code', async (t) => {
  const clock = new Clock()
  const zone = zoneOf([{ type: 'A', data: '192.0.2.1', ttl: 300 }])
  const resolver = await startResolver(t, { lookup: lookupIn({ 'alice.p2p': zone }, clock.now), now: clock.now })
  for (const asked of [
    query('alice.p2p'),
    query('alice.p2p'),
    query('nobody.p2p'),
    query('example.com'),
    query('alice.p2p', { flags: 0x2100 }),
    query('alice.p2p', { edns: 1232, version: 1 }),
  ]) {
    await overTcp(resolver.port, [asked])
  }
  const { queries, hits, misses, refused, rcodes } = resolver.stats()
  assert.deepEqual([queries, hits, misses, refused], [6, 1, 2, 3])
  assert.deepEqual(rcodes, { NOERROR: 2, NXDOMAIN: 1, NOTIMP: 1, REFUSED: 1, BADVERS: 1 })
  assert.equal(resolver.stats().times.count, 5)
})

test('who watches is told what was asked by whom and how it was answered, until they look away', async (t) => {
  const zone = zoneOf([{ type: 'A', data: '192.0.2.1', ttl: 300 }])
  const resolver = await startResolver(t, { lookup: lookupIn({ 'alice.p2p': zone }, Date.now), now: Date.now })
  const seen: [string, ...unknown[]][] = []
  const end = resolver.watch(({ client, transport, name, type, rcode, source }) =>
    seen.push([client, transport, name, type, rcode, source]),
  )
  await overTcp(resolver.port, [query('ALICE.p2p'), query('alice.p2p'), query('a.com', { type: 28 })])
  end()
  await overTcp(resolver.port, [query('alice.p2p')])
  // What is known at once comes first.
  assert.deepEqual(seen, [
    ['127.0.0.1', 'tcp', 'a.com', 28, 5, 'refused'],
    ['127.0.0.1', 'tcp', 'alice.p2p', 1, 0, 'found'],
    ['127.0.0.1', 'tcp', 'alice.p2p', 1, 0, 'found'],
  ])
})
