import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { type TestContext, test } from 'node:test'
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr'
import type { Progress } from '../../node/contract.ts'
import { P2pnsError } from '../../node/core/errors.ts'
import { keyPairFromSeed, sha256 } from '../../node/core/keys.ts'
import { ProbeSource, probeManifest } from '../../node/files/probe-source.ts'
import { Paths } from '../../node/net/paths.ts'
import { type ProbeParts, probe } from '../../node/probe.ts'
import { seederWith } from '../files/rig.ts'
import { honestHost } from '../helpers/hosts.ts'
import { addressOf as addressOfKey } from './harness.ts'

const MIB = 1024 * 1024

const addressOf = (seed: string) => multiaddr(addressOfKey(keyPairFromSeed(sha256(Buffer.from(seed))).publicKey))
const idIn = (address: Multiaddr) => address.toString().split('/p2p/')[1] as string

/** A node whose network a test scripts: nobody is asked unless it says so. */
function scripted(options: { peers?: Multiaddr[]; ping?: (signal: AbortSignal) => Promise<number> } = {}) {
  const asked: string[] = []
  const parts = {
    host: {
      libp2p: {
        services: { ping: { ping: (_: unknown, { signal }: { signal: AbortSignal }) => options.ping?.(signal) } },
      },
    },
    peersOf: async () => options.peers ?? [],
    offerOf: async (to: Multiaddr[]) => {
      asked.push(String(to))
      return { peer: idIn(to[0] ?? addressOf('x')), candidates: [], ticket: {} }
    },
  } as unknown as ProbeParts
  return { parts, asked }
}

/** A ping that nobody answers. */
function silence(signal: AbortSignal): Promise<number> {
  return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
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
  const { parts, asked } = scripted({ peers: [one, two, also], ping: () => Promise.reject(new Error('refused')) })
  await assert.rejects(probe(parts, 'alice.p2p', {}), { code: 'peer_unreachable' })
  assert.deepEqual(asked, [String([one, also])])
})

test('an error of the lookup or of the dial is told as it is', async () => {
  const { parts } = scripted()
  const fail = (code: 'name_not_found' | 'peer_unreachable') => () => Promise.reject(new P2pnsError(code, 'no'))
  await assert.rejects(probe({ ...parts, peersOf: fail('name_not_found') }, 'a.p2p', {}), { code: 'name_not_found' })
  const unreachable = { ...parts, offerOf: fail('peer_unreachable') }
  await assert.rejects(probe(unreachable, String(addressOf('x')), {}), { code: 'peer_unreachable' })
})

test('a peer that answers no ping in time has timed out, unless the probe was stopped', async (t) => {
  const time = new AbortController()
  const timeout = t.mock.method(AbortSignal, 'timeout', () => time.signal)
  for (const [code, ends] of [
    ['interrupted', new AbortController()],
    ['timed_out', time],
  ] as const) {
    const began = Promise.withResolvers<void>()
    const ping = (signal: AbortSignal) => {
      began.resolve()
      return silence(signal)
    }
    const signal = ends === time ? new AbortController().signal : ends.signal
    const probing = probe(scripted({ ping }).parts, String(addressOf('x')), { signal })
    await Promise.race([began.promise, probing])
    ends.abort()
    await assert.rejects(probing, { code })
  }
  assert.deepEqual(timeout.mock.calls[0]?.arguments, [5_000])
})

/** Two hosts, of which the first serves a probe of 1 MiB over real links. */
async function pairOfHosts(t: TestContext) {
  const [near, far] = [await honestHost(t, 'near'), await honestHost(t, 'far')]
  const manifest = probeManifest(keyPairFromSeed(sha256(Buffer.from('far'))), MIB)
  const seeder = seederWith({})
  seeder.add(manifest.id, new ProbeSource(manifest, MIB))
  const served = new Paths(far.libp2p)
  const onLink = ({ stream, peer }: Parameters<Parameters<Paths['listen']>[0]['onLink']>[0]) =>
    void seeder.serve(stream, peer)
  await served.listen({ port: 0, now: Date.now, random: randomBytes, onLink })
  t.after(() => served.stop())
  const paths = new Paths(near.libp2p)
  await near.libp2p.dial(far.libp2p.getMultiaddrs())
  const parts: ProbeParts = {
    host: near,
    peersOf: async () => far.libp2p.getMultiaddrs(),
    offerOf: (peer, signal) => paths.offerOf(peer, signal),
  }
  return { parts, far: far.libp2p.peerId.toString(), address: String(far.libp2p.getMultiaddrs()[0]) }
}

test('a probe fetches the next size that there is, and tells the peer, the path, the round trip and the rate', async (t) => {
  const { parts, far, address } = await pairOfHosts(t)
  for (const whom of [far, address, 'far.p2p']) {
    const seen: Progress[] = []
    const { rtt, seconds, rate, ...probed } = await probe(parts, whom, { size: 1000, onProgress: (p) => seen.push(p) })
    assert.deepEqual(probed, { peer: far, path: 'lan', bytes: MIB })
    assert.ok(rtt >= 0 && seconds > 0)
    assert.equal(rate, Math.round(MIB / seconds))
    assert.deepEqual([seen[0]?.phase, seen.at(-1)?.done, seen.at(-1)?.total], ['connecting', MIB, MIB])
  }
})

test('a peer that serves no probe of that size has no such content', async (t) => {
  const { parts, far } = await pairOfHosts(t)
  await assert.rejects(probe(parts, far, { size: MIB + 1 }), { code: 'content_not_found' })
})
