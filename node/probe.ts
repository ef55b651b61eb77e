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
import type { Host } from './net/host.ts'
import { peerIdOf } from './net/host.ts'
import type { Offer } from './net/paths.ts'

const STALL = 10_000
const DEFAULT_SIZE = 64 * 1024 * 1024
/** Milliseconds. */
const PING_TIME = 5_000
const PINGS = 3

export interface ProbeParts {
  host: Host
  /** Peers that a name leads to: multiaddrs with peer ids. */
  peersOf(name: string, signal: AbortSignal): Promise<Multiaddr[]>
  offerOf(peer: PeerId | Multiaddr[], signal: AbortSignal): Promise<Offer>
}

/** `whom`: a name, a peer id or a multiaddr with one. `size`: bytes. Errors: usage, content_not_found, peer_unreachable, timed_out, those of a lookup. */
export async function probe(
  parts: ProbeParts,
  whom: string,
  { size = DEFAULT_SIZE, signal = new AbortController().signal, onProgress }: Job & { size?: number },
): Promise<Probed> {
  onProgress?.({ phase: 'connecting', done: 0, total: 0 })
  const to = await addressOf(parts, whom, signal)
  const first = await parts.offerOf(to, signal)
  const peer = peerIdFromString(first.peer)
  if (peer.type !== 'Ed25519') throw new P2pnsError('usage', `${whom} is no peer of ours`)
  const rtt = await roundTrip(parts.host, peer, signal)
  const bytes = probeSize(size)
  const id = probeId(peer.publicKey.raw, bytes)
  const wayOf = ({ candidates, ticket }: Offer): PeerWay => ({
    peer: first.peer,
    way: { candidates, ticket },
    again: async () => wayOf(await parts.offerOf(peer, signal)),
  })
  async function* links(): AsyncGenerator<PeerWay> {
    yield wayOf(first)
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
    const path = swarm.peers[0]?.path ?? ''
    return { peer: first.peer, path, rtt, bytes, seconds, rate: Math.round(bytes / seconds) }
  } finally {
    swarm.close()
  }
}

async function addressOf(parts: ProbeParts, whom: string, signal: AbortSignal): Promise<PeerId | Multiaddr[]> {
  if (whom.startsWith('/')) {
    const address = read(whom, multiaddr)
    if (!peerIdOf(address)) throw new P2pnsError('usage', `${whom} names no peer: it has to end in /p2p/ and a peer id`)
    return [address]
  }
  if (!whom.includes('.')) return read(whom, peerIdFromString)
  const addresses = await parts.peersOf(whom, signal)
  const [one] = addresses
  if (!one) throw new P2pnsError('content_not_found', `${whom} names no peer`)
  return addresses.filter((address) => peerIdOf(address)?.equals(peerIdOf(one)))
}

function read<T>(whom: string, parse: (text: string) => T): T {
  try {
    return parse(whom)
  } catch (cause) {
    throw new P2pnsError('usage', `${JSON.stringify(whom)} is no name, peer id or multiaddr`, { cause })
  }
}

/** Milliseconds: the best of a few, over the control connection. */
async function roundTrip({ libp2p }: Host, peer: PeerId, signal: AbortSignal): Promise<number> {
  const stop = AbortSignal.any([signal, AbortSignal.timeout(PING_TIME)])
  const times: number[] = []
  try {
    for (let i = 0; i < PINGS; i++) times.push(await libp2p.services.ping.ping(peer, { signal: stop }))
  } catch (cause) {
    if (signal.aborted) throw new P2pnsError('interrupted', 'the probe was stopped', { cause })
    if (stop.aborted) throw new P2pnsError('timed_out', `${peer.toString()} did not answer a ping in time`, { cause })
    throw new P2pnsError('peer_unreachable', `${peer.toString()} answers no ping`, { cause })
  }
  return Math.min(...times)
}
