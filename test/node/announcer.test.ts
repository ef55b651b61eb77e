import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Announcer } from '../../node/announcer.ts'

/** An announcer in a network that hears it from the `heard`th time on; it waits until it is told to go on. */
function setUp(heard: number) {
  const stop = new AbortController()
  const state = { tries: 0, isServed: true, pauses: [] as number[] }
  let goOn: (() => void)[] = []
  const announcer = new Announcer({
    provide: async () => (++state.tries >= heard ? 3 : 0),
    isServed: () => state.isServed,
    pause(ms) {
      state.pauses.push(ms)
      return new Promise((resolve) => goOn.push(resolve))
    },
    stopped: stop.signal,
  })
  const pass = async (): Promise<void> => {
    const waiting = goOn
    goOn = []
    for (const go of waiting) go()
    await new Promise(setImmediate)
  }
  return { announcer, state, stop, pass }
}

test('what nobody heard is told again, at longer and longer intervals, until somebody has', async () => {
  const { announcer, state, pass } = setUp(12)
  await announcer.tell('a')
  for (let i = 0; i < 20; i++) await pass()
  assert.equal(state.tries, 12)
  assert.deepEqual(
    state.pauses,
    [2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300].map((seconds) => seconds * 1000),
  )
})

test('what was heard at once is told once, and what is told twice meanwhile is not tried twice', async () => {
  const heard = setUp(1)
  await heard.announcer.tell('a')
  await heard.pass()
  assert.deepEqual([heard.state.tries, heard.state.pauses], [1, []])
  const unheard = setUp(100)
  await unheard.announcer.tell('a')
  await unheard.announcer.tell('a')
  await unheard.pass()
  assert.equal(unheard.state.tries, 3)
})

test('what is served no longer, and all when the node stops, is told no more', async () => {
  const gone = setUp(100)
  await gone.announcer.tell('a')
  gone.state.isServed = false
  await gone.pass()
  assert.equal(gone.state.tries, 1)
  const stopped = setUp(100)
  await stopped.announcer.tell('a')
  stopped.stop.abort()
  await stopped.pass()
  assert.equal(stopped.state.tries, 1)
})
