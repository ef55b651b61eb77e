/** record -> peers: links to everybody who may have a content, as they come. */
import type { PeerId } from '@libp2p/interface'
import type { Multiaddr } from '@multiformats/multiaddr'
import { CID } from 'multiformats/cid'
import { type Host, peerIdOf } from './net/host.ts'
import type { Link, Paths } from './net/paths.ts'

/** Peers that one fetch tries; more sources would not make it faster. */
const MAX_PEERS = 16

/**
 * Dials the peers that the name or link gives and, at the same time, those that the DHT names as providers. Ends when
 * nobody is left to try; a peer that cannot be reached is left out.
 */
export async function* linksTo(
  parts: { host: Host; paths: Paths },
  id: string,
  hints: readonly Multiaddr[],
  signal: AbortSignal,
): AsyncGenerator<Link> {
  const { host, paths } = parts
  const left = new AbortController()
  const stop = AbortSignal.any([signal, left.signal])
  const tried = new Set([host.libp2p.peerId.toString()])
  const arrived: Link[] = []
  let open = 0
  let { promise: change, resolve: wake } = Promise.withResolvers<void>()
  const during = async (work: Promise<void>) => {
    open++
    await work.catch(() => {})
    open--
    wake()
  }
  const dial = async (peer: PeerId, addresses: Multiaddr[]) => {
    if (tried.has(peer.toString()) || tried.size > MAX_PEERS) return
    tried.add(peer.toString())
    if (addresses.length > 0) await host.libp2p.peerStore.merge(peer, { multiaddrs: addresses })
    const link = await paths.connect(peer, stop)
    if (stop.aborted) link.stream.destroy()
    arrived.push(link)
    wake()
  }
  const search = async () => {
    for await (const { id: peer, addresses } of host.dht.providers(CID.parse(id), { signal: stop })) {
      void during(dial(peer, addresses))
    }
  }
  for (const [peer, addresses] of byPeer(hints)) void during(dial(peer, addresses))
  void during(search())
  try {
    for (;;) {
      const link = arrived.shift()
      if (link !== undefined) {
        yield link
        continue
      }
      if (open === 0) return
      await change
      ;({ promise: change, resolve: wake } = Promise.withResolvers<void>())
    }
  } finally {
    left.abort()
    for (const link of arrived) link.stream.destroy()
  }
}

/** Addresses of one peer belong to one dial. */
function byPeer(hints: readonly Multiaddr[]): [PeerId, Multiaddr[]][] {
  const peers = new Map<string, [PeerId, Multiaddr[]]>()
  for (const hint of hints) {
    const peer = peerIdOf(hint)
    if (peer === undefined) continue
    const known = peers.get(peer.toString()) ?? [peer, []]
    // A bare /p2p/<id> has no address: the DHT is asked where that peer is.
    if (hint.getComponents().length > 1) known[1].push(hint)
    peers.set(peer.toString(), known)
  }
  return [...peers.values()]
}
