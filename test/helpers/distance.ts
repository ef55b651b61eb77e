/** Who stands nearest to a key in the DHT, worked out apart from the library. */
import { createHash } from 'node:crypto'
import type { PeerId } from '@libp2p/interface'

/** Peer ids as text, the nearest first: by the XOR of the SHA-256 of the key and that of the peer id's multihash. */
export function distanceOrder(key: Uint8Array, peers: readonly PeerId[]): string[] {
  const hash = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest()
  const place = hash(key)
  const distance = (peer: PeerId) => hash(peer.toMultihash().bytes).map((byte, i) => byte ^ (place[i] as number))
  return peers.toSorted((a, b) => Buffer.compare(distance(a), distance(b))).map(String)
}
