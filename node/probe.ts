/** How fast a peer is: the path to it, the round trip, and the rate of a transfer that is verified like any other. */
import { randomInt } from 'node:crypto'
import type { PeerId } from '@libp2p/interface'
import { peerIdFromString } from '@libp2p/peer-id'
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr'
import type { Job, Probed } from './contract.ts'
import { P2pnsError } from './core/errors.ts'
import { hashOfCid, parseManifest } from './core/manifest.ts'
import { Download, ManifestTask } from './files/download.ts'
import { Layout } from './files/layout.ts'
import { Work } from './files/link-threads.ts'
import type { PeerWay } from './files/peer-link.ts'
import { probeId, probeSize } from './files/probe-source.ts'
import { Swarm } from './files/swarm.ts'
import { peerIdOf } from './net/host.ts'
import type { Reached } from './net/reach.ts'

const STALL = 10_000
const DEFAULT_SIZE = 64 * 1024 * 1024

export interface ProbeParts {
  /** Peers that a name leads to: multiaddrs with peer ids. */
  peersOf(name: string, signal: AbortSignal): Promise<Multiaddr[]>
  reach(peer: PeerId, addresses: readonly Multiaddr[], signal: AbortSignal): Promise<Reached>
}

/** `whom`: a name, a peer id or a multiaddr with one. `size`: bytes. Errors: usage, content_not_found, peer_unreachable, timed_out, those of a lookup. */
export async function probe(
  parts: ProbeParts,
  whom: string,
  { size = DEFAULT_SIZE, signal = new AbortController().signal, onProgress }: Job & { size?: number },
): Promise<Probed> {
  onProgress?.({ phase: 'connecting', done: 0, total: 0 })
  const { peer, addresses } = await whereIs(parts, whom, signal)
  if (peer.type !== 'Ed25519') throw new P2pnsError('usage', `${whom} is no peer of ours`)
  const bytes = probeSize(size)
  const id = probeId(peer.publicKey.raw, bytes)
  const reached = await parts.reach(peer, addresses, signal)
  async function* links(): AsyncGenerator<PeerWay> {
    for await (const way of reached.ways) yield { peer: reached.peer, way }
  }
  const swarm = new Swarm({ content: hashOfCid(id), links: links(), stall: STALL })
  try {
    const manifest = await swarm.run(new ManifestTask((stored) => parseManifest(stored, { id })), signal)
    const layout = Layout.of(manifest)
    const work = new Work({ parts: layout.parts, keep: 'drop' })
    const started = performance.now()
    let done = 0
    const download = new Download({
      layout,
      wanted: layout.runs,
      work,
      random: (end) => randomInt(end),
      onChunk: (length) => onProgress?.({ phase: 'fetching', done: (done += length), total: bytes, peers: 1 }),
    })
    try {
      await swarm.run(download, signal)
    } finally {
      await work.close()
    }
    const seconds = (performance.now() - started) / 1000
    // The path that brought the most: it may have begun on a dearer one.
    const [best] = swarm.peers.toSorted((a, b) => b.bytes - a.bytes)
    const { path = '', rtt = 0 } = best ?? {}
    return { peer: reached.peer, path, rtt, bytes, seconds, rate: Math.round(bytes / seconds) }
  } finally {
    swarm.close()
  }
}

interface Whereabouts {
  peer: PeerId
  addresses: Multiaddr[]
}

async function whereIs(parts: ProbeParts, whom: string, signal: AbortSignal): Promise<Whereabouts> {
  if (whom.startsWith('/')) {
    const address = read(whom, multiaddr)
    const peer = peerIdOf(address)
    if (!peer) throw new P2pnsError('usage', `${whom} names no peer: it has to end in /p2p/ and a peer id`)
    return { peer, addresses: [address] }
  }
  if (!whom.includes('.')) return { peer: read(whom, peerIdFromString), addresses: [] }
  const addresses = await parts.peersOf(whom, signal)
  const peer = addresses[0] && peerIdOf(addresses[0])
  if (!peer) throw new P2pnsError('content_not_found', `${whom} names no peer`)
  return { peer, addresses: addresses.filter((address) => peerIdOf(address)?.equals(peer)) }
}

function read<T>(whom: string, parse: (text: string) => T): T {
  try {
    return parse(whom)
  } catch (cause) {
    throw new P2pnsError('usage', `${JSON.stringify(whom)} is no name, peer id or multiaddr`, { cause })
  }
}
