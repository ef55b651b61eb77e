import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openProgress, progressLine, Rate } from '../../cli/progress.ts'

test('the rate looks back five seconds', () => {
  const rate = new Rate()
  assert.equal(rate.update(0, 0), 0)
  assert.equal(rate.update(1000, 1000), 1000)
  for (let second = 2; second <= 20; second++) rate.update(1000, second * 1000)
  assert.equal(rate.update(1000, 21_000), 0, 'what moved twenty seconds ago no longer counts')
  assert.equal(rate.update(6000, 22_000), 1000)
})

test('a new phase starts the rate afresh', () => {
  const rate = new Rate()
  rate.update(0, 0)
  rate.update(10_000, 1000)
  assert.equal(rate.update(0, 1100), 0)
  assert.equal(rate.update(500, 2100), 500)
})

test('progress shows its share, rate and the time that is left', () => {
  const line = progressLine({ phase: 'fetching', done: 5_000_000, total: 20_000_000, peers: 2 }, 3_000_000)
  assert.equal(
    line,
    `fetching    ${'█'.repeat(6)}${'░'.repeat(18)}   25 %  5.0 MB of 20.0 MB  3.0 MB/s  5.0 s left  2 peers`,
  )
})

test('a phase without a measure is shown by its name, one without a rate without a time', () => {
  assert.equal(progressLine({ phase: 'connecting', done: 0, total: 0 }, 0), 'connecting')
  assert.doesNotMatch(progressLine({ phase: 'hashing', done: 0, total: 10 }, 0), /left|\/s/)
})

test('without a stream progress is silent', async () => {
  const display = await openProgress(undefined, () => 0)
  display.update({ phase: 'fetching', done: 1, total: 2 })
  display.stop()
})

test('on a terminal progress is drawn and cleared again', async () => {
  let written = ''
  const stream = { isTTY: true, columns: 120, write: (text: string) => (written += text) }
  const display = await openProgress(stream, () => 0)
  display.update({ phase: 'hashing', done: 1, total: 2 })
  display.stop()
  assert.ok(written.includes('\x1b[K') || written.includes('\x1b[0K'), JSON.stringify(written))
})
