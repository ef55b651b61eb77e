import assert from 'node:assert/strict'
import * as path from 'node:path'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { Limiter } from '../../node/core/limiter.ts'
import { CHUNK_SIZE } from '../../node/core/tree.ts'
import type { Seeder } from '../../node/files/seed.ts'
import type { Share } from '../../node/files/share.ts'
import { addShare, bareLink, bytesOf, hello, seederWith, shareBytes, tempFolder } from './rig.ts'

const MIB = 1024 * 1024
const BYTES = bytesOf(40 * CHUNK_SIZE)
/** What may go at once: a quarter of a second of the rate, and a chunk in any case. */
const burstOf = (rate: number) => Math.max(CHUNK_SIZE, rate / 4)

const rates = fc.integer({ min: 1_000, max: 100 * MIB })
const takes = fc.array(
  fc.record({ pause: fc.integer({ min: 0, max: 5_000 }), bytes: fc.integer({ min: 1, max: 4 * MIB }) }),
  { minLength: 1, maxLength: 60 },
)

interface Gone {
  at: number
  bytes: number
}

/** At no moment more has gone than `rate` allows since `start`. */
function assertHeld(gone: readonly Gone[], rate: number, start = 0): void {
  const burst = burstOf(rate)
  let sum = 0
  for (const { at, bytes } of gone.toSorted((a, b) => a.at - b.at)) {
    sum += bytes
    const allowed = burst + ((at - start) / 1000) * rate
    assert.ok(sum <= allowed + 1, `${sum} bytes after ${at - start} ms, where ${allowed} may`)
  }
}

test('over any course of takings never more goes out than rate * time and a burst', () => {
  fc.assert(
    fc.property(rates, takes, (rate, course) => {
      let now = 0
      const limiter = new Limiter(rate, () => now)
      const gone = course.map(({ pause, bytes }) => {
        now += pause
        return { bytes, at: now + limiter.reserve(bytes) }
      })
      assertHeld(gone, rate)
    }),
  )
})

test('limits below another hold each for itself, and all together that of the one above', () => {
  const course = fc.array(
    fc.record({ pause: fc.integer({ min: 0, max: 2_000 }), bytes: fc.integer({ min: 1, max: MIB }), of: fc.nat(2) }),
    { minLength: 1, maxLength: 80 },
  )
  fc.assert(
    fc.property(rates, fc.tuple(rates, rates), course, (above, below, taken) => {
      let now = 0
      const parent = new Limiter(above, () => now)
      // The third has no limit of its own.
      const limiters = [...below, undefined].map((rate) => new Limiter(rate, () => now, parent))
      const gone = taken.map(({ pause, bytes, of }) => {
        now += pause
        return { bytes, of, at: now + (limiters[of]?.reserve(bytes) ?? 0) }
      })
      assertHeld(gone, above)
      for (const [i, rate] of below.entries())
        assertHeld(
          gone.filter(({ of }) => of === i),
          rate,
        )
    }),
  )
})

test('a rate that is changed holds for what is taken from then on', () => {
  fc.assert(
    fc.property(rates, takes, rates, takes, (before, first, after, second) => {
      let now = 0
      const limiter = new Limiter(before, () => now)
      const take = ({ pause, bytes }: { pause: number; bytes: number }): Gone => {
        now += pause
        return { bytes, at: now + limiter.reserve(bytes) }
      }
      first.forEach(take)
      const start = now
      limiter.set(after)
      assertHeld(second.map(take), after, start)
    }),
  )
})

test('who takes whenever it may gets the whole rate', () => {
  fc.assert(
    fc.property(rates, fc.integer({ min: 1, max: 4 * MIB }), fc.integer({ min: 2, max: 50 }), (rate, bytes, times) => {
      let now = 0
      const limiter = new Limiter(rate, () => now)
      for (let i = 0; i < times; i++) now += limiter.reserve(bytes)
      // A wait is rounded up to a whole millisecond.
      assert.ok(now <= Math.max(0, bytes * times - burstOf(rate)) / (rate / 1000) + times)
    }),
  )
})

test('a pause is worth one burst, however long it was', () => {
  let now = 0
  const limiter = new Limiter(MIB, () => now)
  now = 1e9
  assert.equal(limiter.reserve(MIB / 4), 0)
  assert.equal(limiter.reserve(MIB), 1_000)
})

test('with no rate nothing waits, and the lowest of those that hold is the rate', () => {
  const now = () => 0
  const parent = new Limiter(undefined, now)
  const limiter = new Limiter(undefined, now, parent)
  assert.equal(limiter.reserve(Number.MAX_SAFE_INTEGER), 0)
  assert.equal(limiter.rate, undefined)
  parent.set(5_000)
  assert.equal(limiter.rate, 5_000)
  assert.ok(limiter.reserve(MIB) > 0)
  limiter.set(9_000)
  assert.equal(limiter.rate, 5_000)
  limiter.set(3_000)
  assert.equal(limiter.rate, 3_000)
  assert.equal(parent.rate, 5_000)
})

/** Milliseconds by which a timer of Node may be early. */
const EARLY = 2

/** Asks for the first `count` chunks. `gone`: when each came, from the question on. */
function ask(seeder: Seeder, share: Share, peer: string, count: number) {
  const link = bareLink(seeder, peer)
  const start = performance.now()
  const gone: Gone[] = []
  link.say(hello(share), { type: 'request', first: 0, count })
  const came = async (chunks: number): Promise<void> => {
    while (gone.length < chunks) {
      const { data } = await link.hear('chunk')
      gone.push({ bytes: data?.length ?? 0, at: performance.now() - start + EARLY })
    }
  }
  return { gone, came }
}

const now = () => performance.now()

test('the limit of a node holds for all its contents and peers together', async (t) => {
  const folder = await tempFolder(t)
  const rate = 8 * MIB
  const seeder = seederWith({ limiter: new Limiter(rate, now) })
  const [a, b] = [await shareBytes(path.join(folder, 'a'), BYTES), await shareBytes(path.join(folder, 'b'), BYTES)]
  for (const share of [a, b]) addShare(seeder, share)
  const asked = [
    ask(seeder, a, 'one', 6),
    ask(seeder, a, 'two', 6),
    ask(seeder, b, 'two', 6),
    ask(seeder, b, 'three', 6),
  ]
  await Promise.all(asked.map(({ came }) => came(6)))
  const gone = asked.flatMap((each) => each.gone)
  assertHeld(gone, rate)
})

test('the limit of a content holds for it and slows no other', async (t) => {
  const folder = await tempFolder(t)
  const node = new Limiter(64 * MIB, now)
  const rate = MIB
  const seeder = seederWith({ limiter: node })
  const [slow, free] = [
    await shareBytes(path.join(folder, 'a'), BYTES),
    await shareBytes(path.join(folder, 'b'), BYTES),
  ]
  addShare(seeder, slow, { limiter: new Limiter(rate, now, node) })
  addShare(seeder, free)
  const held = ask(seeder, slow, 'one', 40)
  const few = held.came(4)
  await ask(seeder, free, 'two', 40).came(40)
  await few
  assertHeld(held.gone, rate)
})
