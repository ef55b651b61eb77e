import assert from 'node:assert/strict'
import * as path from 'node:path'
import { type TestContext, test } from 'node:test'
import * as fc from 'fast-check'
import type { Frame } from '../../node/core/frames.ts'
import { Limiter } from '../../node/core/limiter.ts'
import { CHUNK_SIZE } from '../../node/core/tree.ts'
import { CHOKE_ROUND, Choker, type Dealings } from '../../node/files/choker.ts'
import { SeedLink } from '../../node/files/seed-link.ts'
import { shareSource } from '../../node/files/share-source.ts'
import {
  addShare,
  bareLink,
  bytesOf,
  closing,
  heldClock,
  hello,
  linkPair,
  seederWith,
  shareBytes,
  talkOn,
  tempFolder,
} from './rig.ts'

/** Each with what it gave in every round. */
function chokerOf(peers: Record<string, Partial<Dealings>>, slots: number, random = (_end: number) => 0) {
  const choker = new Choker<string>({ slots: () => slots, random })
  for (const peer of Object.keys(peers)) choker.add(peer)
  return {
    choker,
    open: () => Object.keys(peers).filter((peer) => choker.isOpen(peer)),
    round: (wanting = true) =>
      choker.round((peer) => ({ given: 0, got: 0, interested: true, ...peers[peer] }), wanting),
  }
}

/** The same numbers for the same seed, evenly spread (Park and Miller 1988). */
function randomOf(seed: number): (end: number) => number {
  let state = (seed % 2_147_483_646) + 1
  return (end) => {
    state = (state * 48_271) % 2_147_483_647
    return state % end
  }
}

test('places go to newcomers as long as there are any', () => {
  const { choker, open } = chokerOf({ a: {}, b: {}, c: {} }, 2)
  assert.deepEqual(open(), ['a', 'b'])
  assert.ok(!choker.add('d'))
  choker.remove('a')
  assert.ok(choker.add('e'))
})

test('those who gave most have all places but one, while something is wanted in return', () => {
  const gave = { a: { got: 1 }, b: { got: 5, given: 1 }, c: { got: 3 }, d: { got: 9 }, e: { given: 99 }, f: {} }
  const { round, open } = chokerOf(gave, 4, () => 1)
  assert.deepEqual(open(), ['a', 'b', 'c', 'd'])
  // Of those who gave less the second is drawn.
  assert.deepEqual(round(), { unchoke: ['e'], choke: ['a'] })
  assert.deepEqual(open(), ['b', 'c', 'd', 'e'])
})

test('when nothing is wanted those who take fastest have the places', () => {
  const { round, open } = chokerOf({ a: { got: 9 }, b: { given: 1 }, c: { given: 2 }, d: { given: 3 }, e: {} }, 4)
  round(false)
  assert.deepEqual(open(), ['a', 'b', 'c', 'd'])
})

test('the one at random keeps its place for three rounds, and then another has it', () => {
  const best = { a: { got: 2 }, b: { got: 1 } }
  const { round, open } = chokerOf({ ...best, c: {}, d: {}, e: {} }, 3)
  const others = Array.from({ length: 9 }, () => {
    round()
    return open()
      .filter((peer) => !(peer in best))
      .join()
  })
  assert.deepEqual(others, ['c', 'c', 'c', 'd', 'd', 'd', 'c', 'c', 'c'])
})

test('who wants nothing gives its place to somebody who does, and keeps it otherwise', () => {
  const peers = { a: { interested: false }, b: { interested: false }, c: { interested: false }, d: {} }
  const { round, open } = chokerOf(peers, 3)
  round()
  assert.deepEqual(open(), ['a', 'b', 'd'])
  peers.d = { interested: false }
  assert.deepEqual(round(), { unchoke: [], choke: [] })
})

test('never more are given to than there are places, and what is said is what is', () => {
  const step = fc.oneof(
    fc.record({ add: fc.nat(15) }),
    fc.record({ remove: fc.nat(15) }),
    fc.record({ slots: fc.integer({ min: 2, max: 8 }) }),
    fc.record({
      deals: fc.array(fc.record({ given: fc.nat(5), got: fc.nat(5), interested: fc.boolean() }), {
        minLength: 16,
        maxLength: 16,
      }),
      wanting: fc.boolean(),
    }),
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), fc.nat(), (steps, seed) => {
      let slots = 4
      const choker = new Choker<number>({ slots: () => slots, random: randomOf(seed) })
      /** As the peers were told. */
      const open = new Map<number, boolean>()
      for (const it of steps) {
        if ('add' in it && !open.has(it.add)) {
          const before = [...open.values()].filter(Boolean).length
          open.set(it.add, choker.add(it.add))
          assert.equal(open.get(it.add), before < slots)
        }
        if ('remove' in it) {
          choker.remove(it.remove)
          open.delete(it.remove)
        }
        if ('slots' in it) slots = it.slots
        if ('deals' in it) {
          const { unchoke, choke } = choker.round((peer) => it.deals[peer] as Dealings, it.wanting)
          for (const [told, peers] of [
            [true, unchoke],
            [false, choke],
          ] as const)
            for (const peer of peers) {
              assert.equal(open.get(peer), !told)
              open.set(peer, told)
            }
          assert.ok([...open.values()].filter(Boolean).length <= slots)
        }
        for (let peer = 0; peer < 16; peer++) assert.equal(choker.isOpen(peer), open.get(peer) ?? false)
      }
    }),
  )
})

test('a place is never left empty while somebody who is interested has none', () => {
  const peers = fc.array(fc.record({ given: fc.nat(5), got: fc.nat(5), interested: fc.boolean() }), { maxLength: 20 })
  fc.assert(
    fc.property(peers, fc.integer({ min: 2, max: 8 }), fc.nat(), (dealings, slots, seed) => {
      const choker = new Choker<number>({ slots: () => slots, random: randomOf(seed) })
      for (const peer of dealings.keys()) choker.add(peer)
      for (let round = 0; round < 5; round++) choker.round((peer) => dealings[peer] as Dealings, true)
      const given = [...dealings.keys()].filter((peer) => choker.isOpen(peer))
      const wanting = [...dealings.keys()].filter((peer) => dealings[peer]?.interested)
      assert.ok(wanting.every((peer) => given.includes(peer)) || given.length === slots)
    }),
  )
})

test('everybody who is interested gets a turn in the end, however little it gave', () => {
  const gave = fc.array(fc.nat(1_000), { minLength: 2, maxLength: 12 })
  fc.assert(
    fc.property(gave, fc.integer({ min: 2, max: 4 }), fc.nat(), (got, slots, seed) => {
      const choker = new Choker<number>({ slots: () => slots, random: randomOf(seed) })
      for (const peer of got.keys()) choker.add(peer)
      const served = new Set<number>()
      // 200 turns, and ten at most who wait for each.
      for (let round = 0; round < 600; round++) {
        choker.round((peer) => ({ given: 0, got: got[peer] as number, interested: true }), true)
        for (const peer of got.keys()) if (choker.isOpen(peer)) served.add(peer)
      }
      assert.equal(served.size, got.length)
    }),
  )
})

/** A link that a test chokes as it likes. */
async function chokable(t: TestContext, chunks: number) {
  const share = await shareBytes(path.join(await tempFolder(t), 'x'), bytesOf(CHUNK_SIZE * chunks))
  const source = closing(shareSource(share))
  const [near, far] = linkPair()
  const seeding = new SeedLink(far, { find: () => ({ source, limiter: undefined, order: undefined }) })
  return { seeding, share, ...talkOn(near) }
}

test('a choke forgets what was asked; what is asked before it is heard is no offence, and not answered', async (t) => {
  const { seeding, share, heard, say, hear, stream } = await chokable(t, 64)
  say(hello(share), { type: 'request', first: 0, count: 60 })
  await hear('chunk')
  seeding.choke()
  seeding.choke()
  say({ type: 'request', first: 60, count: 2 }, { type: 'cancel', first: 0, count: 9 })
  say({ type: 'hashesRequest', first: 0, count: 64 }, { type: 'manifestRequest' })
  await hear('choke')
  await hear('manifest')
  await hear('hashes')
  seeding.unchoke()
  say({ type: 'request', first: 63, count: 1 })
  await hear('unchoke')
  let last = await hear('chunk')
  while (last.chunk !== 63) last = await hear('chunk')
  stream.destroy()
  const chunks = heard.filter(({ type }) => type === 'chunk').map((frame) => (frame as { chunk: number }).chunk)
  assert.ok(chunks.length < 40, `${chunks.length} chunks came`)
  assert.deepEqual(chunks, [...Array(chunks.length - 1).keys(), 63])
  assert.equal(heard.filter(({ type }) => type === 'choke').length, 1)
})

test('who is choked before it greets hears it after the bitfield', async (t) => {
  const { seeding, share, heard, say, hear } = await chokable(t, 1)
  seeding.choke()
  say(hello(share), { type: 'request', first: 0, count: 1 }, { type: 'manifestRequest' })
  await hear('manifest')
  assert.deepEqual(
    heard.map(({ type }) => type),
    ['hello', 'bitfield', 'choke', 'manifest'],
  )
})

test('under a thin limit eight peers are given to; a ninth hears the choke, and in the next round has its turn', async (t) => {
  const share = await shareBytes(path.join(await tempFolder(t), 'x'), bytesOf(100))
  const turn = heldClock(t, ['setTimeout', 'setInterval'])
  const limiter = new Limiter(1024 * 1024, () => performance.now())
  const seeder = seederWith({ limiter, random: (end) => end - 1 }, share)
  const links = Array.from({ length: 9 }, (_, i) => bareLink(seeder, `peer ${i}`))
  const ask: Frame = { type: 'request', first: 0, count: 1 }
  const told = () => links.map(({ heard }) => heard.findLast(({ type }) => type.endsWith('choke'))?.type)
  const answered = () => links.map(({ heard }) => heard.some(({ type }) => type === 'chunk'))
  for (const link of links) link.say(hello(share), { type: 'manifestRequest' })
  for (const link of links) await link.hear('manifest')
  assert.deepEqual(told(), [...Array(8).fill(undefined), 'choke'])
  turn(CHOKE_ROUND)
  await links[8]?.hear('unchoke')
  await links[7]?.hear('choke')
  assert.deepEqual(told(), [...Array(7).fill(undefined), 'choke', 'unchoke'])
  for (const link of links) link.say(ask, { type: 'manifestRequest' })
  for (const link of links) if (link !== links[7]) await link.hear('chunk')
  await links[7]?.hear('manifest')
  assert.deepEqual(answered(), [...Array(7).fill(true), false, true])
})

test('who gives the content that is wanted here keeps its place, whatever the others take', async (t) => {
  const share = await shareBytes(path.join(await tempFolder(t), 'x'), bytesOf(100))
  const turn = heldClock(t, ['setTimeout', 'setInterval'])
  const limiter = new Limiter(1024 * 1024, () => performance.now())
  const seeder = seederWith({ limiter, random: (end) => end - 1 })
  const gave = new Map<string, number>()
  addShare(seeder, share, { got: (peer) => gave.get(peer) ?? 0 })
  const links = Array.from({ length: 16 }, (_, i) => bareLink(seeder, `peer ${i}`))
  for (const link of links) link.say(hello(share), { type: 'manifestRequest' })
  for (const link of links) await link.hear('manifest')
  // Those who had no place at first.
  for (let i = 9; i < 16; i++) gave.set(`peer ${i}`, i)
  turn(CHOKE_ROUND)
  for (let i = 9; i < 16; i++) await links[i]?.hear('unchoke')
  for (let i = 0; i < 7; i++) await links[i]?.hear('choke')
})
