import assert from 'node:assert/strict'
import * as fs from 'node:fs/promises'
import * as path from 'node:path'
import { type TestContext, test } from 'node:test'
import { CHUNK_SIZE } from '../../node/core/tree.ts'
import type { PeerWay } from '../../node/files/peer-link.ts'
import type { Link } from '../../node/net/paths.ts'
import { bytesOf, fetchFrom, linkTo, seederOf, shareBytes, tempFolder, waysOf } from './rig.ts'

const BIG = bytesOf(CHUNK_SIZE * 40)

/** Lets bytes through up to `limit`, and the rest once it is opened. */
function gate(limit: number) {
  const full = Promise.withResolvers<void>()
  const open = Promise.withResolvers<void>()
  const counted = { bytes: 0 }
  const marks: { at: number; reached: () => void }[] = []
  const tap: Parameters<typeof linkTo>[2] = (bytes: Buffer, _encoding, done) => {
    counted.bytes += bytes.length
    for (const { at, reached } of marks) if (counted.bytes >= at) reached()
    if (counted.bytes <= limit) return done(null, bytes)
    full.resolve()
    void open.promise.then(() => done(null, bytes))
  }
  const past = (at: number): Promise<void> => new Promise((reached) => marks.push({ at, reached }))
  return { tap, counted, past, full: full.promise, open: open.resolve }
}

const closed = ({ stream }: Link): Promise<void> => new Promise((resolve) => stream.once('close', () => resolve()))

async function content(t: TestContext) {
  const folder = await tempFolder(t)
  const share = await shareBytes(path.join(folder, 'x'), BIG)
  return { share, seeder: seederOf(share), out: path.join(folder, 'y') }
}

test('a link by a better path takes over, the old one ends when it owes nothing, and no byte is lost', async (t) => {
  const { share, seeder, out } = await content(t)
  const [slow, fast] = [gate(CHUNK_SIZE * 4), gate(CHUNK_SIZE * 4)]
  const relayed: Link = { ...linkTo(seeder, 'p', slow.tap), path: 'relayed' }
  const direct: Link = { ...linkTo(seeder, 'p', fast.tap), path: 'direct-tcp' }
  const gone = closed(relayed)
  async function* links(): AsyncGenerator<Link> {
    yield relayed
    await slow.full
    yield direct
    await fast.full
    assert.equal(relayed.stream.destroyed, false)
    slow.open()
    // The fetch cannot be over before this.
    await gone
    fast.open()
  }
  const { peers } = await fetchFrom(share, out, links())
  assert.ok((await fs.readFile(out)).equals(BIG))
  assert.deepEqual(peers.map(({ peer, path: by }) => `${peer} ${by}`).toSorted(), ['p direct-tcp', 'p relayed'])
  assert.equal(
    peers.reduce((sum, { bytes }) => sum + bytes, 0),
    BIG.length,
  )
  // Nothing was asked for twice.
  assert.ok(slow.counted.bytes + fast.counted.bytes < BIG.length + CHUNK_SIZE)
})

test('a link by a worse path is not used where there is a better one', async (t) => {
  const { share, seeder, out } = await content(t)
  const fast = gate(CHUNK_SIZE * 4)
  const direct: Link = { ...linkTo(seeder, 'p', fast.tap), path: 'direct-tcp' }
  const relayed: Link = { ...linkTo(seeder, 'p'), path: 'relayed' }
  const gone = closed(relayed)
  async function* links(): AsyncGenerator<Link> {
    yield direct
    await fast.full
    yield relayed
    await gone
    fast.open()
  }
  const { peers } = await fetchFrom(share, out, links())
  assert.ok((await fs.readFile(out)).equals(BIG))
  assert.deepEqual(peers, [{ peer: 'p', path: 'direct-tcp', bytes: BIG.length }])
})

test('a link gives no way to those of other peers, by whatever path', async (t) => {
  const { share, seeder, out } = await content(t)
  const [near, far] = [gate(CHUNK_SIZE), gate(CHUNK_SIZE * 4)]
  const relayed: Link = { ...linkTo(seeder, 'far', far.tap), path: 'relayed' }
  const direct: Link = { ...linkTo(seeder, 'near', near.tap), path: 'lan' }
  async function* links(): AsyncGenerator<Link> {
    yield relayed
    await far.full
    yield direct
    await near.full
    const most = far.past(CHUNK_SIZE * 30)
    far.open()
    await most
    near.open()
  }
  const { peers } = await fetchFrom(share, out, links())
  assert.deepEqual(peers.map(({ peer }) => peer).toSorted(), ['far', 'near'])
})

test('a link that has fallen silent gives way to another by the same path, and what it owed comes over that', async (t) => {
  const { share, seeder, out } = await content(t)
  const dead = gate(CHUNK_SIZE * 4)
  const first: Link = { ...linkTo(seeder, 'p', dead.tap), path: 'direct-tcp' }
  const second: Link = { ...linkTo(seeder, 'p'), path: 'direct-tcp' }
  const gone = closed(first)
  const wanted = Promise.withResolvers<void>()
  async function* ways(): AsyncGenerator<PeerWay> {
    for await (const way of waysOf(one(first))) yield { ...way, again: async () => wanted.resolve() }
    await wanted.promise
    yield* waysOf(one(second))
  }
  const fetched = fetchFrom(share, out, one(first), { links: ways() })
  await gone
  await fetched
  assert.ok((await fs.readFile(out)).equals(BIG))
})

async function* one(link: Link): AsyncGenerator<Link> {
  yield link
}
