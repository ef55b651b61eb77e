import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { FetchJob } from '../../node/content.ts'
import type { Fetched } from '../../node/contract.ts'
import { isError, P2pnsError } from '../../node/core/errors.ts'
import type { FetchView } from '../../node/files/fetch.ts'
import { type KeptTransfer, Transfers } from '../../node/transfers.ts'
import { memoryTable } from '../helpers/table.ts'
import { Clock, DAY, settled } from './harness.ts'

const TARGET = 'alice.p2p/x'
const OUT = '/somewhere/x'

/** A fetch that does what the test says, and ends when it is stopped. */
interface Run {
  target: string
  job: FetchJob
  done: () => void
  fail: (cause: unknown) => void
}

/** A home that can be started again, as if its process had been killed meanwhile. */
function home() {
  const table = memoryTable<KeptTransfer>()
  const clock = new Clock()
  const runs: Run[] = []
  let ids = 0
  const run = (target: string, job: FetchJob): Promise<Fetched> => {
    const { promise, resolve, reject } = Promise.withResolvers<Fetched>()
    // It has files to close before it ends.
    const stopped = () => void settled().then(() => reject(new P2pnsError('interrupted', 'the fetch was stopped')))
    job.signal?.addEventListener('abort', stopped)
    const fetched = { cid: 'the-cid', path: job.out, bytes: 10, seconds: 1, resumed: 0, peers: [] }
    runs.push({ target, job, done: () => resolve(fetched), fail: reject })
    return promise
  }
  const parts = {
    table,
    run,
    newId: () => `id${++ids}`,
    discard: async (_out: string) => {},
    now: () => clock.at++,
  }
  const start = (other: Partial<typeof parts> = {}) => new Transfers({ ...parts, ...other })
  const rows = () => Array.fromAsync(table.entries(), ([, row]) => row)
  return { table, clock, runs, start, rows }
}

/** `done`, or the code of what it failed with; asked for at once, so that no failure is left alone. */
function outcome(fetching: Promise<Fetched>): Promise<string> {
  return fetching.then(
    () => 'done',
    (cause: unknown) => (isError(cause) ? cause.code : String(cause)),
  )
}

const view = (options: Partial<FetchView> = {}): FetchView => ({
  cid: 'the-cid',
  place: '/home/ada/OUT/the-file',
  done: 4,
  total: 10,
  chunks: { have: 2, total: 5 },
  peers: [],
  banned: [],
  waiting: undefined,
  ...options,
})

test('a transfer runs, waits for what it says, and is done', async () => {
  const { runs, start } = home()
  const transfers = start()
  const ended = outcome(transfers.fetch(TARGET, { out: OUT, only: ['*.md'], limits: { down: 5 } }))
  await settled()
  const [run] = runs
  const shown = async () => (await transfers.list())[0]
  const asked = { id: 'id1', target: TARGET, out: OUT, only: ['*.md'], limits: { down: 5 } }
  const nothing = { done: 0, total: 0, chunks: { have: 0, total: 0 }, peers: [], banned: [] }
  assert.deepEqual(await shown(), { ...asked, ...nothing, state: 'running' })
  run?.job.onProgress?.({ phase: 'connecting', done: 0, total: 0 })
  const unanswered = 'nobody who has it has answered yet'
  assert.deepEqual(await shown(), { ...asked, ...nothing, state: 'waiting', why: unanswered })

  const peers = [{ peer: 'p', path: 'lan', bytes: 4, rate: 2, rtt: 1 }]
  const banned = [{ peer: 'q', why: 'it lied' }]
  const seen = { cid: 'the-cid', done: 4, total: 10, chunks: { have: 2, total: 5 }, peers, banned }
  run?.job.onView?.(view({ peers, banned }))
  assert.deepEqual(await shown(), { ...asked, ...seen, state: 'running' })
  run?.job.onView?.(view({ peers, banned, waiting: '3 of 5 chunks, nobody who has them is online' }))
  const why = '3 of 5 chunks, nobody who has them is online'
  assert.deepEqual(await shown(), { ...asked, ...seen, state: 'waiting', why })

  run?.done()
  assert.equal(await ended, 'done')
  assert.deepEqual(await shown(), { ...asked, ...seen, done: 10, peers: [], banned: [], state: 'done' })
})

test('what was paused goes on where it was, in the background and however long nobody has it', async () => {
  const { runs, start } = home()
  const transfers = start()
  const ended = outcome(transfers.fetch(TARGET, { out: OUT, force: true }))
  await settled()
  assert.equal(runs[0]?.job.wait, undefined)
  runs[0]?.job.onView?.(view())
  const paused = await transfers.pause('id1')
  assert.equal(await ended, 'interrupted')
  assert.deepEqual([paused.state, paused.done, paused.total], ['paused', 4, 10])
  assert.equal(paused.why, 'stopped; `p2pns transfers resume id1` goes on')

  const resumed = await transfers.resume('id1')
  assert.deepEqual([resumed.state, resumed.done, resumed.why], ['running', 4, undefined])
  await settled()
  assert.equal((await transfers.resume('id1')).state, 'running')
  await settled()
  assert.equal(runs.length, 2)
  const { target, job } = runs[1] as Run
  assert.deepEqual([target, job.out, job.force, job.wait], [TARGET, OUT, true, Number.POSITIVE_INFINITY])
  runs[1]?.done()
  await settled()
  assert.equal((await transfers.list())[0]?.state, 'done')
  assert.equal((await transfers.resume('id1')).state, 'done')
  assert.equal((await transfers.pause('id1')).state, 'done')
  assert.equal(runs.length, 2)
})

test('whoever waits for a transfer and stops it is told so, and pauses it', async () => {
  const { runs, start } = home()
  const transfers = start()
  const stop = new AbortController()
  // As what a signal throws, which is no error of ours.
  stop.signal.addEventListener('abort', () => runs[0]?.fail(stop.signal.reason))
  const ended = outcome(transfers.fetch(TARGET, { out: OUT, signal: stop.signal }))
  await settled()
  stop.abort()
  assert.equal(await ended, 'interrupted')
  assert.equal((await transfers.list())[0]?.state, 'paused')
})

test('two fetches to one place are one that runs and one that is told it is busy', async () => {
  const { runs, start } = home()
  const transfers = start()
  const both = [1, 2].map(() => outcome(transfers.fetch(TARGET, { out: OUT })))
  const elsewhere = outcome(transfers.fetch(TARGET, { out: `${OUT}2` }))
  await settled()
  assert.deepEqual(
    runs.map(({ job }) => job.out),
    [OUT, `${OUT}2`],
  )
  for (const run of runs) run.done()
  assert.deepEqual((await Promise.all(both)).sort(), ['done', 'target_busy'])
  assert.equal(await elsewhere, 'done')
})

test('a fetch to where a paused one was goes on with that one', async () => {
  const { runs, rows, start } = home()
  const transfers = start()
  const first = outcome(transfers.fetch(TARGET, { out: OUT }))
  await settled()
  runs[0]?.job.onView?.(view())
  await transfers.pause('id1')
  const second = outcome(transfers.fetch(TARGET, { out: OUT, wait: 3 }))
  await settled()
  const [row] = await rows()
  assert.deepEqual([row?.id, row?.done, row?.request.wait, runs[1]?.job.wait], ['id1', 4, 3, 3])
  runs[1]?.done()
  assert.deepEqual([await first, await second, (await rows()).length], ['interrupted', 'done', 1])
})

test('after a kill what ran goes on, and what was paused, failed or done stays as it was', async () => {
  const { runs, rows, start } = home()
  const before = start()
  const fetching = ['ran', 'paused', 'failed', 'done'].map((out) => outcome(before.fetch(TARGET, { out })))
  await settled()
  for (const { job } of runs) job.onView?.(view())
  await before.pause('id2')
  runs[2]?.fail(new P2pnsError('disk_full', 'there is no room'))
  runs[3]?.done()
  await Promise.all(fetching.slice(1))

  const after = start()
  const states = async () => (await after.list()).map(({ out, state }) => `${out} ${state}`).sort()
  // It is nobody's any more: nothing runs until it is resumed.
  assert.deepEqual(await states(), ['done done', 'failed failed', 'paused paused', 'ran paused'])
  await after.resumeAll()
  await settled()
  assert.deepEqual(await states(), ['done done', 'failed failed', 'paused paused', 'ran running'])
  assert.deepEqual([runs.length, runs[4]?.job.out, (await rows()).length], [5, 'ran', 4])
})

test('what runs when the node stops goes on when it starts, but not what was paused at that moment', async (t) => {
  const { table, runs, start } = home()
  const before = start()
  const fetching = ['a', 'b'].map((out) => outcome(before.fetch(TARGET, { out })))
  await settled()
  for (const { job } of runs) job.onView?.(view())
  const pausing = before.pause('id2')
  // The pause has been heard, and is not over.
  while (!runs[1]?.job.signal?.aborted) await Promise.resolve()
  const put = t.mock.method(table, 'put')
  await before.stop()
  await pausing
  // The process may end at any moment from now on.
  const states = put.mock.calls.map(({ arguments: [id, { state }] }) => `${id} ${state}`)
  assert.deepEqual(new Set(states), new Set(['id1 running', 'id2 paused']))
  assert.deepEqual(await Promise.all(fetching), ['interrupted', 'interrupted'])
  await start().resumeAll()
  await settled()
  assert.deepEqual([runs.length, runs[2]?.job.out, (await table.get('id2'))?.state], [3, 'a', 'paused'])
})

test('what was begun in a folder is discarded where it is, not where the folder is', async () => {
  const { runs, start } = home()
  const discarded: unknown[] = []
  const transfers = start({ discard: async (place) => void discarded.push(place) })
  const ended = outcome(transfers.fetch(TARGET, { out: OUT }))
  await settled()
  runs[0]?.job.onView?.(view())
  const { id } = (await transfers.list())[0] ?? { id: '' }
  await transfers.remove(id, { files: true })
  assert.deepEqual([await ended, discarded], ['interrupted', [view().place]])
})

test('what is removed has ended and is forgotten; what it fetched goes only when that is asked for', async () => {
  const { rows, start } = home()
  const discarded: unknown[] = []
  const transfers = start({ discard: async (out) => void discarded.push([out, (await rows())[0]?.state]) })
  for (const files of [false, true]) {
    const ended = outcome(transfers.fetch(TARGET, { out: OUT }))
    await settled()
    const { id } = (await transfers.list())[0] ?? { id: '' }
    assert.equal((await transfers.remove(id, { files })).id, id)
    assert.equal(await ended, 'interrupted')
    assert.deepEqual([await rows(), discarded], [[], files ? [[OUT, 'paused']] : []])
    for (const gone of [transfers.pause(id), transfers.resume(id), transfers.remove(id)]) {
      await assert.rejects(gone, { code: 'transfer_not_found' })
    }
  }
})

test('a transfer whose files cannot be deleted is not forgotten; one that is done is, and keeps its files', async () => {
  const { runs, rows, start } = home()
  const transfers = start({ discard: () => Promise.reject(new P2pnsError('target_busy', 'another is there')) })
  const ended = outcome(transfers.fetch(TARGET, { out: OUT }))
  await settled()
  await assert.rejects(transfers.remove('id1', { files: true }), { code: 'target_busy' })
  assert.equal(await ended, 'interrupted')
  assert.equal((await transfers.resume('id1')).state, 'running')
  await settled()
  runs[1]?.done()
  await settled()
  assert.equal((await transfers.remove('id1', { files: true })).state, 'done')
  assert.deepEqual(await rows(), [])
})

test('a new fetch that never began leaves no row; one that began is failed, says why, and can be tried again', async () => {
  const { table, runs, rows, start } = home()
  const transfers = start()
  const never = outcome(transfers.fetch(TARGET, { out: OUT }))
  await settled()
  runs[0]?.fail(new P2pnsError('content_not_found', 'nobody has it'))
  assert.equal(await never, 'content_not_found')
  assert.deepEqual(await rows(), [])

  const began = outcome(transfers.fetch(TARGET, { out: OUT }))
  await settled()
  runs[1]?.job.onView?.(view())
  runs[1]?.fail(new P2pnsError('disk_full', 'there is no room'))
  assert.equal(await began, 'disk_full')
  const [failed] = await transfers.list()
  assert.deepEqual([failed?.state, failed?.done], ['failed', 4])
  assert.equal(failed?.why, 'there is no room; `p2pns transfers resume id2` tries again')

  // Nobody waits for it now: it must not vanish, although it did not begin this time.
  assert.equal((await transfers.resume('id2')).why, undefined)
  await settled()
  runs[2]?.fail(new TypeError('a bug'))
  await settled()
  const [row] = await rows()
  assert.deepEqual([row?.state, row?.code, row?.why, row?.done], ['failed', 'internal', 'it failed', 4])

  const third = outcome(transfers.fetch('bob.p2p', { out: OUT }))
  await settled()
  await transfers.pause('id3')
  await transfers.resume('id3')
  await settled()
  runs[4]?.fail(new P2pnsError('content_not_found', 'nobody has it'))
  await settled()
  assert.deepEqual([await third, (await table.get('id3'))?.state], ['interrupted', 'failed'])
})

test('what is done is forgotten after a day or a hundred others; what is not done is kept however old', async () => {
  const { clock, table, rows, start } = home()
  const nothing = { done: 0, total: 0, chunks: { have: 0, total: 0 } }
  const put = (id: string, state: KeptTransfer['state'], changed: number) =>
    table.put(id, { id, target: TARGET, request: { out: id }, state, changed, ...nothing })
  const begin = clock.at
  await put('failed', 'failed', begin - 30 * DAY)
  await put('paused', 'paused', begin - 30 * DAY)
  for (let i = 0; i < 101; i++) await put(`done${i}`, 'done', begin - i)
  const transfers = start()
  const shown = (await transfers.list()).map(({ id }) => id)
  assert.equal(shown.length, 102)
  assert.equal(shown[0], 'done0')
  assert.ok(!shown.includes('done100'))
  clock.at = begin + DAY
  assert.deepEqual(
    (await transfers.list()).map(({ id }) => id),
    ['done0', 'failed', 'paused'],
  )
  clock.at = begin + DAY + 1
  await transfers.list()
  assert.deepEqual((await rows()).map(({ id }) => id).sort(), ['failed', 'paused'])
})
