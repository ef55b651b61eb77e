/** Introducers as places where peers meet: in addresses, and as reflectors. */
import type { Libp2p } from '@libp2p/interface'
import type { Multiaddr } from '@multiformats/multiaddr'
import type { HostPort } from '../core/hosts.ts'
import type { Introducer } from './introducers.ts'
import type { ReflectorAt } from './nat-watch.ts'
import { hostOf } from './peers.ts'

/** The introducer and its peer id, of an address that says at which introducer a peer is to be met. */
export function meetingPlaceIn(address: Multiaddr): [place: string, peerId: string] | undefined {
  const [place, rest] = address.toString().split('/p2p-circuit')
  const peerId = place?.split('/p2p/')[1]
  return rest === undefined || !place || !peerId ? undefined : [place, peerId]
}

/** The address that says where a peer is to be met. */
export function meetingAddress(introducer: string, peer: string): string {
  return `${introducer}/p2p-circuit/p2p/${peer}`
}

/** Where an introducer is that there is a connection to. */
export function addressOf(libp2p: Libp2p, peerId: string): HostPort | undefined {
  for (const { remotePeer, remoteAddr } of libp2p.getConnections()) {
    const host = remotePeer.toString() === peerId ? hostOf(remoteAddr) : undefined
    if (host) return host
  }
  return undefined
}

/** The reflectors of introducers that answer now. */
export async function reflectorsOf(introducers: readonly Introducer[], libp2p: Libp2p): Promise<ReflectorAt[]> {
  const found = await Promise.all(
    introducers.map(async (introducer): Promise<ReflectorAt[]> => {
      const ports = await introducer.reflector().catch(() => undefined)
      const host = addressOf(libp2p, introducer.peerId)?.host
      if (!ports || !host) return []
      return [{ host, ports, poke: (which, port, nonce) => introducer.poke(which, port, nonce) }]
    }),
  )
  return found.flat()
}
