import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { PeerId } from '@libp2p/interface'
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr'
import type { Progress } from '../../node/contract.ts'
import { P2pnsError } from '../../node/core/errors.ts'
import { keyPairFromSeed, sha256 } from '../../node/core/keys.ts'
import { ProbeSource, probeManifest } from '../../node/files/probe-source.ts'
import { type ProbeParts, probe } from '../../node/probe.ts'
import { seederWith } from '../files/rig.ts'
import { reachingHost } from '../helpers/reaching.ts'
import { addressOf as addressOfKey } from './harness.ts'

const MIB = 1024 * 1024

const addressOf = (seed: string) => multiaddr(addressOfKey(keyPairFromSeed(sha256(Buffer.from(seed))).publicKey))
const idIn = (address: Multiaddr) => address.toString().split('/p2p/')[1] as string

/** A node whose network a test scripts: nobody is asked unless it says so. */
function scripted(options: { peers?: Multiaddr[] } = {}) {
  const asked: string[] = []
  const parts = {
    peersOf: async () => options.peers ?? [],
    reach: async (peer: PeerId, addresses: readonly Multiaddr[]) => {
      asked.push(`${peer.toString()} at ${addresses.join()}`)
      throw new P2pnsError('peer_unreachable', 'nobody answers')
    },
  } satisfies ProbeParts
  return { parts, asked }
}

test('what is no name, peer id or multiaddr with one is a mistake of whoever asks, and nobody is dialled', async () => {
  const { parts, asked } = scripted()
  const cid = probeManifest(keyPairFromSeed(sha256(Buffer.from('x'))), MIB).id
  for (const whom of [
    '',
    'nobody',
    'a b',
    cid,
    '/',
    '/nonsense/1',
    '/ip4/192.0.2.1/tcp/4001',
    '/ip4/192.0.2.1/tcp/1/p2p/x',
  ]) {
    await assert.rejects(probe(parts, whom, {}), { code: 'usage' }, whom)
  }
  assert.deepEqual(asked, [])
})

test('a name that leads to no peer cannot be probed, and of one that leads to two the first is', async () => {
  await assert.rejects(probe(scripted().parts, 'alice.p2p', {}), { code: 'content_not_found' })
  const [one, two] = [addressOf('one'), addressOf('two')]
  const also = multiaddr(`/ip4/192.0.2.9/tcp/1/p2p/${idIn(one)}`)
  const { parts, asked } = scripted({ peers: [one, two, also] })
  await assert.rejects(probe(parts, 'alice.p2p', {}), { code: 'peer_unreachable' })
  assert.deepEqual(asked, [`${idIn(one)} at ${[one, also].join()}`])
})

test('an error of the lookup or of the dial is told as it is', async () => {
  const { parts } = scripted()
  const fail = (code: 'name_not_found' | 'peer_unreachable') => () => Promise.reject(new P2pnsError(code, 'no'))
  await assert.rejects(probe({ ...parts, peersOf: fail('name_not_found') }, 'a.p2p', {}), { code: 'name_not_found' })
  const unreachable = { ...parts, reach: fail('peer_unreachable') }
  await assert.rejects(probe(unreachable, String(addressOf('x')), {}), { code: 'peer_unreachable' })
})

/** Two hosts, of which the first serves a probe of 1 MiB over real links. */
async function pairOfHosts(t: TestContext) {
  const manifest = probeManifest(keyPairFromSeed(sha256(Buffer.from('far'))), MIB)
  const seeder = seederWith({})
  seeder.add(manifest.id, new ProbeSource(manifest, MIB))
  const far = await reachingHost(t, 'far', ({ stream, peer }) => void seeder.serve(stream, peer))
  const near = await reachingHost(t, 'near', () => undefined)
  const addresses = far.host.libp2p.getMultiaddrs()
  const parts: ProbeParts = {
    peersOf: async () => addresses,
    reach: (peer, known, signal) => near.reach.to(peer, known.length > 0 ? known : addresses, signal),
  }
  return { parts, far: far.peer, address: String(addresses[0]) }
}

test('a probe fetches the next size that there is, and tells the peer, the path, the round trip and the rate', async (t) => {
  const { parts, far, address } = await pairOfHosts(t)
  for (const whom of [far, address, 'far.p2p']) {
    const seen: Progress[] = []
    const { rtt, seconds, rate, path, ...probed } = await probe(parts, whom, {
      size: 1000,
      onProgress: (p) => seen.push(p),
    })
    assert.deepEqual(probed, { peer: far, bytes: MIB })
    assert.notEqual(path, 'relayed')
    assert.ok(rtt >= 0 && seconds > 0)
    assert.equal(rate, Math.round(MIB / seconds))
    assert.deepEqual([seen[0]?.phase, seen.at(-1)?.done, seen.at(-1)?.total], ['connecting', MIB, MIB])
  }
})

test('a peer that serves no probe of that size has no such content', async (t) => {
  const { parts, far } = await pairOfHosts(t)
  await assert.rejects(probe(parts, far, { size: MIB + 1 }), { code: 'content_not_found' })
})
