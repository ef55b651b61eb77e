import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Libp2p } from '@libp2p/interface'
import { connectedPeers, isNearby, withPeerId } from '../../node/net/peers.ts'
import { honestHost } from '../helpers/hosts.ts'

const ALICE = '12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp'
const RELAY = '12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X'

/** A host with connections from `peer` at `address`. */
function hostWith(...connections: { peer: string; address: string; rtt?: number }[]): Libp2p {
  const fake = {
    getConnections: () => connections.map(({ peer, address, rtt }) => ({ remotePeer: peer, remoteAddr: address, rtt })),
  }
  return fake as unknown as Libp2p
}

test('a peer on this machine is shown with its address and as near', async (t) => {
  const [a, b] = [await honestHost(t, 'a'), await honestHost(t, 'b')]
  await a.libp2p.dial(b.libp2p.getMultiaddrs())
  const [peer, ...rest] = connectedPeers(a.libp2p)
  assert.deepEqual(rest, [])
  assert.equal(peer?.peer, b.libp2p.peerId.toString())
  assert.equal(peer?.path, 'lan')
  assert.match(peer?.address ?? '', /^\/ip4\/127\.0\.0\.1\/tcp\/\d+/)
})

test('each peer is shown once, by its direct connection if it has one', () => {
  const relayed = { peer: ALICE, address: `/ip4/198.51.100.1/tcp/1/p2p/${RELAY}/p2p-circuit` }
  const direct = { peer: ALICE, address: '/ip4/198.51.100.2/tcp/2', rtt: 12 }
  const shown = { peer: ALICE, address: direct.address, path: 'direct-tcp', rtt: 12 }
  assert.deepEqual(connectedPeers(hostWith(relayed, direct)), [shown])
  assert.deepEqual(connectedPeers(hostWith(direct, relayed)), [shown])
  assert.deepEqual(connectedPeers(hostWith(relayed)), [{ ...relayed, path: 'relayed' }])
})

test('private, link-local and loopback addresses are near, everything else is not', () => {
  const near =
    '10.0.0.1 192.168.1.1 172.16.0.1 172.31.255.255 169.254.1.1 127.0.0.1 ::ffff:10.0.0.1 ::1 fe80::1 FE80::1 fc00::1 fd12::1'
  for (const host of near.split(' ')) assert.equal(isNearby(host), true, host)
  const far =
    '198.51.100.1 172.15.0.1 172.32.0.1 192.169.0.1 11.0.0.1 100.64.0.1 1.10.0.1 2001:db8::1 ::2 ::12 ::ffff:198.51.100.1'
  for (const host of [...far.split(' '), '', undefined]) assert.equal(isNearby(host), false, host)
})

test('a relayed address is completed with the peer behind the relay', () => {
  const direct = '/ip4/198.51.100.2/tcp/2'
  assert.equal(withPeerId(direct, ALICE), `${direct}/p2p/${ALICE}`)
  assert.equal(withPeerId(`${direct}/p2p/${ALICE}`, ALICE), `${direct}/p2p/${ALICE}`)
  const circuit = `${direct}/p2p/${RELAY}/p2p-circuit`
  assert.equal(withPeerId(circuit, ALICE), `${circuit}/p2p/${ALICE}`)
})
