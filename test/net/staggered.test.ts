import assert from 'node:assert/strict'
import { test } from 'node:test'
import { firstOf } from '../../node/net/staggered.ts'

const nowhere = new AbortController().signal
/** Milliseconds: longer than any test. */
const LONG = 2 ** 31 - 1
const never = (signal: AbortSignal): Promise<string> =>
  new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)))

test('the first attempt that works wins, and the others are not begun', async () => {
  const won = await firstOf([async () => 'first', async () => assert.fail('not needed')], LONG, nowhere)
  assert.equal(won, 'first')
})

test('a failure starts the next attempt at once', async () => {
  const won = await firstOf(
    [async () => Promise.reject(new Error('no')), async () => Promise.reject(new Error('no')), async () => 'third'],
    LONG,
    nowhere,
  )
  assert.equal(won, 'third')
})

test('an attempt that takes its time is overtaken by the next one, and stopped', async () => {
  let first: AbortSignal | undefined
  const won = await firstOf(
    [
      (signal) => {
        first = signal
        return never(signal)
      },
      async () => 'second',
    ],
    1,
    nowhere,
  )
  assert.equal(won, 'second')
  assert.equal(first?.aborted, true)
})

test('an attempt that was overtaken may still win', async () => {
  const { promise, resolve } = Promise.withResolvers<string>()
  const won = firstOf(
    [
      () => promise,
      (signal) => {
        resolve('first')
        return never(signal)
      },
    ],
    1,
    nowhere,
  )
  assert.equal(await won, 'first')
})

test('when all fail the last failure is told', async () => {
  const fail = (why: string) => async () => Promise.reject(new Error(why))
  await assert.rejects(firstOf([fail('one'), fail('two')], LONG, nowhere), /two/)
})

test('one that is stopped begins nothing more', async () => {
  const stop = new AbortController()
  const attempts = firstOf([never, async () => assert.fail('it was stopped')], LONG, stop.signal)
  stop.abort(new Error('enough'))
  await assert.rejects(attempts, /enough/)
})
