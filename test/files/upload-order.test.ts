import assert from 'node:assert/strict'
import * as path from 'node:path'
import { type TestContext, test } from 'node:test'
import * as fc from 'fast-check'
import { CHUNK_SIZE } from '../../node/core/tree.ts'
import type { Run } from '../../node/files/layout.ts'
import { UploadOrder } from '../../node/files/upload-order.ts'
import { bareLink, bytesOf, hello, seederOf, shareBytes, tempFolder } from './rig.ts'

/** Chunks that a peer asked for, as runs in that order. */
function queueOf(chunks: readonly number[]): Run[] {
  const queue: Run[] = []
  for (const chunk of chunks) {
    const last = queue.at(-1)
    if (last && last.first + last.count === chunk) last.count++
    else queue.push({ first: chunk, count: 1 })
  }
  return queue
}

/** 64 chunks are looked at for the next one. */
const wants = fc.integer({ min: 1, max: 64 }).chain((end) =>
  fc.record({
    end: fc.constant(end),
    /** In which order each peer asks for all of them. */
    asked: fc.array(fc.shuffledSubarray([...Array(end).keys()], { minLength: end, maxLength: end }), {
      minLength: 2,
      maxLength: 5,
    }),
    /** Whose turn it is. */
    turns: fc.infiniteStream(fc.nat(4)),
  }),
)

test('whoever has the turn, each chunk is sent once before any is sent twice', () => {
  fc.assert(
    fc.property(wants, ({ end, asked, turns }) => {
      const order = new UploadOrder(end)
      const left = asked.map((chunks) => [...chunks])
      const sent: number[] = []
      for (const turn of turns) {
        const peer = left[turn % left.length] ?? []
        if (peer.length === 0) break
        const chunk = order.pick(queueOf(peer))
        order.sent(chunk)
        sent.push(chunk)
        peer.splice(peer.indexOf(chunk), 1)
      }
      // Somebody has all of it, so each was sent at least once.
      assert.equal(new Set(sent.slice(0, end)).size, end)
    }),
  )
})

test('of what was sent equally often the one that was asked for first is next', () => {
  fc.assert(
    fc.property(fc.shuffledSubarray([...Array(60).keys()], { minLength: 1 }), fc.array(fc.nat(59)), (asked, before) => {
      const order = new UploadOrder(60)
      for (const chunk of before) order.sent(chunk)
      const times = (chunk: number) => before.filter((other) => other === chunk).length
      const least = Math.min(...asked.map(times))
      assert.equal(
        order.pick(queueOf(asked)),
        asked.find((chunk) => times(chunk) === least),
      )
    }),
  )
})

test('a chunk that was sent more often than can be counted is still the last', () => {
  const order = new UploadOrder(2)
  for (let i = 0; i < 300; i++) order.sent(0)
  for (let i = 0; i < 254; i++) order.sent(1)
  assert.equal(order.pick([{ first: 0, count: 2 }]), 1)
})

const CHUNKS = 40

/** Links of these peers, all of which ask for everything at once; the chunks as each of them got them. */
async function served(t: TestContext, peers: string[], ...asked: Run[]): Promise<number[][]> {
  const share = await shareBytes(path.join(await tempFolder(t), 'x'), bytesOf(CHUNK_SIZE * CHUNKS))
  const seeder = seederOf(share)
  const links = peers.map((peer) => bareLink(seeder, peer))
  for (const link of links) link.say(hello(share))
  for (const link of links) await link.hear('bitfield')
  for (const link of links) link.say(...asked.map((run) => ({ type: 'request' as const, ...run })))
  const count = asked.reduce((sum, run) => sum + run.count, 0)
  const come = async ({ hear }: ReturnType<typeof bareLink>): Promise<number[]> => {
    const chunks: number[] = []
    while (chunks.length < count) chunks.push((await hear('chunk')).chunk)
    return chunks
  }
  return Promise.all(links.map(come))
}

const ALL = { first: 0, count: CHUNKS }
const inOrder = (chunks: readonly number[]) => chunks.toSorted((a, b) => a - b)

test('two peers that ask for the same get each chunk once between them, before either gets what the other has', async (t) => {
  const [a, b] = (await served(t, ['a', 'b'], ALL)) as [number[], number[]]
  for (const chunks of [a, b]) assert.deepEqual(inOrder(chunks), [...Array(CHUNKS).keys()])
  // What each got first: the one something, the other the rest.
  const shared = a.some(
    (_, i) => i >= 4 && i <= CHUNKS - 4 && new Set([...a.slice(0, i), ...b.slice(0, CHUNKS - i)]).size === CHUNKS,
  )
  assert.ok(shared, `${a.join()} and ${b.join()}`)
})

test('one peer alone gets chunks in its own order, over one link or two', async (t) => {
  const asked = [
    { first: 30, count: 10 },
    { first: 0, count: 20 },
  ]
  const own = [...Array(10).keys()].map((i) => i + 30).concat([...Array(20).keys()])
  assert.deepEqual(await served(t, ['a'], ...asked), [own])
  assert.deepEqual(await served(t, ['a', 'a'], ...asked), [own, own])
})

test('who is alone again gets its own order again', async (t) => {
  const share = await shareBytes(path.join(await tempFolder(t), 'x'), bytesOf(CHUNK_SIZE * 4))
  const seeder = seederOf(share)
  const [stays, leaves] = [bareLink(seeder, 'a'), bareLink(seeder, 'b')]
  for (const link of [stays, leaves]) link.say(hello(share))
  for (const link of [stays, leaves]) await link.hear('bitfield')
  const ask = async (link: typeof stays) => {
    link.say({ type: 'request', first: 0, count: 4 })
    return [await link.hear('chunk'), await link.hear('chunk'), await link.hear('chunk'), await link.hear('chunk')].map(
      ({ chunk }) => chunk,
    )
  }
  leaves.say({ type: 'request', first: 0, count: 1 })
  await leaves.hear('chunk')
  assert.deepEqual(await ask(stays), [1, 2, 3, 0])
  leaves.stream.destroy()
  await leaves.served
  // It hears that its end is closed before anybody asks again.
  await new Promise(setImmediate)
  assert.deepEqual(await ask(stays), [0, 1, 2, 3])
})
