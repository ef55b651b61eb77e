import assert from 'node:assert/strict'
import { EventEmitter, once } from 'node:events'
import * as path from 'node:path'
import type { Transform } from 'node:stream'
import { type TestContext, test } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import { FrameDecoder } from '../../node/core/frames.ts'
import { CHUNK_SIZE } from '../../node/core/tree.ts'
import type { Layout, Part } from '../../node/files/layout.ts'
import { select } from '../../node/files/select.ts'
import type { Share } from '../../node/files/share.ts'
import { rangeIn, streamPart } from '../../node/files/stream.ts'
import { Swarm } from '../../node/files/swarm.ts'
import type { Link } from '../../node/net/paths.ts'
import { bytesOf, linksOf, linkTo, seederOf, shareBytes, shareFiles, tempFolder, waysOf } from './rig.ts'

const SIZE = CHUNK_SIZE * 5 + 77
const DATA = bytesOf(SIZE)
/** Far more than may wait for a reader. */
const LONG = bytesOf(CHUNK_SIZE * 200, 'long')
const AHEAD = 64

function swarmOf(t: TestContext, share: Share, links: AsyncIterable<Link>, stall = 5000): Swarm {
  const swarm = new Swarm({ content: share.manifest.hash, links: waysOf(links), stall })
  t.after(() => swarm.close())
  return swarm
}

const partIn = ({ parts }: Layout) => parts[0] as Part

async function fileRig(t: TestContext, bytes: Buffer, tap?: Transform['_transform'], stall?: number) {
  const share = await shareBytes(path.join(await tempFolder(t), 'x'), bytes)
  const swarm = swarmOf(t, share, linksOf(linkTo(seederOf(share), 'p', tap)), stall)
  const part = partIn(select(share.manifest, '').layout)
  const stop = new AbortController()
  const stream = (start: number, end: number) => streamPart(swarm, part, { start, end }, stop.signal)
  return { share, swarm, stream, stop }
}

async function all(bytes: AsyncIterable<Uint8Array>): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(bytes))
}

/** Tells which chunks a seeder sends, as a tap of its link. A seeder uses its memory again, so what is held is a copy. */
function chunksSent() {
  const sent: number[] = []
  const told = new EventEmitter()
  const decoder = new FrameDecoder({
    open: (_, length) => Buffer.alloc(length),
    frame: (frame) => {
      if (frame.type !== 'chunk') return
      sent.push(frame.chunk)
      told.emit('chunk')
    },
  })
  const tap: Transform['_transform'] = (bytes: Buffer, _encoding, done) => {
    decoder.push(bytes)
    done(null, Buffer.from(bytes))
  }
  const until = async (count: number): Promise<void> => {
    while (sent.length < count) await once(told, 'chunk')
  }
  return { sent, tap, until }
}

test('a range has exactly its bytes, at the edges of chunks and in the middle of them', async (t) => {
  const share = await shareBytes(path.join(await tempFolder(t), 'x'), DATA)
  const part = partIn(select(share.manifest, '').layout)
  const seeder = seederOf(share)
  for (const [start, end] of [
    [0, SIZE],
    [0, 1],
    [0, CHUNK_SIZE],
    [CHUNK_SIZE - 1, CHUNK_SIZE],
    [CHUNK_SIZE - 1, CHUNK_SIZE + 1],
    [CHUNK_SIZE, CHUNK_SIZE * 2],
    [CHUNK_SIZE * 2 + 9, CHUNK_SIZE * 4 - 9],
    [CHUNK_SIZE * 3 + 5, CHUNK_SIZE * 3 + 6],
    [CHUNK_SIZE * 5, SIZE],
    [SIZE - 1, SIZE],
  ] as const) {
    const swarm = swarmOf(t, share, linksOf(linkTo(seeder)))
    const bytes = await all(streamPart(swarm, part, { start, end }, new AbortController().signal))
    swarm.close()
    assert.ok(bytes.equals(DATA.subarray(start, end)), `${start} to ${end}`)
  }
})

test('only the chunks that a range touches are fetched, and none for a range of nothing', async (t) => {
  const { sent, tap } = chunksSent()
  const { stream } = await fileRig(t, DATA, tap)
  assert.deepEqual(await all(stream(CHUNK_SIZE, CHUNK_SIZE)), Buffer.alloc(0))
  await all(stream(CHUNK_SIZE * 2 - 1, CHUNK_SIZE * 4))
  assert.deepEqual(sent, [1, 2, 3])
})

test('a file in a folder is streamed by its own bytes, with an entry list set apart too', async (t) => {
  const files = Object.fromEntries(Array.from({ length: 400 }, (_, i) => [`f${i}`, bytesOf(20, `${i}`)]))
  const share = await shareFiles(path.join(await tempFolder(t), 'site'), { ...files, 'g/data': DATA })
  assert.ok(share.manifest.list)
  const swarm = swarmOf(t, share, linksOf(linkTo(seederOf(share))))
  const part = partIn(select(share.manifest, 'g/data').layout)
  const range = { start: CHUNK_SIZE + 3, end: SIZE }
  const bytes = await all(streamPart(swarm, part, range, new AbortController().signal))
  assert.ok(bytes.equals(DATA.subarray(range.start)))
})

test('bytes come in order from several peers, whoever is quicker', async (t) => {
  const share = await shareBytes(path.join(await tempFolder(t), 'x'), LONG)
  const slow: Transform['_transform'] = (bytes, _encoding, done) => {
    const copy = Buffer.from(bytes)
    setImmediate(() => done(null, copy))
  }
  const links = linksOf(linkTo(seederOf(share), 'slow', slow), linkTo(seederOf(share), 'quick'))
  const swarm = swarmOf(t, share, links)
  const part = partIn(select(share.manifest, '').layout)
  const bytes = await all(streamPart(swarm, part, { start: 0, end: LONG.length }, new AbortController().signal))
  assert.ok(bytes.equals(LONG))
})

test('no byte is handed out that is not right, and the right ones come from somebody else', async (t) => {
  const share = await shareBytes(path.join(await tempFolder(t), 'x'), DATA)
  const part = partIn(select(share.manifest, '').layout)
  const liar = () =>
    linkTo(seederOf(share), 'liar', (bytes: Buffer, _encoding, done) => {
      const copy = Buffer.from(bytes)
      if (copy.length > 60_000) copy[50_000] = (copy[50_000] as number) ^ 1
      done(null, copy)
    })
  const { signal } = new AbortController()
  const range = { start: 0, end: SIZE }
  const got: Uint8Array[] = []
  await assert.rejects(
    async () => {
      for await (const bytes of streamPart(swarmOf(t, share, linksOf(liar())), part, range, signal)) got.push(bytes)
    },
    { code: 'chunk_corrupt' },
  )
  const begun = Buffer.concat(got)
  assert.ok(begun.length < SIZE && begun.equals(DATA.subarray(0, begun.length)))
  const both = swarmOf(t, share, linksOf(liar(), linkTo(seederOf(share), 'honest')))
  assert.ok((await all(streamPart(both, part, range, signal))).equals(DATA))
})

test('nothing is fetched further ahead of the reader than what may wait for it', async (t) => {
  const { sent, tap, until } = chunksSent()
  const { stream } = await fileRig(t, LONG, tap)
  let read = 0
  for await (const bytes of stream(0, LONG.length)) {
    if (read % 50 === 0) await until(Math.min(200, read + AHEAD))
    assert.ok(Math.max(...sent) < read + AHEAD, `chunk ${Math.max(...sent)} at ${read}`)
    assert.ok(bytes.length === CHUNK_SIZE)
    read++
  }
  assert.equal(read, 200)
  assert.equal(sent.length, 200)
})

test('a range closed in the middle is fetched no further, and its peers serve the next one', async (t) => {
  const { sent, tap } = chunksSent()
  const { stream } = await fileRig(t, LONG, tap)
  for await (const bytes of stream(0, CHUNK_SIZE * 100)) {
    assert.ok(LONG.subarray(0, CHUNK_SIZE).equals(bytes))
    break
  }
  const start = CHUNK_SIZE * 150
  assert.ok((await all(stream(start, LONG.length))).equals(LONG.subarray(start)))
  const early = sent.filter((chunk) => chunk < 150)
  assert.ok(Math.max(...early) < AHEAD + 1, `chunk ${Math.max(...early)}`)
})

test('a reader who waits longer than a silent peer may loses no peer', async (t) => {
  const stall = 100
  const { tap, until } = chunksSent()
  const { stream } = await fileRig(t, LONG, tap, stall)
  const bytes = stream(0, LONG.length)
  const first = await bytes.next()
  await until(AHEAD)
  await wait(stall * 4)
  const rest = await all(bytes)
  assert.ok(LONG.equals(Buffer.concat([first.value as Uint8Array, rest])))
})

test('a range that is stopped ends with that, also while it waits for a peer', async (t) => {
  const { stream, stop } = await fileRig(t, DATA, () => undefined)
  const reading = stream(0, SIZE).next()
  stop.abort()
  await assert.rejects(reading, { code: 'interrupted' })
})

test('a range without anybody to ask ends with that', async (t) => {
  const share = await shareBytes(path.join(await tempFolder(t), 'x'), DATA)
  const part = partIn(select(share.manifest, '').layout)
  const reading = all(streamPart(swarmOf(t, share, linksOf()), part, { start: 0, end: 1 }, AbortSignal.timeout(9999)))
  await assert.rejects(reading, { code: 'content_not_found' })
})

test('a range means bytes from the start, or from the end where it begins below zero', () => {
  assert.deepEqual(rangeIn(10, {}), { start: 0, end: 10 })
  assert.deepEqual(rangeIn(10, { start: 3 }), { start: 3, end: 10 })
  assert.deepEqual(rangeIn(10, { start: 3, end: 3 }), { start: 3, end: 3 })
  assert.deepEqual(rangeIn(10, { start: 9, end: 99 }), { start: 9, end: 10 })
  assert.deepEqual(rangeIn(10, { start: -4 }), { start: 6, end: 10 })
  assert.deepEqual(rangeIn(10, { start: -40, end: 2 }), { start: 0, end: 2 })
  assert.deepEqual(rangeIn(0, {}), { start: 0, end: 0 })
  for (const asked of [{ start: 10 }, { start: 11, end: 12 }, { start: 5, end: 4 }, { end: -1 }]) {
    assert.throws(() => rangeIn(10, asked), { code: 'usage' }, JSON.stringify(asked))
  }
})
