/** The peers that a host is connected to, and by which path. */
import type { Connection, Libp2p } from '@libp2p/interface'

export interface ConnectedPeer {
  peer: string
  address: string
  path: 'lan' | 'direct-tcp' | 'relayed'
  /** Milliseconds, when measured. */
  rtt?: number
}

export function connectedPeers(libp2p: Libp2p): ConnectedPeer[] {
  const best = new Map<string, Connection>()
  for (const connection of libp2p.getConnections()) {
    const peer = connection.remotePeer.toString()
    const known = best.get(peer)
    if (known === undefined || pathOf(known.remoteAddr.toString()) === 'relayed') best.set(peer, connection)
  }
  return [...best].map(([peer, { remoteAddr, rtt }]) => ({
    peer,
    address: remoteAddr.toString(),
    path: pathOf(remoteAddr.toString()),
    ...(rtt === undefined ? {} : { rtt }),
  }))
}

/** A multiaddr that says whom to expect there; a relayed one names the relay first. */
export function withPeerId(address: string, peer: string): string {
  return address.endsWith(`/p2p/${peer}`) ? address : `${address}/p2p/${peer}`
}

function pathOf(address: string): ConnectedPeer['path'] {
  if (address.includes('/p2p-circuit')) return 'relayed'
  return isNearby(address.split('/')[2]) ? 'lan' : 'direct-tcp'
}

/** An address of the same machine or private network (RFC 1918, RFC 3927, RFC 4193). */
export function isNearby(host: string | undefined): boolean {
  const plain = (host ?? '').replace(/^::ffff:/, '')
  return /^(10\.|192\.168\.|172\.(1[6-9]|2\d|3[01])\.|169\.254\.|127\.|::1$|f[cd]|fe80:)/i.test(plain)
}
