import assert from 'node:assert/strict'
import * as fs from 'node:fs/promises'
import { tmpdir } from 'node:os'
import * as path from 'node:path'
import { type TestContext, test } from 'node:test'
import { CID } from 'multiformats/cid'
import { Content } from '../../node/content.ts'
import { toHex } from '../../node/core/encoding.ts'
import { manifestDhtKey } from '../../node/core/manifest.ts'
import type { Host } from '../../node/net/host.ts'
import { createRecordNetwork } from '../../node/net/record-network.ts'
import { type Published, Publisher } from '../../node/publisher.ts'
import type { Table } from '../../node/store.ts'
import { temporaryFolder } from '../helpers/folder.ts'
import { meet } from '../helpers/hosts.ts'
import { reachingHost } from '../helpers/reaching.ts'
import { memoryTable } from '../helpers/table.ts'
import { Clock, FakeNetwork, startHome } from './harness.ts'

/** The content of a node with a real host: no names, tables in memory that a second `open` finds again. */
async function machine(t: TestContext, seed: string) {
  let content: Content
  const { host, key, reach } = await reachingHost(
    t,
    seed,
    ({ stream, peer }) => void content.sharing.serve(stream, peer),
  )
  const tables = new Map<string, Table<unknown>>()
  const table = <T>(name: string): Table<T> => {
    const found = tables.get(name) ?? memoryTable<unknown>()
    tables.set(name, found)
    return found as Table<T>
  }
  const network = createRecordNetwork(host.dht, [], Date.now)
  const published = table<Published>('published')
  const clock = new Clock()
  const { names } = await startHome({ clock, network: new FakeNetwork(clock.now) })
  const home = await fs.mkdtemp(path.join(tmpdir(), 'p2pns-content-'))
  t.after(() => fs.rm(home, { recursive: true, force: true }))
  const open = async () => {
    content = await Content.open({
      host,
      key,
      store: { table, datastore: host.records, close: async () => {} },
      network,
      publisher: new Publisher(published, network, Date.now),
      names,
      home,
      limits: {},
      visitor: false,
      now: Date.now,
      reach: () => reach,
    })
    const opened = content
    t.after(() => opened.stop())
    return opened
  }
  return { host, open, published, shares: table('shares') }
}

async function announced(by: Host, seenFrom: Host, id: string): Promise<boolean> {
  for await (const { id: peer } of seenFrom.dht.providers(CID.parse(id))) if (peer.equals(by.libp2p.peerId)) return true
  return false
}

/** Content ids that kad-dht goes on announcing for this host. */
async function announcing(host: Host): Promise<number> {
  let count = 0
  for await (const { key } of host.records.query({ prefix: '/dht/provider' })) {
    if (key.toString().endsWith(host.libp2p.peerId.toString())) count++
  }
  return count
}

test('what is shared again replaces what was shared from there before', async (t) => {
  const folder = await temporaryFolder(t)
  const [a, b] = [await machine(t, 'a'), await machine(t, 'b')]
  await meet(a.host, b.host)
  const [owner, other] = [await a.open(), await b.open()]
  const site = path.join(folder, 'site')
  await fs.mkdir(site)
  await fs.writeFile(path.join(site, 'x'), 'old')
  const old = await owner.sharing.share(site)
  assert.ok(await announced(a.host, b.host, old.cid))
  await fs.writeFile(path.join(site, 'x'), 'newer')
  const fresh = await owner.sharing.share(site)
  assert.notEqual(fresh.cid, old.cid)
  assert.deepEqual(
    owner.sharing.shares().map(({ cid }) => cid),
    [fresh.cid],
  )
  assert.equal((await owner.sharing.share(site)).cid, fresh.cid)
  assert.deepEqual(await Array.fromAsync(a.shares.entries(), ([id]) => id), [fresh.cid])
  assert.deepEqual(await Array.fromAsync(a.published.entries(), ([row]) => row), [toHex(manifestDhtKey(fresh.cid))])
  assert.equal(await announcing(a.host), 1)

  const out = path.join(folder, 'copy')
  await assert.rejects(other.fetch(old.cid, { out }), { code: 'content_not_found' })
  await other.fetch(fresh.cid, { out })
  assert.equal(await fs.readFile(path.join(out, 'x'), 'utf8'), 'newer')
  assert.deepEqual(
    other.sharing.shares().map(({ cid }) => cid),
    [fresh.cid],
  )
})

test('a share ends by its CID or its path, and stays ended after a restart', async (t) => {
  const folder = await temporaryFolder(t)
  const [a, b] = [await machine(t, 'a'), await machine(t, 'b')]
  await meet(a.host, b.host)
  const owner = await a.open()
  const file = path.join(folder, 'x')
  for (const way of ['cid', 'path'] as const) {
    await fs.writeFile(file, 'content')
    const { cid } = await owner.sharing.share(file)
    assert.equal(await owner.sharing.unshare(way === 'cid' ? cid : file), true)
    assert.deepEqual(owner.sharing.shares(), [])
    assert.equal(await owner.sharing.unshare(cid), false)
    assert.equal(await announcing(a.host), 0)
  }
  await owner.stop()
  assert.deepEqual((await a.open()).sharing.shares(), [])
  for (const table of [a.shares, a.published]) assert.deepEqual(await Array.fromAsync(table.entries()), [])
})

test('a share whose path is away is neither served nor announced until it is back, and can be ended', async (t) => {
  const folder = await temporaryFolder(t)
  const [a, b] = [await machine(t, 'a'), await machine(t, 'b')]
  await meet(a.host, b.host)
  let owner = await a.open()
  const [file, away] = [path.join(folder, 'x'), path.join(folder, 'away')]
  await fs.writeFile(file, 'content')
  const { cid } = await owner.sharing.share(file)
  const restart = async () => {
    await owner.stop()
    owner = await a.open()
  }
  await fs.rename(file, away)
  await restart()
  assert.deepEqual(owner.sharing.shares(), [])
  assert.equal(await announcing(a.host), 0)
  await fs.rename(away, file)
  await restart()
  assert.equal(owner.sharing.shares()[0]?.cid, cid)
  await fs.rm(file)
  await restart()
  assert.equal(await owner.sharing.unshare(file), true)
})
