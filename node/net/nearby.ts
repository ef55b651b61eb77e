/**
 * The quick way to a record: the nodes nearest to its key that this one is connected to are asked at once. The query of kad-dht begins
 * with the nearest ones that it has heard of, and each that must be dialled first costs five round trips, one that is connected two.
 */
import type { Connection, PeerId } from '@libp2p/interface'
import { EventTypes, type PeerResponseEvent, type QueryEvent } from '@libp2p/kad-dht'
import type { Bytes } from '../core/encoding.ts'
import { sha256 } from '../core/keys.ts'

/** What of kad-dht its interface hides. */
export interface KadParts {
  routingTable: { closestPeers(position: Bytes, options: { count: number }): PeerId[] }
  peerRouting: {
    /** Checks what it hands out with the validators. */
    getValueOrPeers(
      peer: PeerId,
      key: Bytes,
      options: { signal: AbortSignal; path: { index: number; queued: number; running: number; total: number } },
    ): AsyncIterable<QueryEvent>
  }
}

/** Asks nodes for a record, and yields what each answers as it comes; nothing from those that fail. */
export type Nearby = (key: Bytes, signal: AbortSignal) => AsyncIterable<PeerResponseEvent>

/** As many as the routing table may hold (docs/decisions/0003-kad-dht.md). */
const ALL = 1280
const NO_PATH = { index: -1, queued: 0, running: 0, total: 0 }

/** `count`: how many are asked. */
export function nearbyNodes(kad: KadParts, connections: () => readonly Connection[], count: number): Nearby {
  return async function* (key, signal) {
    const connected = new Set(connections().map(({ remotePeer }) => remotePeer.toString()))
    const nearest = kad.routingTable
      .closestPeers(sha256(key), { count: ALL })
      .filter((peer) => connected.has(peer.toString()))
      .slice(0, count)
    const waiting = new Map(nearest.map((peer) => [peer, ask(peer, key, signal).then((event) => ({ peer, event }))]))
    while (waiting.size > 0) {
      const { peer, event } = await Promise.race(waiting.values())
      waiting.delete(peer)
      if (event !== undefined) yield event
    }
  }

  async function ask(peer: PeerId, key: Bytes, signal: AbortSignal): Promise<PeerResponseEvent | undefined> {
    try {
      for await (const event of kad.peerRouting.getValueOrPeers(peer, key, { signal, path: NO_PATH })) {
        if (event.type === EventTypes.PEER_RESPONSE) return event
      }
    } catch {
      // Another one may answer.
    }
    return undefined
  }
}
