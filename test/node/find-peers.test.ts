import assert from 'node:assert/strict'
import { duplexPair } from 'node:stream'
import { test } from 'node:test'
import { publicKeyFromRaw } from '@libp2p/crypto/keys'
import type { PeerId } from '@libp2p/interface'
import { peerIdFromPublicKey } from '@libp2p/peer-id'
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr'
import { P2pnsError } from '../../node/core/errors.ts'
import type { PeerWay } from '../../node/files/peer-link.ts'
import { PeerSearch, type PeerSource } from '../../node/find-peers.ts'
import type { ProviderPeer } from '../../node/net/dht.ts'
import type { Way } from '../../node/net/race.ts'
import { pairOf } from '../helpers/leases.ts'

const peerId = (n: number) => peerIdFromPublicKey(publicKeyFromRaw(pairOf(n).publicKey))
const SELF = peerId(0)
const provider = (n: number, ...addresses: string[]): ProviderPeer => ({
  id: peerId(n),
  addresses: (addresses.length > 0 ? addresses : [`/ip4/192.0.2.${n % 250}/tcp/${n}`]).map((text) => multiaddr(text)),
})
const hint = (n: number, address = '/ip4/198.51.100.1/tcp/1') => multiaddr(`${address}/p2p/${peerId(n).toString()}`)

const dialled = (): Way => ({
  candidates: [],
  ticket: { id: new Uint8Array(16), secret: new Uint8Array(32) },
})

/** A network in which every dial is written down, and those `answers` says come to the ways that `ways` makes. */
function world(
  providers: ProviderPeer[],
  answers: (to: string) => boolean,
  { ways = () => [dialled()], ...changes }: Partial<PeerSource> & { ways?: () => Way[] } = {},
) {
  const dials: string[] = []
  let most = 0
  let now = 0
  const links: PeerWay[] = []
  const source: PeerSource = {
    self: SELF,
    async *providers() {
      yield* providers
    },
    remembered: async () => [],
    isLocal: () => false,
    now: () => 0,
    reach: async (peer: PeerId, addresses: readonly Multiaddr[]) => {
      const to = String(addresses)
      dials.push(to)
      most = Math.max(most, ++now)
      await new Promise((resolve) => setImmediate(resolve))
      if (!answers(to)) {
        now--
        throw new P2pnsError('peer_unreachable', 'nobody is there')
      }
      return { peer: peer.toString(), ways: open(ways()) }
    },
    random: (end) => end - 1,
    ...changes,
  }
  const found = noting(waysTo(source, []), links, () => now--)
  return { source, found, dials, links, most: () => most }
}

async function* open(ways: Way[]): AsyncGenerator<Way> {
  yield* ways
}

/** What a search finds, with no patience where nobody is. */
function waysTo(source: PeerSource, hints: Multiaddr[], signal = new AbortController().signal) {
  return new PeerSearch(source, { hints, signal, patience: 0 }).ways()
}

/** Keeps the ways that came, and hears when one ends. */
async function* noting(ways: AsyncIterable<PeerWay>, found: PeerWay[], ended: () => void): AsyncGenerator<PeerWay> {
  for await (const way of ways) {
    const noted = {
      ...way,
      ended: (end: { served: boolean; useless: boolean }) => {
        ended()
        way.ended?.(end)
      },
    }
    found.push(noted)
    yield noted
  }
}

test('the publisher is found behind a hundred dead provider records', async () => {
  const dead = Array.from({ length: 100 }, (_, i) => provider(i + 2))
  const last = String(hint(1, '/ip4/203.0.113.1/tcp/1'))
  const { found, most } = world([...dead, provider(1, '/ip4/203.0.113.1/tcp/1')], (to) => to === last, {
    random: () => 0,
  })
  const peers: string[] = []
  for await (const { peer } of found) {
    peers.push(peer)
    break
  }
  assert.deepEqual(peers, [peerId(1).toString()])
  assert.equal(most(), 32)
})

test('a fetch dials no more than two hundred times', async () => {
  const { found, dials } = world(
    Array.from({ length: 300 }, (_, i) => provider(i + 1)),
    () => false,
  )
  for await (const _ of found) assert.fail('nobody answers')
  assert.equal(dials.length, 200)
})

test('thirty-two peers are reached at a time, and one whose link closes makes room for another', async () => {
  const { found, links, dials } = world(
    Array.from({ length: 40 }, (_, i) => provider(i + 1)),
    () => true,
  )
  for (let i = 0; i < 32; i++) await found.next()
  assert.equal(dials.length, 32)
  links[3]?.ended?.({ served: false, useless: true })
  const more = await found.next()
  assert.equal(more.done, false)
  assert.equal(dials.length, 33)
  await found.return(undefined)
})

test('a search that is left while all peers are reached ends', async () => {
  const stop = new AbortController()
  const { source } = world(
    Array.from({ length: 40 }, (_, i) => provider(i + 1)),
    () => true,
  )
  const found = waysTo(source, [], stop.signal)
  for (let i = 0; i < 32; i++) await found.next()
  const next = found.next()
  stop.abort()
  assert.equal((await next).done, true)
})

test('peers that the name gives come first, strangers in the order of the dice', async () => {
  const { source, dials } = world([provider(1), provider(2), provider(3)], () => false)
  for await (const _ of waysTo(source, [hint(9)])) assert.fail('nobody answers')
  const [first, ...others] = dials
  assert.equal(first, String(hint(9)))
  assert.equal(others.length, 3)
})

test('a peer whose hinted address is dead is tried where the DHT says it is, and a reached one is not dialled twice', async () => {
  const { source, dials } = world([provider(5, '/ip4/203.0.113.5/tcp/5')], (to) => to.startsWith('/ip4/203'))
  const peers: string[] = []
  for await (const { peer } of waysTo(source, [hint(5)])) {
    peers.push(peer)
    break
  }
  assert.deepEqual(dials, [String(hint(5)), String(hint(5, '/ip4/203.0.113.5/tcp/5'))])
  assert.equal(peers.length, 1)

  const again = world([provider(5, '/ip4/203.0.113.5/tcp/5')], () => true)
  for await (const way of waysTo(again.source, [hint(5)])) way.ended?.({ served: false, useless: true })
  assert.deepEqual(again.dials, [String(hint(5))])
})

test('a stranger cannot send us to our own machine or to a name, unless the network is on this machine', async () => {
  const bad = ['/ip4/127.0.0.1/tcp/22', '/ip6/::1/tcp/22', '/ip6/::ffff:127.0.0.1/tcp/1', '/ip4/0.0.0.0/tcp/1']
  const providers = [provider(1, ...bad, '/dns4/localhost/tcp/22'), provider(2, ...bad, '/ip4/192.0.2.2/tcp/2')]
  const remembered = async () => [multiaddr('/ip4/127.0.0.1/tcp/23')]
  const { found, dials } = world(providers, () => false, { remembered })
  for await (const _ of found) assert.fail('nobody answers')
  assert.deepEqual(dials, [String(hint(2, '/ip4/192.0.2.2/tcp/2'))])
  const here = world([provider(1, '/ip4/127.0.0.1/tcp/4001')], () => false, { isLocal: () => true })
  for await (const _ of here.found) assert.fail('nobody answers')
  assert.deepEqual(here.dials, [String(hint(1, '/ip4/127.0.0.1/tcp/4001'))])
})

test('sixteen addresses of a peer are tried, whatever it claims', async () => {
  const many = Array.from({ length: 60 }, (_, i) => `/ip4/192.0.2.1/tcp/${i + 1}`)
  const { found, dials } = world([provider(1, ...many)], () => false)
  for await (const _ of found) assert.fail('nobody answers')
  assert.equal(dials[0]?.split(',').length, 16)
})

test('several ways of one peer count as one peer, which makes room when the last of them has ended', async () => {
  const { found, links, dials } = world(
    Array.from({ length: 40 }, (_, i) => provider(i + 1)),
    () => true,
    { ways: () => [dialled(), dialled()] },
  )
  for (let i = 0; i < 64; i++) await found.next()
  assert.equal(dials.length, 32)
  const [one, other, ...more] = links.filter(({ peer }) => peer === links[0]?.peer)
  assert.deepEqual(more, [])
  const next = found.next()
  one?.ended?.({ served: false, useless: true })
  await new Promise((resolve) => setImmediate(resolve))
  assert.equal(dials.length, 32)
  other?.ended?.({ served: false, useless: true })
  assert.equal((await next).done, false)
  assert.equal(dials.length, 33)
  await found.return(undefined)
})

test('a peer that served is tried again when all its links have ended, and one that did not is not', async () => {
  const { source, dials } = world([], () => true, { ways: () => [dialled(), dialled()] })
  const found = waysTo(source, [hint(5)])
  const ways = [await found.next(), await found.next()]
  ways[0]?.value?.ended?.({ served: true, useless: false })
  const again = found.next()
  await new Promise((resolve) => setImmediate(resolve))
  assert.equal(dials.length, 1)
  ways[1]?.value?.ended?.({ served: false, useless: false })
  const more = [await again, await found.next()]
  assert.deepEqual(dials, [String(hint(5)), String(hint(5))])
  for (const { value } of more) value?.ended?.({ served: false, useless: false })
  assert.equal((await found.next()).done, true)
  assert.equal(dials.length, 2)
})

test('a peer of no use is not tried again, though it served before', async () => {
  const { source, dials } = world([], () => true, { ways: () => [dialled(), dialled()] })
  const found = waysTo(source, [hint(5)])
  const ways = [await found.next(), await found.next()]
  ways[0]?.value?.ended?.({ served: true, useless: false })
  ways[1]?.value?.ended?.({ served: true, useless: true })
  assert.equal((await found.next()).done, true)
  assert.equal(dials.length, 1)
})

test('more ways to a peer that is reached come when they are asked for, and keep the peer', async () => {
  const { source, dials } = world([], () => true)
  const found = waysTo(source, [hint(5)])
  const first = (await found.next()).value
  const more = first?.again?.()
  // While more are looked for the peer is not given up.
  first?.ended?.({ served: false, useless: false })
  const second = await found.next()
  assert.equal(second.value?.peer, peerId(5).toString())
  await more
  assert.deepEqual(dials, [String(hint(5)), String(hint(5))])
  second.value?.ended?.({ served: false, useless: false })
  assert.equal((await found.next()).done, true)
})

test('links that come and are not taken are closed, also those that come too late', async () => {
  const [early, late] = [duplexPair(), duplexPair()]
  const release = Promise.withResolvers<void>()
  async function* ways(): AsyncGenerator<Way> {
    yield dialled()
    yield { path: 'relayed', stream: early[0] }
    await release.promise
    yield { path: 'direct-tcp', stream: late[0] }
  }
  const { source } = world([], () => true, {
    reach: async (peer) => ({ peer: peer.toString(), ways: ways() }),
  })
  const found = waysTo(source, [hint(5)])
  await found.next()
  await new Promise((resolve) => setImmediate(resolve))
  await found.return(undefined)
  assert.equal(early[0].destroyed, true)
  release.resolve()
  await new Promise((resolve) => setImmediate(resolve))
  assert.equal(late[0].destroyed, true)
})
