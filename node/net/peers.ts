/** The peers that a host is connected to, and by which path. */
import { publicKeyFromRaw } from '@libp2p/crypto/keys'
import type { Connection, Libp2p, PeerId } from '@libp2p/interface'
import { peerIdFromPublicKey } from '@libp2p/peer-id'
import type { Multiaddr } from '@multiformats/multiaddr'
import type { Bytes } from '../core/encoding.ts'
import { type HostPort, plainHost } from '../core/hosts.ts'

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

/** The Ed25519 key of a peer id, 32 bytes; undefined for those of other kinds. */
export function keyOf(peer: PeerId): Bytes | undefined {
  return peer.type === 'Ed25519' ? peer.publicKey.raw : undefined
}

/** The peer id of an Ed25519 key. */
export function peerOf(key: Bytes): PeerId {
  return peerIdFromPublicKey(publicKeyFromRaw(key))
}

/** The IP address and TCP port of a multiaddr; undefined for one without, and for the other end of a relayed one. */
export function hostOf(address: Multiaddr): HostPort | undefined {
  const parts = address.getComponents()
  const host = parts[0]?.name === 'ip4' || parts[0]?.name === 'ip6' ? parts[0].value : undefined
  const port = parts[1]?.name === 'tcp' ? Number(parts[1].value) : 0
  if (host === undefined || port === 0 || parts.some(({ name }) => name === 'p2p-circuit')) return undefined
  return { host: plainHost(host), port }
}

/** The port that a host listens on; 0: none. */
export function tcpPortOf(libp2p: Libp2p): number {
  return (
    libp2p
      .getMultiaddrs()
      .map((address) => hostOf(address)?.port ?? 0)
      .find((port) => port > 0) ?? 0
  )
}
