import assert from 'node:assert/strict'
import { test } from 'node:test'
import { rrFromText } from '../../node/core/rdata.ts'
import { toTemplate } from '../../resolver/answer.ts'
import { AnswerCache } from '../../resolver/cache.ts'
import { fill, type Query, readQuery } from '../../resolver/wire.ts'
import { Clock, decode, query } from './harness.ts'

function asked(name: string, type = 1): Query {
  const result = readQuery(query(name, { type }))
  assert.ok(!('drop' in result))
  return result
}

/** Puts in an A record, or nothing, for `seconds`. */
function put(cache: AnswerCache, name: string, seconds: number, positive = true): void {
  const answers = positive ? [{ ...rrFromText({ type: 'A', data: '192.0.2.1', ttl: seconds }), name }] : []
  const question = asked(name)
  cache.set(
    question,
    toTemplate(question, { rcode: 0, answers, authority: [], ede: undefined, lifetime: seconds }),
    seconds,
  )
}

function ttl(cache: AnswerCache, name: string): number | undefined {
  const template = cache.get(asked(name))
  const [answer] = template ? (decode(fill(asked(name), template, 512)).answers ?? []) : []
  return answer && 'ttl' in answer ? answer.ttl : undefined
}

test('a TTL counts down by the second and the answer is gone at zero', () => {
  const clock = new Clock()
  const cache = new AnswerCache(clock.now)
  put(cache, 'a.p2p', 60)
  const at = (ms: number) => {
    clock.ms += ms
    return ttl(cache, 'A.p2p')
  }
  assert.deepEqual([at(0), at(999), at(1), at(0), at(30_500), at(28_499), at(1)], [60, 60, 59, 59, 29, 1, undefined])
})

test('a clock that is set back gives no answer a longer life', () => {
  const clock = new Clock()
  const cache = new AnswerCache(clock.now)
  put(cache, 'a.p2p', 60)
  clock.ms += 10_000
  assert.equal(ttl(cache, 'a.p2p'), 50)
  clock.ms -= 5_000
  assert.equal(ttl(cache, 'a.p2p'), 50)
  clock.ms -= 100_000
  assert.equal(ttl(cache, 'a.p2p'), undefined)
})

test('a newer answer replaces the older one at once, also a negative one', () => {
  const cache = new AnswerCache(new Clock().now)
  put(cache, 'a.p2p', 60)
  assert.equal(ttl(cache, 'a.p2p'), 60)
  put(cache, 'a.p2p', 90)
  assert.equal(ttl(cache, 'a.p2p'), 90)
  put(cache, 'a.p2p', 90, false)
  assert.deepEqual(cache.get(asked('a.p2p'))?.ends, [])
  put(cache, 'a.p2p', 0)
  assert.equal(cache.get(asked('a.p2p')), undefined)
})

test('types and names are kept apart', () => {
  const cache = new AnswerCache(new Clock().now)
  put(cache, 'a.p2p', 60)
  for (const other of [asked('a.p2p', 28), asked('b.p2p'), asked('x.a.p2p'), asked('p2p')])
    assert.equal(cache.get(other), undefined)
})

test('a flood of names that do not exist pushes out no name that does', () => {
  const cache = new AnswerCache(new Clock().now)
  put(cache, 'real.p2p', 60)
  for (let i = 0; i < 20_000; i++) put(cache, `x${i}.p2p`, 60, false)
  assert.equal(ttl(cache, 'real.p2p'), 60)
  assert.ok(cache.get(asked('x19999.p2p')))
  // Both are far beyond what is kept, also in the slots of the hot ones, which are shared.
  assert.equal(cache.get(asked('x0.p2p')), undefined)
})

test('what is kept counts with the offsets beside its bytes', () => {
  const cache = new AnswerCache(new Clock().now)
  const rr = { ...rrFromText({ type: 'A', data: '192.0.2.1' }), name: 'a.p2p' }
  const answers = Array.from({ length: 600 }, () => rr)
  const template = toTemplate(asked('a.p2p'), { rcode: 0, answers, authority: [], ede: undefined, lifetime: 60 })
  // 16 bytes of each record and as many for its two offsets: 840 such answers are 16 MiB.
  for (let i = 0; i < 1_200; i++) cache.set(asked(`x${i}.p2p`), template, 60)
  assert.equal(cache.get(asked('x300.p2p')), undefined)
})

test('cleared is empty', () => {
  const cache = new AnswerCache(new Clock().now)
  put(cache, 'a.p2p', 60)
  put(cache, 'b.p2p', 60, false)
  assert.ok(cache.get(asked('a.p2p')) && cache.get(asked('b.p2p')))
  cache.clear()
  assert.ok(!cache.get(asked('a.p2p')) && !cache.get(asked('b.p2p')))
})
