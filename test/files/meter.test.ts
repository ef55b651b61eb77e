import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import * as fc from 'fast-check'
import { CHUNK_SIZE } from '../../node/core/tree.ts'
import { MAX_PIPELINE, Meter } from '../../node/files/meter.ts'
import { heldClock } from './rig.ts'

/** A meter, and a link that brings `rate` bytes a second for `ms` milliseconds. */
function metered(t: TestContext) {
  const turn = heldClock(t)
  const meter = new Meter()
  let received = 0
  const bring = (rate: number, ms: number): void => {
    for (let left = ms; left > 0; left -= 50) {
      turn(Math.min(left, 50))
      received += (rate * Math.min(left, 50)) / 1000
      meter.received(received)
    }
  }
  const answer = (roundTrip: number): void => {
    meter.asked()
    turn(roundTrip)
    meter.received(received)
  }
  return { meter, turn, bring, answer }
}

test('before half a second has passed there is no rate, and no say in how far ahead a peer is asked', (t) => {
  const { meter, bring } = metered(t)
  bring(1e6, 450)
  assert.equal(meter.rate, 0)
  assert.equal(meter.pipeline(true), undefined)
  bring(1e6, 50)
  assert.equal(meter.rate, 1e6)
})

test('the rate comes closer to a new one with each half second', (t) => {
  const { meter, bring } = metered(t)
  bring(8e6, 2_000)
  assert.equal(meter.rate, 8e6)
  const seen = [1, 2, 3].map(() => {
    bring(0, 500)
    return meter.rate
  })
  assert.deepEqual(seen, [4e6, 2e6, 1e6])
})

test('a link on which nothing came for two seconds has no rate', (t) => {
  const { meter, turn, bring } = metered(t)
  bring(8e6, 1_000)
  turn(2_000)
  assert.equal(meter.rate, 8e6)
  turn(1)
  assert.equal(meter.rate, 0)
  assert.equal(meter.pipeline(true), undefined)
})

test('a peer is asked for twice what is on the way in a round trip, the shortest that was seen', (t) => {
  const { meter, bring, answer } = metered(t)
  const rate = 40 * CHUNK_SIZE
  bring(rate, 1_000)
  answer(300)
  bring(rate, 700)
  const slow = meter.rate
  assert.equal(meter.pipeline(true), Math.ceil((slow * 0.6) / CHUNK_SIZE))
  answer(200)
  answer(900)
  bring(rate, 5_000)
  // Half a second of its rate is more than twice 200 ms; of who has a part a quarter is asked.
  assert.equal(meter.pipeline(true), Math.ceil((meter.rate * 0.5) / CHUNK_SIZE))
  assert.equal(meter.pipeline(false), Math.ceil((meter.rate * 0.4) / CHUNK_SIZE))
})

test('a slow peer is asked for a few chunks all the same, and no peer for more than the limit', (t) => {
  const slow = metered(t)
  slow.bring(1, 1_000)
  assert.equal(slow.meter.pipeline(true), 8)
  assert.equal(slow.meter.pipeline(false), 2)
  slow.bring(1e12, 1_000)
  assert.equal(slow.meter.pipeline(true), MAX_PIPELINE)
})

test('whatever comes, and when: a rate is no less than nothing and no more than the fastest', (t) => {
  const turn = heldClock(t)
  const course = fc.array(fc.tuple(fc.integer({ min: 1, max: 3_000 }), fc.integer({ min: 0, max: 1e8 })))
  fc.assert(
    fc.property(course, (steps) => {
      const meter = new Meter()
      let received = 0
      let fastest = 0
      for (const [ms, bytes] of steps) {
        turn(ms)
        meter.received((received += bytes))
        fastest = Math.max(fastest, (bytes / ms) * 1000)
        assert.ok(meter.rate >= 0 && meter.rate <= fastest * (1 + 1e-9))
        const ahead = meter.pipeline(false) ?? 2
        assert.ok(ahead >= 2 && ahead <= MAX_PIPELINE)
      }
    }),
  )
})
