import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CHUNK_SIZE } from '../../node/core/tree.ts'
import { SwarmWorld } from './swarm.ts'
import type { Outcome } from './swarm-ledger.ts'
import type { PeerPlan } from './swarm-peers.ts'

const UP = 4 * 1024 * 1024
const peer: PeerPlan = { up: UP, down: 4 * UP }
const peers = (count: number, plan: PeerPlan = peer): PeerPlan[] => Array<PeerPlan>(count).fill(plan)
const seedOf = (chunks: number): PeerPlan => ({ ...peer, has: { first: 0, count: chunks } })

/** A run that fails says its seed. */
function runSeed(seed: number, chunks: number, all: PeerPlan[], links?: number): Outcome {
  return new SwarmWorld({ seed, chunks, peers: all, limit: 300_000, ...(links === undefined ? {} : { links }) }).run()
}

/** Milliseconds that the peers `from` and on took; throws when one is not done. */
function times({ done }: Outcome, from = 0, to = done.length): number[] {
  return done.slice(from, to).map((at, index) => at ?? assert.fail(`peer ${from + index} is not done`))
}

function mean(values: number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length
}

/** Milliseconds that one copy takes a seed. */
const copyTime = (chunks: number): number => ((chunks * CHUNK_SIZE) / UP) * 1000

test('the same seed gives the same course, and another one another', () => {
  const run = (seed: number): Outcome => runSeed(seed, 32, [seedOf(32), ...peers(10)])
  const first = run(1)
  assert.deepEqual(run(1), first)
  assert.notEqual(run(2).course, first.course)
})

test('one seed and 50 peers: all have everything in three times what one copy takes, and the seed gives few copies', () => {
  for (const seed of [1, 2]) {
    const outcome = runSeed(seed, 64, [seedOf(64), ...peers(50)])
    const slowest = Math.max(...times(outcome, 1))
    assert.ok(slowest < 3 * copyTime(64), `seed ${seed}: ${slowest} ms`)
    assert.ok(outcome.firstCopy.given <= 1.25 * 64, `seed ${seed}: ${outcome.firstCopy.given} until the first copy`)
    assert.ok((outcome.given[0] as number) < 4 * 64, `seed ${seed}: ${outcome.given[0]} in all`)
  }
})

test('one seed and 200 peers: all have everything, and not much later than 50 have', () => {
  const outcome = runSeed(1, 48, [seedOf(48), ...peers(200)], 16)
  assert.ok(Math.max(...times(outcome, 1)) < 4 * copyTime(48))
  assert.ok(outcome.firstCopy.given < 2 * 48, `${outcome.firstCopy.given} until the first copy`)
})

test('a seed that goes after one copy leaves enough behind', () => {
  for (const seed of [1, 2, 3]) {
    const seeder = { ...seedOf(64), leavesHaving: { first: 0, count: 64 } }
    const outcome = runSeed(seed, 64, [seeder, ...peers(20)])
    times(outcome, 1)
    assert.ok((outcome.given[0] as number) <= 1.3 * 64, `seed ${seed}: it gave ${outcome.given[0]}`)
  }
})

test('who gives nothing is done later than who gives', () => {
  const slow: PeerPlan = { up: UP / 4, down: UP, slots: 4 }
  for (const seed of [1, 2, 3]) {
    const all = [{ ...slow, has: { first: 0, count: 96 } }, ...peers(20, slow), ...peers(8, { ...slow, gives: false })]
    const outcome = runSeed(seed, 96, all)
    const [giving, taking] = [mean(times(outcome, 1, 21)), mean(times(outcome, 21))]
    assert.ok(taking > 1.05 * giving, `seed ${seed}: ${taking} ms against ${giving} ms`)
  }
})

test('whoever a seed has no place for gets one when others are done', () => {
  const taker: PeerPlan = { ...peer, gives: false }
  const outcome = runSeed(1, 96, [seedOf(96), ...peers(24, taker)])
  const slowest = Math.max(...times(outcome, 1))
  assert.ok(slowest < 1.1 * 24 * copyTime(96), `${slowest} ms`)
})

test('a slow peer does not hold up the end', () => {
  for (const seed of [1, 2, 3]) {
    const slow: PeerPlan = { up: 16 * 1024, down: UP, has: { first: 0, count: 64 } }
    const alone = runSeed(seed, 64, [seedOf(64), seedOf(64), peer])
    const beside = runSeed(seed, 64, [seedOf(64), seedOf(64), slow, slow, peer])
    const [[at = 0], [ideal = 0]] = [times(beside, 4), times(alone, 2)]
    // What it has begun to send takes 16 s.
    assert.ok(at < 1.5 * ideal + 1000, `seed ${seed}: ${at} ms against ${ideal} ms`)
  }
})

test('less than 5 % of what comes is of no use', () => {
  for (const seed of [1, 2]) {
    const { wasted, given } = runSeed(seed, 192, [seedOf(192), ...peers(20)])
    const all = given.reduce((sum, count) => sum + count, 0)
    assert.ok(wasted < 0.05 * all, `seed ${seed}: ${wasted} of ${all}`)
  }
})

test('200 peers with a part each and no whole seed all finish', () => {
  const all = Array.from({ length: 200 }, (_, index) => ({ ...peer, has: { first: (index * 7) % 41, count: 8 } }))
  times(runSeed(1, 48, all, 16))
})
