import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import { generateKeyPairFromSeed } from '@libp2p/crypto/keys'
import { peerIdFromPrivateKey } from '@libp2p/peer-id'
import { MemoryDatastore } from 'datastore-core'
import { Key } from 'interface-datastore'
import { base32 } from 'multiformats/bases/base32'
import { encode } from 'uint8-varint'
import { P2pnsError } from '../../node/core/errors.ts'
import { ProviderGuard } from '../../node/net/provider-guard.ts'

const self = peerIdFromPrivateKey(await generateKeyPairFromSeed('Ed25519', new Uint8Array(32).fill(1)))
const LIMITS = { total: 12, content: 3, peer: 5 }

function keyOf(content: number | string, peer: string): Key {
  const hash = createHash('sha256').update(String(content)).digest()
  return new Key(`/dht/provider/${base32.baseEncode(Buffer.concat([Buffer.from([0x12, 0x20]), hash]))}/${peer}`)
}

function setUp(inner = new MemoryDatastore()) {
  const guard = new ProviderGuard(inner, self, LIMITS)
  return {
    inner,
    guard,
    announce: (content: number | string, peer: string, at = 0) => guard.put(keyOf(content, peer), encode(at)),
    has: (content: number | string, peer: string) => inner.has(keyOf(content, peer)),
    count: async () => {
      let count = 0
      for await (const _ of inner.queryKeys({ prefix: '/dht/provider' })) count++
      return count
    },
  }
}

test('of one content the oldest announcement goes first; one that is renewed is new', async () => {
  const { announce, has, count } = setUp()
  for (const peer of ['a', 'b', 'c', 'a', 'd']) await announce(1, peer)
  assert.deepEqual([await has(1, 'a'), await has(1, 'b'), await count()], [true, false, 3])
})

test('one peer fills only its own share', async () => {
  const { announce, has, count } = setUp()
  await announce('other', 'honest')
  for (let i = 0; i < 20; i++) await announce(i, 'flooder')
  assert.deepEqual([await count(), await has('other', 'honest'), await has(14, 'flooder')], [6, true, false])
  assert.ok(await has(15, 'flooder'))
})

test('in all there are so many, and what this node provides is never among those that go', async () => {
  const { announce, has, count } = setUp()
  for (let i = 0; i < 8; i++) await announce(i, self.toString())
  for (let i = 0; i < 50; i++) await announce(i % 4, `peer${i}`)
  for (let i = 0; i < 50; i++) await announce(i, `peer${i}`)
  assert.equal(await count(), 8 + 12)
  for (let i = 0; i < 8; i++) assert.ok(await has(i, self.toString()))
})

test('what was there before a restart counts by its time, and what is deleted does not', async () => {
  const { inner, ...before } = setUp()
  for (const [peer, at] of [
    ['b', 200],
    ['a', 300],
    ['c', 100],
  ] as const)
    await before.announce(1, peer, at)
  const after = setUp(inner)
  await after.guard.load()
  await after.announce(1, 'd')
  assert.deepEqual([await after.has(1, 'c'), await after.has(1, 'a')], [false, true])
  await after.guard.delete(keyOf(1, 'a'))
  await after.announce(1, 'e')
  assert.equal(await after.count(), 3)
})

test('what is announced is a SHA-256, and nothing longer', async () => {
  const { guard } = setUp()
  for (const multihash of ['short', 'ciq', 'a'.repeat(5_000)]) {
    await assert.rejects(
      guard.put(new Key(`/dht/provider/${multihash}/peer`), encode(0)),
      (error) => error instanceof P2pnsError && error.code === 'key_mismatch',
    )
  }
})
