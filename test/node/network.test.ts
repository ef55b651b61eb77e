/** The main job in one process, over real sockets on loopback: names and files with and without an introducer. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import * as path from 'node:path'
import { test } from 'node:test'
import type { Node } from '../../node/index.ts'
import { temporaryFolder } from '../helpers/folder.ts'
import { createTestnet } from '../helpers/testnet.ts'

const A = (data: string) => [{ type: 'A', data }]

async function addressOf(node: Node, name = 'alice.p2p', policy: 'cache-first' | 'network' = 'cache-first') {
  return (await node.resolve(name, 'A', { policy })).records.map(({ data }) => data)
}

test('a name and its file outlive the introducer, a restart of the reader, and an update', async (t) => {
  const net = await createTestnet(t)
  const [alice, bob] = net.nodes as [Node, Node]
  const folder = await temporaryFolder(t)
  const source = path.join(folder, 'film.bin')
  await writeFile(source, randomBytes(700_000))
  await alice.register({ name: 'alice.p2p', records: A('192.0.2.1') })
  await alice.share(source, { as: 'alice.p2p' })
  assert.deepEqual(await addressOf(bob), ['192.0.2.1'])

  await net.introducers[0]?.stop()
  await bob.clearCache()
  assert.deepEqual(await addressOf(bob), ['192.0.2.1'])

  const { home } = await bob.status()
  await bob.stop()
  const again = await net.join({ home })
  await again.clearCache()
  assert.deepEqual(await addressOf(again), ['192.0.2.1'])
  const { path: got } = await again.fetch('alice.p2p', { out: path.join(folder, 'got.bin') })
  assert.ok((await readFile(got)).equals(await readFile(source)))

  await alice.register({ name: 'alice.p2p', records: A('192.0.2.2') })
  assert.deepEqual(await addressOf(again, 'alice.p2p', 'network'), ['192.0.2.2'])
})

test('what one peer fetched comes from both to the next', async (t) => {
  const net = await createTestnet(t, { nodes: 3 })
  const [alice, bob, carol] = net.nodes as [Node, Node, Node]
  const folder = await temporaryFolder(t)
  const source = path.join(folder, 'set')
  await mkdir(source)
  await writeFile(path.join(source, 'big'), randomBytes(8_000_000))
  const { cid } = await alice.share(source)
  await bob.fetch(cid, { out: path.join(folder, 'bob') })
  const { peers, path: got } = await carol.fetch(cid, { out: path.join(folder, 'carol') })
  assert.ok((await readFile(path.join(got, 'big'))).equals(await readFile(path.join(source, 'big'))))
  assert.equal(
    peers.reduce((sum, { bytes }) => sum + bytes, 0),
    8_000_000,
  )
})

test('a share is served again after a restart, without being hashed again', async (t) => {
  const net = await createTestnet(t)
  const [alice, bob] = net.nodes as [Node, Node]
  const folder = await temporaryFolder(t)
  await writeFile(path.join(folder, 'note'), 'hello')
  const { cid } = await alice.share(path.join(folder, 'note'))
  const { home } = await alice.status()
  await alice.stop()
  const again = await net.join({ home })
  assert.deepEqual(
    (await again.status()).shares.map((share) => share.cid),
    [cid],
  )
  const { path: got } = await bob.fetch(cid, { out: path.join(folder, 'got') })
  assert.equal(await readFile(got, 'utf8'), 'hello')
})

test('content is not shared under a name that is somebody else’s', async (t) => {
  const net = await createTestnet(t)
  const [alice, bob] = net.nodes as [Node, Node]
  const folder = await temporaryFolder(t)
  await writeFile(path.join(folder, 'note'), 'hello')
  await alice.register({ name: 'alice.p2p' })
  await assert.rejects(bob.share(path.join(folder, 'note'), { as: 'alice.p2p' }), { code: 'name_taken' })
  assert.deepEqual((await bob.status()).shares, [])
})

test('an introducer address that is none does not break the home', async (t) => {
  const net = await createTestnet(t, { nodes: 0 })
  const home = await temporaryFolder(t)
  await assert.rejects(net.join({ home, introducers: ['/ip4/127.0.0.1/tcp/1'] }), { code: 'usage' })
  await net.join({ home, introducers: [] })
})

test('a home that a person made readable keeps its database and its unsettled claims to itself', async (t) => {
  const { chmod, stat } = await import('node:fs/promises')
  const net = await createTestnet(t, { nodes: 0 })
  const home = await temporaryFolder(t)
  await chmod(home, 0o755)
  const node = await net.join({ home })
  await node.register({ name: 'alice.p2p' })
  for (const inner of ['db', 'pending']) assert.equal((await stat(path.join(home, inner))).mode & 0o777, 0o700)
})
