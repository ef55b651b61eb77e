/**
 * A libp2p service that vouches for the addresses of our own interfaces. libp2p tells others of a public one only once
 * AutoNAT has confirmed it, which we do not run: it closes live relay reservations. An address that a firewall makes
 * useless costs a peer one failed dial.
 */
import type { Libp2pEvents, TypedEventTarget } from '@libp2p/interface'
import type { AddressManager, TransportManager } from '@libp2p/interface-internal'

export function ownAddresses() {
  return (parts: {
    addressManager: AddressManager
    transportManager: TransportManager
    events: TypedEventTarget<Libp2pEvents>
  }): object => {
    parts.events.addEventListener('transport:listening', () => {
      for (const address of parts.transportManager.getAddrs()) {
        parts.addressManager.confirmObservedAddr(address, { type: 'transport' })
      }
    })
    return {}
  }
}
