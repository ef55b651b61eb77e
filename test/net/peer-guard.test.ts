import assert from 'node:assert/strict'
import { test } from 'node:test'
import { generateKeyPairFromSeed } from '@libp2p/crypto/keys'
import { peerIdFromPrivateKey } from '@libp2p/peer-id'
import { multiaddr } from '@multiformats/multiaddr'
import { MAX_ADDRESSES } from '../../node/net/peer-guard.ts'
import { honestHost } from '../helpers/hosts.ts'

const peer = peerIdFromPrivateKey(await generateKeyPairFromSeed('Ed25519', new Uint8Array(32).fill(7)))
const addresses = (count: number, net: number) =>
  Array.from({ length: count }, (_, i) => multiaddr(`/ip4/10.${net}.${i >> 8}.${i & 255}/tcp/4001`))

test('of a peer few addresses are kept, whoever tells of how many; those it signed stay, and those known longest', async (t) => {
  const { libp2p } = await honestHost(t, 'addresses')
  const own = multiaddr('/ip4/198.51.100.1/tcp/4001')
  const signed = multiaddr('/ip4/198.51.100.2/tcp/4001')
  await libp2p.peerStore.merge(peer, { multiaddrs: [own], tags: { friend: { value: 50 } } })
  for (let net = 0; net < 3; net++) await libp2p.peerStore.merge(peer, { multiaddrs: addresses(1_000, net) })
  await libp2p.peerStore.merge(peer, { addresses: [{ multiaddr: signed, isCertified: true }] })
  const kept = await libp2p.peerStore.get(peer)
  const texts = kept.addresses.map((address) => address.multiaddr.toString())
  assert.equal(texts.length, MAX_ADDRESSES)
  assert.ok(texts.includes(own.toString()) && texts.includes(signed.toString()))
  assert.equal(kept.tags.get('friend')?.value, 50)
})
