import assert from 'node:assert/strict'
import * as fs from 'node:fs/promises'
import * as path from 'node:path'
import { type TestContext, test } from 'node:test'
import { keyPairFromSeed, sha256 } from '../../node/core/keys.ts'
import { Limiter } from '../../node/core/limiter.ts'
import { hashOfCid } from '../../node/core/manifest.ts'
import type { KeptShare } from '../../node/files/kept-shares.ts'
import { PROBE_SIZES, probeId } from '../../node/files/probe-source.ts'
import { type Share, sharePath } from '../../node/files/share.ts'
import { ShareSource } from '../../node/files/share-source.ts'
import type { Host } from '../../node/net/host.ts'
import { Publisher } from '../../node/publisher.ts'
import { Sharing } from '../../node/sharing.ts'
import { linkPair, talkOn, tempFolder } from '../files/rig.ts'
import { memoryTable } from '../helpers/table.ts'
import { Clock, FakeNetwork, settled } from './harness.ts'

const key = keyPairFromSeed(sha256(Buffer.from('sharing')))
const stranger = keyPairFromSeed(sha256(Buffer.from('stranger')))
const limiter = new Limiter(undefined, () => 0)
const got = () => 0

/** A node that shares, without a network: what it would announce is written down. */
async function machine(t: TestContext) {
  const folder = await tempFolder(t)
  const leaves = path.join(folder, 'leaves')
  const clock = new Clock()
  const announced: { id: string; signal: AbortSignal | undefined }[] = []
  const provide = async (id: unknown, { signal }: { signal?: AbortSignal }) => {
    signal?.throwIfAborted()
    announced.push({ id: String(id), signal })
    return 1
  }
  const libp2p = { getMultiaddrs: () => [], getPeers: () => [], contentRouting: { cancelReprovide: async () => {} } }
  const publisher = new Publisher(memoryTable(), new FakeNetwork(clock.now), clock.now)
  const host = { dht: { provide }, libp2p } as unknown as Host
  const table = memoryTable<KeptShare>()
  const sharing = new Sharing({ host, key, publisher, table, leaves, limiter, now: clock.now })
  await sharing.open()
  t.after(() => sharing.stop())
  /** The first chunk that whoever asks for `id` gets, or why it gets none. */
  const given = async (id: string): Promise<string> => {
    const [near, far] = linkPair()
    const served = sharing.serve(far, 'fetcher')
    const { say, hear, heard } = talkOn(near)
    say({ type: 'hello', content: hashOfCid(id) }, { type: 'request', first: 0, count: 1 })
    const chunk = await hear('chunk').catch(() => undefined)
    near.destroy()
    await served
    if (chunk) return Buffer.from(chunk.data ?? []).toString()
    const bye = heard.find((frame) => frame.type === 'bye')
    return bye ? bye.reason : 'nothing'
  }
  const write = async (name: string, text: string) => {
    await fs.writeFile(path.join(folder, name), text)
    return path.join(folder, name)
  }
  /** What another node's share would be here, after a fetch. */
  const fetched = async (name: string, text: string): Promise<Share> =>
    sharePath(await write(name, text), { pair: stranger, created: 1_800_000_000, leaves })
  return { sharing, announced, given, write, fetched }
}

/** The source of a download, which tells whether it was closed. */
class Watched extends ShareSource {
  closed = 0
  override close(): void {
    this.closed++
    super.close()
  }
}

test('what is being fetched is served and announced until its fetch ends', async (t) => {
  const { sharing, announced, given, fetched } = await machine(t)
  const share = await fetched('x', 'being fetched')
  const { id } = share.manifest
  const source = new Watched(share)
  const end = sharing.offer(id, source, got, limiter)
  assert.equal(await given(id), 'being fetched')
  assert.deepEqual(
    announced.map((one) => one.id),
    [id],
  )
  assert.deepEqual(sharing.shares(), [])
  end()
  assert.equal(source.closed, 1)
  assert.equal(await given(id), 'content_not_found')
})

test('a fetch of what is shared here does not displace the share, neither while it runs nor when it ends', async (t) => {
  const { sharing, announced, given, write, fetched } = await machine(t)
  const { cid } = await sharing.share(await write('mine', 'mine'))
  const copy = new Watched(await fetched('copy', 'a copy'))
  const end = sharing.offer(cid, copy, got, limiter)
  assert.equal(await given(cid), 'mine')
  end()
  assert.equal(await given(cid), 'mine')
  assert.deepEqual([copy.closed, announced.length], [0, 1])
})

test('a second fetch of a content to another place leaves it to the first to serve it', async (t) => {
  const { sharing, given, fetched } = await machine(t)
  const first = await fetched('first', 'first')
  const { id } = first.manifest
  const ends = [first, await fetched('second', 'second')].map((share) =>
    sharing.offer(id, new Watched(share), got, limiter),
  )
  ends[1]?.()
  assert.equal(await given(id), 'first')
  ends[0]?.()
  assert.equal(await given(id), 'content_not_found')
})

test('what became a share while it was fetched stays served when its fetch ends', async (t) => {
  const { sharing, given, fetched } = await machine(t)
  const [share, whole] = [await fetched('part', 'part'), await fetched('whole', 'full')]
  const { id } = share.manifest
  const part = new Watched(share)
  const end = sharing.offer(id, part, got, limiter)
  await sharing.seed({ ...whole, manifest: share.manifest })
  end()
  assert.equal(part.closed, 1)
  assert.deepEqual(
    sharing.shares().map(({ cid }) => cid),
    [id],
  )
  assert.equal(await given(id), 'full')
})

test('a node serves probes of its own key, and of no other', async (t) => {
  const { given } = await machine(t)
  const [size] = PROBE_SIZES as [number]
  assert.match(await given(probeId(key.publicKey, size)), /^\0{262144}$/)
  assert.equal(await given(probeId(stranger.publicKey, size)), 'content_not_found')
})

test('when it stops nothing is served any more, no file stays open, and what is announced is given up', async (t) => {
  const { sharing, announced, given, write, fetched } = await machine(t)
  const shares = [await sharing.share(await write('a', 'a')), await sharing.share(await write('b', 'b'))]
  const download = await fetched('c', 'c')
  const source = new Watched(download)
  const end = sharing.offer(download.manifest.id, source, got, limiter)
  sharing.stop()
  const probed = probeId(key.publicKey, PROBE_SIZES[0] as number)
  for (const id of [...shares.map(({ cid }) => cid), download.manifest.id, probed]) {
    assert.equal(await given(id), 'content_not_found')
  }
  assert.equal(source.closed, 1)
  assert.equal(announced.at(-1)?.signal?.aborted, true)
  end()
  sharing.announce()
  await settled()
  assert.equal(announced.length, 3)
})

test('what is offered or shared after it stopped is not served before the next start', async (t) => {
  const { sharing, given, fetched } = await machine(t)
  sharing.stop()
  const share = await fetched('late', 'late')
  const end = sharing.offer(share.manifest.id, new Watched(share), got, limiter)
  assert.equal(await given(share.manifest.id), 'content_not_found')
  end()
  await sharing.seed(share)
  assert.equal(await given(share.manifest.id), 'content_not_found')
})
