import assert from 'node:assert/strict'
import * as path from 'node:path'
import { type TestContext, test } from 'node:test'
import { MAX_PEERS } from '../../node/core/frames.ts'
import type { SeederOptions } from '../../node/files/seed.ts'
import { addShare, bareLink, bytesOf, heldClock, hello, seederWith, shareBytes, tempFolder } from './rig.ts'

type Link = ReturnType<typeof bareLink>

/** A content, and peers that come for it one after the other. */
async function introducer(t: TestContext, options: Partial<SeederOptions> = {}) {
  const share = await shareBytes(path.join(await tempFolder(t), 'x'), bytesOf(9))
  const turn = heldClock(t)
  const seeder = seederWith(options, share)
  const come = async (peer: string, content = share): Promise<Link> => {
    const link = bareLink(seeder, peer)
    link.say(hello(content))
    await link.hear('bitfield')
    return link
  }
  return { seeder, turn, come }
}

const told = async (link: Link): Promise<string[]> => (await link.hear('peers')).peers.toSorted()

test('the peers of a content are told of each other, and none of itself', async (t) => {
  const addresses: Record<string, string[]> = { a: ['/ip4/1.2.3.4/tcp/1'], b: ['/ip4/5.6.7.8/tcp/2'] }
  const { turn, come } = await introducer(t, { addressesOf: async (peer) => addresses[peer] ?? [] })
  const [a, b, c] = [await come('a'), await come('b'), await come('c')]
  turn(1_000)
  // Nobody knows where c is; by its name others may find out.
  assert.deepEqual(await told(a), ['/ip4/5.6.7.8/tcp/2', '/p2p/c'])
  assert.deepEqual(await told(b), ['/ip4/1.2.3.4/tcp/1', '/p2p/c'])
  assert.deepEqual(await told(c), ['/ip4/1.2.3.4/tcp/1', '/ip4/5.6.7.8/tcp/2'])
})

test('several links of one peer are no company, and each of them hears of a newcomer', async (t) => {
  const { turn, come } = await introducer(t)
  const links = [await come('a'), await come('a')]
  turn(1_000)
  await new Promise(setImmediate)
  const newcomer = await come('b')
  turn(1_000)
  for (const link of links) assert.deepEqual(await told(link), ['/p2p/b'])
  assert.deepEqual(await told(newcomer), ['/p2p/a'])
  for (const { heard } of links) assert.equal(heard.filter(({ type }) => type === 'peers').length, 1)
})

test('who comes for another content is none of their business', async (t) => {
  const { seeder, turn, come } = await introducer(t)
  const other = await shareBytes(path.join(await tempFolder(t), 'y'), bytesOf(10, 'y'))
  addShare(seeder, other)
  const [a, b, stranger] = [await come('a'), await come('b'), await come('c', other)]
  turn(1_000)
  assert.deepEqual(await told(a), ['/p2p/b'])
  assert.deepEqual(await told(b), ['/p2p/a'])
  stranger.say({ type: 'manifestRequest' })
  await stranger.hear('manifest')
  assert.ok(stranger.heard.every(({ type }) => type !== 'peers'))
})

test('who has left is not told of', async (t) => {
  const { turn, come } = await introducer(t)
  const [a, leaver, b] = [await come('a'), await come('leaver'), await come('b')]
  leaver.stream.destroy()
  await leaver.served
  turn(1_000)
  assert.deepEqual(await told(a), ['/p2p/b'])
  assert.deepEqual(await told(b), ['/p2p/a'])
})

test('where a peer is, is not known when it cannot be looked up', async (t) => {
  const addressesOf = async (): Promise<string[]> => {
    throw new Error('the store is closed')
  }
  const { turn, come } = await introducer(t, { addressesOf })
  const [a] = [await come('a'), await come('b')]
  turn(1_000)
  assert.deepEqual(await told(a), ['/p2p/b'])
})

test('an introduction names sixteen peers and two addresses of each, and so never more than a frame may hold', async (t) => {
  const of = (peer: string) => [1, 2, 3].map((n) => `/${peer}/${n}`)
  const { turn, come } = await introducer(t, { addressesOf: async (peer) => of(peer), random: (end) => end - 1 })
  const links: Link[] = []
  for (let i = 0; i < 40; i++) links.push(await come(`peer ${i}`))
  turn(1_000)
  for (const [i, link] of links.entries()) {
    const { peers } = await link.hear('peers')
    // The last are drawn.
    const named = [...Array(16).keys()].map((n) => 24 + n).filter((n) => n !== i)
    assert.ok(peers.length <= MAX_PEERS)
    assert.deepEqual(peers.toSorted(), named.flatMap((n) => of(`peer ${n}`).slice(0, 2)).toSorted())
  }
})

test('newcomers are told of once a second at most', async (t) => {
  const { turn, come } = await introducer(t)
  const [a] = [await come('a'), await come('b')]
  turn(1_000)
  assert.deepEqual(await told(a), ['/p2p/b'])
  await come('c')
  turn(500)
  await come('d')
  turn(500)
  assert.deepEqual(await told(a), ['/p2p/b', '/p2p/c', '/p2p/d'])
})
