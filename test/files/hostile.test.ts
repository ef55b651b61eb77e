import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { type TestContext, test } from 'node:test'
import { Limiter } from '../../node/core/limiter.ts'
import { CHUNK_SIZE } from '../../node/core/tree.ts'
import type { FetchOptions, FetchView } from '../../node/files/fetch.ts'
import type { PeerWay } from '../../node/files/peer-link.ts'
import type { Link } from '../../node/net/paths.ts'
import { corrupt, falseSpans, flood, type Lie, stall, swap, truncate, type When } from './lies.ts'
import { bytesOf, fetchFrom, liarTo, linkTo, seederOf, seederWith, shareBytes, tempFolder } from './rig.ts'

const BIG = bytesOf(CHUNK_SIZE * 60 + 77)
const SMALL = bytesOf(CHUNK_SIZE * 12 + 77, 'small')
const NOTHING = Buffer.alloc(CHUNK_SIZE)
/** A link that was refused or dropped is offered again, but not for ever: a fetch that never bans must end, too. */
const MAX_LINKS = 6

/** Peers as a search finds them: whoever was lost, and is not useless, comes again. */
class Crowd {
  /** Links that each peer was given. */
  readonly links = new Map<string, number>()
  /** Called when a peer is useless. */
  onOut: (peer: string) => void = () => undefined
  readonly #dial: (peer: string) => Link
  readonly #waiting: string[] = []
  readonly #open = new Set<string>()
  #change = Promise.withResolvers<void>()

  constructor(peers: string[], dial: (peer: string) => Link) {
    this.#dial = dial
    for (const peer of peers) this.add(peer)
  }

  add(peer: string): void {
    this.#waiting.push(peer)
    this.#change.resolve()
  }

  async *ways(): AsyncGenerator<PeerWay> {
    while (this.#waiting.length + this.#open.size > 0) {
      for (const peer of this.#waiting.splice(0)) {
        const { path, stream } = this.#dial(peer)
        this.#open.add(peer)
        yield { peer, way: { path, stream }, ended: ({ useless }) => this.#ended(peer, useless) }
      }
      await this.#change.promise
      this.#change = Promise.withResolvers()
    }
  }

  #ended(peer: string, useless: boolean): void {
    const links = (this.links.get(peer) ?? 0) + 1
    this.links.set(peer, links)
    this.#open.delete(peer)
    if (useless) this.onOut(peer)
    else if (links < MAX_LINKS) this.#waiting.push(peer)
    this.#change.resolve()
  }
}

/** Where something lies in the place of a download that is not right, and not nothing either: the first byte of a chunk. */
function wrongIn(file: string, right: Buffer): number[] {
  if (!fs.existsSync(file)) return []
  const bytes = fs.readFileSync(file)
  const wrong: number[] = []
  for (let at = 0; at < bytes.length; at += CHUNK_SIZE) {
    const [chunk, expected] = [bytes.subarray(at, at + CHUNK_SIZE), right.subarray(at, at + CHUNK_SIZE)]
    if (chunk.equals(expected) || chunk.equals(NOTHING.subarray(0, chunk.length))) continue
    // It may be being written just now.
    const first = chunk.findIndex((byte, i) => byte !== expected[i] && byte !== 0)
    if (first >= 0) wrong.push(at + first)
  }
  return wrong
}

async function fetching(t: TestContext, bytes: Buffer) {
  const folder = await tempFolder(t)
  const share = await shareBytes(path.join(folder, 'x'), bytes)
  const out = path.join(folder, 'y')
  let view: FetchView | undefined
  const fetch = (crowd: Crowd, options: Partial<FetchOptions> = {}) => {
    const { manifest } = share
    const given = { manifest, links: crowd.ways(), onView: (shown: FetchView) => (view = shown), ...options }
    return fetchFrom(share, out, noLinks(), given)
  }
  const bans = () => new Map((view as FetchView).banned.map(({ peer, why }) => [peer, why]))
  const wrong: number[] = []
  const look = () => wrong.push(...wrongIn(`${out}.part`, bytes))
  return { share, out, fetch, bans, wrong, look }
}

async function* noLinks(): AsyncGenerator<Link> {}

/** Says unasked what was never asked for. */
const unasked = () => flood({ type: 'chunk', chunk: 3, data: Buffer.from('x') })
const chatter = () => flood({ type: 'have', first: 0, count: 1 })
const mute = (): Lie =>
  async function* (frames) {
    for await (const _ of frames) yield Buffer.alloc(0)
  }

/** Whichever of the two is noticed first. */
const SILENT = /sent next to nothing for 0.4 s$|is too slow$/

const TRIOS: Record<string, [Lie, why: RegExp]>[] = [
  {
    corrupts: [corrupt(), /chunk \d+ came wrong$/],
    truncates: [truncate(), /cut a frame off$/],
    swaps: [swap(), /chunk \d+ came wrong$/],
  },
  {
    stalls: [stall(), SILENT],
    'sends false spans': [falseSpans(), /hashes came that are not of this content$/],
    'says nothing new without end': [chatter(), /talks on and on, and says nothing new$/],
  },
  {
    'is mute': [mute(), SILENT],
    'sends unasked chunks without end': [unasked(), /came unasked$/],
    corrupts: [corrupt((nth) => nth > 1), /chunk \d+ came wrong$/],
  },
]

for (const liars of TRIOS) {
  const names = Object.keys(liars)
  test(`of four sources one ${names.join(', one ')}: each is banned, and the file is right`, async (t) => {
    const { share, out, fetch, bans, wrong, look } = await fetching(t, BIG)
    // The honest one takes its time until the others are out.
    const limiter = new Limiter(4e6, () => performance.now())
    const honest = seederWith({ limiter }, share)
    const crowd = new Crowd([...names, 'honest'], (peer) =>
      peer === 'honest' ? linkTo(honest, peer) : liarTo(seederOf(share), peer, (liars[peer] as [Lie, RegExp])[0]),
    )
    const gone = new Set<string>()
    crowd.onOut = (peer) => {
      look()
      gone.add(peer)
      if (gone.size === names.length) limiter.set(undefined)
    }
    const { peers } = await fetch(crowd, { stall: 400 })
    assert.deepEqual(wrong, [])
    assert.ok(fs.readFileSync(out).equals(BIG))
    assert.deepEqual([...bans().keys()].sort(), names.toSorted())
    for (const [name, [, why]] of Object.entries(liars)) {
      assert.match(bans().get(name) ?? '', why)
      assert.ok((crowd.links.get(name) ?? 0) <= 3, `${name} had ${crowd.links.get(name)} links`)
    }
    const brought = peers.filter(({ peer }) => peer !== 'honest').reduce((sum, { bytes }) => sum + bytes, 0)
    assert.ok(brought <= 2 * CHUNK_SIZE, `${brought} bytes of liars`)
  })
}

const ONCE: [string, (when: When) => Lie, lieAt: number, right: number][] = [
  ['corrupts a chunk', corrupt, 3, 3],
  ['swaps two chunks', swap, 3, 3],
  ['sends a false span', falseSpans, 0, 0],
]

for (const [habit, lie, at, right] of ONCE) {
  test(`who ${habit} once is banned at once; what it brought before is kept`, async (t) => {
    const { share, out, fetch, bans, wrong, look } = await fetching(t, SMALL)
    const crowd = new Crowd(['liar'], (peer) =>
      peer === 'honest'
        ? linkTo(seederOf(share), peer)
        : liarTo(
            seederOf(share),
            peer,
            lie((nth) => nth === at),
          ),
    )
    crowd.onOut = () => {
      look()
      crowd.add('liar')
      crowd.add('honest')
      crowd.onOut = () => undefined
    }
    const { peers } = await fetch(crowd)
    assert.deepEqual(wrong, [])
    assert.ok(fs.readFileSync(out).equals(SMALL))
    assert.deepEqual([...bans().keys()], ['liar'])
    const of = (name: string) => peers.find(({ peer }) => peer === name)?.bytes ?? 0
    assert.deepEqual([of('liar'), of('honest')], [right * CHUNK_SIZE, SMALL.length - right * CHUNK_SIZE])
  })
}

test('with liars only the fetch fails, and nothing wrong is left for the next try, which goes on from what is right', async (t) => {
  const { share, out, fetch, wrong, look } = await fetching(t, SMALL)
  const late: When = (nth) => nth > 1
  const lies: Record<string, Lie> = { a: corrupt(late), b: swap(late), c: truncate(late), d: falseSpans() }
  const liars = new Crowd(Object.keys(lies), (peer) => liarTo(seederOf(share), peer, lies[peer] as Lie))
  await assert.rejects(fetch(liars), { code: /chunk_corrupt|frame_invalid|peer_unreachable/ })
  look()
  assert.deepEqual(wrong, [])
  assert.equal(fs.existsSync(out), false)
  const { resumed } = await fetch(new Crowd(['honest'], (peer) => linkTo(seederOf(share), peer)))
  assert.ok(resumed >= 2 * CHUNK_SIZE)
  assert.ok(fs.readFileSync(out).equals(SMALL))
})
