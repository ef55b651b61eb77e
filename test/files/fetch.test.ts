import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import * as fs from 'node:fs/promises'
import * as path from 'node:path'
import type { Transform } from 'node:stream'
import { type TestContext, test } from 'node:test'
import type { P2pnsError } from '../../node/core/errors.ts'
import { encodeFrame, type Frame, FrameDecoder } from '../../node/core/frames.ts'
import { parseManifest } from '../../node/core/manifest.ts'
import { CHUNK_SIZE, leavesOf, Tree } from '../../node/core/tree.ts'
import type { Share } from '../../node/files/share.ts'
import { dialLink } from '../../node/net/link.ts'
import type { Link } from '../../node/net/paths.ts'
import { linkPort } from '../helpers/link-port.ts'
import {
  bytesOf,
  contentOf,
  fetchFrom,
  linkPair,
  linksOf,
  linkTo,
  seederOf,
  shareBytes,
  shareFiles,
  tempFolder,
} from './rig.ts'

const BIG = bytesOf(CHUNK_SIZE * 30 + 77)

test('a file comes over a real link, whole and under its name only', async (t) => {
  const folder = await tempFolder(t)
  const share = await shareBytes(path.join(folder, 'x'), BIG)
  const seeder = seederOf(share)
  const server = await linkPort({
    onLink: (socket) => void seeder.serve(socket, 'fetcher'),
  })
  t.after(() => server.stop())
  const { socket } = await dialLink([{ host: '127.0.0.1', port: server.port }], server.issue('x'), { timeout: 5000 })
  const result = await fetchFrom(share, path.join(folder, 'y'), linksOf({ peer: 'p', path: 'lan', stream: socket }))
  assert.ok((await fs.readFile(path.join(folder, 'y'))).equals(BIG))
  assert.deepEqual((await fs.readdir(folder)).sort(), ['x', 'y'])
  assert.deepEqual(result.peers, [{ peer: 'p', path: 'lan', bytes: BIG.length }])
  assert.equal(result.resumed, 0)
  assert.equal(result.manifest.id, share.manifest.id)
})

test('a folder comes with everything in it, and can be served on without hashing', async (t) => {
  const folder = await tempFolder(t)
  const share = await shareFiles(path.join(folder, 'site'), {
    'index.html': bytesOf(300),
    'a/big.bin': bytesOf(CHUNK_SIZE * 3),
    'a/b/nothing': Buffer.alloc(0),
    'empty/inner/': Buffer.alloc(0),
    'ünïcode/名前.txt': bytesOf(30),
  })
  await fs.chmod(path.join(folder, 'site/index.html'), 0o444)
  const first = await fetchFrom(share, path.join(folder, 'copy'), linksOf(linkTo(seederOf(share))))
  assert.deepEqual(await contentOf(path.join(folder, 'copy')), await contentOf(path.join(folder, 'site')))
  assert.ok(first.share)
  await fetchFrom(share, path.join(folder, 'second'), linksOf(linkTo(seederOf(first.share))))
  assert.deepEqual(await contentOf(path.join(folder, 'second')), await contentOf(path.join(folder, 'site')))
})

test('an empty file and an empty folder come too', async (t) => {
  const folder = await tempFolder(t)
  const file = await shareBytes(path.join(folder, 'nothing'), Buffer.alloc(0))
  await fetchFrom(file, path.join(folder, 'a'), linksOf(linkTo(seederOf(file))))
  assert.equal((await fs.stat(path.join(folder, 'a'))).size, 0)
  const empty = await shareFiles(path.join(folder, 'empty'), { '/': Buffer.alloc(0) })
  await fetchFrom(empty, path.join(folder, 'b'), linksOf(linkTo(seederOf(empty))))
  assert.deepEqual(await fs.readdir(path.join(folder, 'b')), [])
})

test('an entry list that is set apart is fetched first', async (t) => {
  const folder = await tempFolder(t)
  const files = Object.fromEntries(Array.from({ length: 400 }, (_, i) => [`f${i}`, bytesOf(20 + i, `${i}`)]))
  const share = await shareFiles(path.join(folder, 'many'), files)
  assert.ok(share.manifest.list)
  const manifest = parseManifest(share.manifest.stored)
  const links = () => linksOf(linkTo(seederOf(share), 'a'), linkTo(seederOf(share), 'b'))
  await fetchFrom(share, path.join(folder, 'copy'), links(), { manifest })
  assert.deepEqual(await contentOf(path.join(folder, 'copy')), await contentOf(path.join(folder, 'many')))
})

test('one entry of a folder can be fetched alone', async (t) => {
  const folder = await tempFolder(t)
  const share = await shareFiles(path.join(folder, 'site'), {
    'a.bin': bytesOf(CHUNK_SIZE * 2, 'a'),
    'docs/deep/x.txt': bytesOf(CHUNK_SIZE + 1, 'x'),
    'docs/y.txt': bytesOf(10, 'y'),
    'docs-old/z.txt': bytesOf(10, 'z'),
  })
  const fetchEntry = (entry: string, out: string) =>
    fetchFrom(share, path.join(folder, out), linksOf(linkTo(seederOf(share))), { entry })
  const docs = await fetchEntry('docs/', 'docs')
  assert.equal(docs.bytes, CHUNK_SIZE + 11)
  assert.equal(docs.share, undefined)
  assert.deepEqual(await contentOf(path.join(folder, 'docs')), await contentOf(path.join(folder, 'site/docs')))
  await fetchEntry('/docs/deep/x.txt', 'x')
  assert.ok((await fs.readFile(path.join(folder, 'x'))).equals(bytesOf(CHUNK_SIZE + 1, 'x')))
  await assert.rejects(fetchEntry('docs/none', 'n'), { code: 'entry_not_found' })
  await assert.rejects(fetchEntry('doc', 'n'), { code: 'entry_not_found' })
})

test('two seeders both bring a part', async (t) => {
  const folder = await tempFolder(t)
  const share = await shareBytes(path.join(folder, 'x'), BIG)
  const links = linksOf(linkTo(seederOf(share), 'a'), linkTo(seederOf(share), 'b'))
  const { peers } = await fetchFrom(share, path.join(folder, 'y'), links)
  assert.ok((await fs.readFile(path.join(folder, 'y'))).equals(BIG))
  assert.deepEqual(peers.map(({ peer }) => peer).sort(), ['a', 'b'])
  assert.equal(
    peers.reduce((sum, { bytes }) => sum + bytes, 0),
    BIG.length,
  )
})

/** Flips a bit of every frame longer than a chunk's head. */
function flip(): Parameters<typeof linkTo>[2] {
  return (bytes: Buffer, _encoding, done) => {
    const copy = Buffer.from(bytes)
    if (copy.length > 60_000) copy[50_000] = (copy[50_000] as number) ^ 1
    done(null, copy)
  }
}

test('a peer that sends a flipped bit is dropped, and what it sent is got from another', async (t) => {
  const folder = await tempFolder(t)
  const share = await shareBytes(path.join(folder, 'x'), BIG)
  const links = linksOf(linkTo(seederOf(share), 'liar', flip()), linkTo(seederOf(share), 'honest'))
  const { peers } = await fetchFrom(share, path.join(folder, 'y'), links)
  assert.ok((await fs.readFile(path.join(folder, 'y'))).equals(BIG))
  assert.ok(peers.some(({ peer, bytes }) => peer === 'honest' && bytes > BIG.length / 2))
})

test('with only a liar the fetch fails, keeps what was right, and an honest peer completes it', async (t) => {
  const folder = await tempFolder(t)
  const share = await shareBytes(path.join(folder, 'x'), BIG)
  const out = path.join(folder, 'y')
  const again = linksOf(linkTo(seederOf(share), 'liar', flip()), linkTo(seederOf(share), 'liar'))
  await assert.rejects(fetchFrom(share, out, again), { code: 'chunk_corrupt' })
  await assert.rejects(fs.stat(out), { code: 'ENOENT' })
  await fetchFrom(share, out, linksOf(linkTo(seederOf(share))))
  assert.ok((await fs.readFile(out)).equals(BIG))
})

/** A peer that says what the test says, once it was greeted. */
function scripted(peer: string, ...frames: Frame[]): Link {
  const [stream, far] = linkPair()
  far.resume()
  const said = Buffer.concat(frames.map(encodeFrame))
  far.write(said)
  return { peer, path: 'lan', stream }
}

test('frames that answer nothing, alien bytes and a cut frame end the link', async (t) => {
  const folder = await tempFolder(t)
  const share = await shareBytes(path.join(folder, 'x'), BIG)
  const { manifest } = share
  const greeting: Frame[] = [
    { type: 'hello', content: manifest.hash },
    { type: 'bitfield', bits: Buffer.alloc(0) },
  ]
  const chunk: Frame = { type: 'chunk', chunk: 0, data: BIG.subarray(0, CHUNK_SIZE) }
  for (const [code, frames] of [
    ['frame_invalid', [{ type: 'hello', content: Buffer.alloc(32) }]],
    ['frame_invalid', [{ type: 'choke' }]],
    ['frame_invalid', [...greeting, greeting[1]]],
    ['frame_invalid', [...greeting, { type: 'chunk', chunk: 29, data: Buffer.from('x') }]],
    ['frame_invalid', [...greeting, chunk]],
    ['file_changed', [...greeting, { type: 'bye', reason: 'file_changed' }]],
    ['content_not_found', [{ type: 'bye', reason: 'content_not_found' }]],
  ] as [string, Frame[]][]) {
    const fetching = fetchFrom(share, path.join(folder, 'y'), linksOf(scripted('p', ...frames)), { manifest })
    await assert.rejects(fetching, { code }, frames.map(({ type }) => type).join(' '))
  }
  let isCut = false
  const cut = linkTo(seederOf(share), 'cut', function (this: Transform, bytes: Buffer, _encoding, done) {
    if (isCut) return done()
    if (bytes.length < 100_000) return done(null, bytes)
    isCut = true
    this.push(bytes.subarray(0, 100_000))
    this.push(null)
    done()
  })
  await assert.rejects(fetchFrom(share, path.join(folder, 'y'), linksOf(cut)), { code: 'peer_unreachable' })
  const links = linksOf(scripted('wrong', ...greeting, { type: 'manifest', stored: Buffer.from('x') }))
  await assert.rejects(fetchFrom(share, path.join(folder, 'y'), links), { code: 'chunk_corrupt' })
})

test('hashes that do not lead to the root are noticed before a chunk is taken', async (t) => {
  const folder = await tempFolder(t)
  const share = await shareBytes(path.join(folder, 'x'), BIG)
  const link = linkTo(seederOf(share), 'liar', (bytes: Buffer, _encoding, done) => {
    const copy = Buffer.from(bytes)
    if (bytes[4] === 4) copy[40] = (copy[40] as number) ^ 1
    done(null, copy)
  })
  await assert.rejects(fetchFrom(share, path.join(folder, 'y'), linksOf(link)), { code: 'chunk_corrupt' })
})

test('a peer that falls silent is dropped, and one that comes late completes the fetch', async (t) => {
  const folder = await tempFolder(t)
  const share = await shareBytes(path.join(folder, 'x'), BIG)
  let silent = () => {}
  const fellSilent = new Promise<void>((resolve) => (silent = resolve))
  const stuck = linkTo(seederOf(share), 'stuck', (bytes: Buffer, _encoding, done) => {
    if (bytes.length < 100_000) done(null, bytes)
    else silent()
  })
  async function* links() {
    yield stuck
    await fellSilent
    yield linkTo(seederOf(share), 'late')
  }
  const { peers } = await fetchFrom(share, path.join(folder, 'y'), links(), { stall: 200 })
  assert.deepEqual(peers, [{ peer: 'late', path: 'lan', bytes: BIG.length }])
  const alone = linksOf(linkTo(seederOf(share), 'stuck', () => undefined))
  await assert.rejects(fetchFrom(share, path.join(folder, 'z'), alone, { stall: 100 }), { code: 'timed_out' })
})

test('a peer that has a part serves that part, and more when it has more', async (t) => {
  const folder = await tempFolder(t)
  const share = await shareBytes(path.join(folder, 'x'), bytesOf(CHUNK_SIZE * 8))
  const asked: number[] = []
  let requests = 0
  const link = linkTo(seederOf(share), 'partial', function (this: Transform, bytes: Buffer, _encoding, done) {
    const decoder = new FrameDecoder({
      open: (_, length) => Buffer.alloc(length),
      frame: (frame) => {
        if (frame.type === 'bitfield') this.push(encodeFrame({ type: 'bitfield', bits: Buffer.of(0b1010_0000) }))
        else this.push(encodeFrame(frame))
        if (frame.type === 'chunk') asked.push(frame.chunk)
        if (asked.length === 2 && requests++ === 0) this.push(encodeFrame({ type: 'have', first: 0, count: 8 }))
      },
    })
    decoder.push(bytes)
    done()
  })
  await fetchFrom(share, path.join(folder, 'y'), linksOf(link))
  assert.deepEqual(asked.slice(0, 2), [0, 2])
  assert.deepEqual(
    asked.sort((a, b) => a - b),
    [0, 1, 2, 3, 4, 5, 6, 7],
  )
})

test('nobody to ask, and a stopped fetch, are errors of their own', async (t) => {
  const folder = await tempFolder(t)
  const share = await shareBytes(path.join(folder, 'x'), BIG)
  await assert.rejects(fetchFrom(share, path.join(folder, 'y'), linksOf()), { code: 'content_not_found' })
  const stop = new AbortController()
  const onProgress = ({ done }: { done: number }) => done > 0 && stop.abort()
  const fetching = fetchFrom(share, path.join(folder, 'y'), linksOf(linkTo(seederOf(share))), {
    signal: stop.signal,
    onProgress,
  })
  await assert.rejects(fetching, { code: 'interrupted' })
  assert.deepEqual((await fs.readdir(folder)).sort(), ['x', 'y.part', 'y.part.map'])
})

test('what is there already is not fetched, and something else is not overwritten unless asked', async (t) => {
  const folder = await tempFolder(t)
  const share = await shareBytes(path.join(folder, 'x'), BIG)
  const out = path.join(folder, 'y')
  await fs.writeFile(out, 'mine')
  const fetch = (force = false) => fetchFrom(share, out, linksOf(linkTo(seederOf(share))), { force })
  await assert.rejects(fetch(), { code: 'target_exists' })
  assert.equal(await fs.readFile(out, 'utf8'), 'mine')
  await fetch(true)
  assert.ok((await fs.readFile(out)).equals(BIG))
  const { resumed, peers } = await fetch()
  assert.equal(resumed, BIG.length)
  assert.deepEqual(peers, [])

  assert.deepEqual((await fs.readdir(folder)).sort(), ['x', 'y'])
})

test('a file is put into a folder that is there, under its own name', async (t) => {
  const folder = await tempFolder(t)
  const out = path.join(folder, 'y')
  await fs.mkdir(path.join(out, 'mine'), { recursive: true })
  const film = await shareBytes(path.join(folder, 'film.bin'), BIG)
  const site = await shareFiles(path.join(folder, 'site'), { 'docs/x.txt': bytesOf(10) })
  const options = { force: true }
  const fetched = await fetchFrom(film, out, linksOf(linkTo(seederOf(film))), options)
  assert.equal(fetched.path, await fs.realpath(path.join(out, 'film.bin')))
  await fs.symlink(out, path.join(folder, 'way'))
  const entry = { entry: 'docs/x.txt', ...options }
  await fetchFrom(site, path.join(folder, 'way'), linksOf(linkTo(seederOf(site))), entry)
  assert.deepEqual((await fs.readdir(out)).sort(), ['film.bin', 'mine', 'x.txt'])
})

test('a folder that is there is never replaced or removed, whoever forces it', async (t) => {
  const folder = await tempFolder(t)
  const site = await shareFiles(path.join(folder, 'site'), { 'docs/x.txt': bytesOf(10) })
  const file = await shareBytes(path.join(folder, 'docs'), BIG)
  const out = path.join(folder, 'y')
  await fs.mkdir(path.join(out, 'docs'), { recursive: true })
  await fs.writeFile(path.join(out, 'docs/mine'), 'mine')
  await fs.mkdir(`${out}.part.old`)
  const force = { force: true }
  const into = (share: typeof site, options: object, where = out) =>
    fetchFrom(share, where, linksOf(linkTo(seederOf(share))), options)
  await assert.rejects(into(site, force), { code: 'target_exists' })
  await assert.rejects(into(file, force), { code: 'target_exists' })
  await assert.rejects(into(site, force, path.join(folder, 'docs')), { code: 'target_exists' })
  assert.deepEqual((await fs.readdir(folder)).sort(), ['docs', 'site', 'y', 'y.part.old'])
  assert.equal(await fs.readFile(path.join(out, 'docs/mine'), 'utf8'), 'mine')
})

test('a file that came into the place of the target meanwhile is not overwritten', async (t) => {
  const folder = await tempFolder(t)
  const share = await shareBytes(path.join(folder, 'x'), BIG)
  const out = path.join(folder, 'y')
  const fetching = fetchFrom(share, out, linksOf(linkTo(seederOf(share))), {
    onProgress: ({ phase }) => phase === 'finishing' && writeFileSync(out, 'mine'),
  })
  await assert.rejects(fetching, { code: 'target_exists' })
  assert.equal(await fs.readFile(out, 'utf8'), 'mine')
})

test('two fetches to one place at once: the second is refused, the first goes on', async (t) => {
  const folder = await tempFolder(t)
  const share = await shareBytes(path.join(folder, 'x'), BIG)
  const fetch = (out: string) => fetchFrom(share, path.join(folder, out), linksOf(linkTo(seederOf(share))))
  const settled = await Promise.allSettled([fetch('y'), fetch('y'), fetch('z')])
  assert.equal(settled[2].status, 'fulfilled')
  const refused = settled.flatMap((one) => (one.status === 'rejected' ? [one.reason as P2pnsError] : []))
  assert.deepEqual(
    refused.map(({ code, exitCode }) => [code, exitCode]),
    [['target_busy', 5]],
  )
  await fetch('y')
})

test('when a file changed, the error names it, and the other files stay for the next try', async (t) => {
  const folder = await tempFolder(t)
  const site = path.join(folder, 'site')
  const share = await shareFiles(site, { a: BIG, 'b/changed.txt': bytesOf(10), c: bytesOf(CHUNK_SIZE, 'c') })
  await fs.writeFile(path.join(site, 'b/changed.txt'), 'new')
  const out = path.join(folder, 'y')
  const fetch = () => fetchFrom(share, out, linksOf(linkTo(seederOf(share))))
  await assert.rejects(fetch(), (error: P2pnsError) => {
    assert.equal(error.code, 'file_changed')
    assert.match(error.message, /^"b\/changed\.txt" changed on seeder .*has to share it again\.$/)
    return true
  })
  assert.ok((await fs.readFile(path.join(`${out}.part`, 'a'))).equals(BIG))
})

/** So few chunks that two peers are asked for each of them. */
const SMALL = bytesOf(CHUNK_SIZE * 4)

/** A peer that has everything, takes whatever is asked of it, and does `work` every few milliseconds. */
function hostile(t: TestContext, share: Share, work: (say: (frame: Frame | Buffer) => void) => void): Link {
  const [stream, far] = linkPair()
  const say = (frame: Frame | Buffer) => void far.write(Buffer.isBuffer(frame) ? frame : encodeFrame(frame))
  far.resume()
  say({ type: 'hello', content: share.manifest.hash })
  say({ type: 'bitfield', bits: Buffer.alloc(0) })
  const timer = setInterval(() => far.writable && work(say), 5)
  t.after(() => clearInterval(timer))
  far.on('close', () => clearInterval(timer))
  return { peer: `hostile ${crypto.randomUUID()}`, path: 'lan', stream }
}

for (const [habit, frames] of [
  ['is chatty and brings nothing', [{ type: 'unchoke' }, { type: 'have', first: 0, count: 1 }]],
  ['chokes and unchokes all the time', [{ type: 'choke' }, { type: 'unchoke' }]],
] as [string, Frame[]][]) {
  test(`a peer that ${habit} neither keeps an honest one out nor a fetch up`, { timeout: 20_000 }, async (t) => {
    const folder = await tempFolder(t)
    const share = await shareBytes(path.join(folder, 'x'), SMALL)
    const { manifest } = share
    const bad = () => hostile(t, share, (say) => frames.forEach(say))
    const options = { manifest, stall: 400 }
    const links = linksOf(bad(), bad(), linkTo(seederOf(share), 'honest'))
    const { peers } = await fetchFrom(share, path.join(folder, 'y'), links, options)
    assert.deepEqual(peers, [{ peer: 'honest', path: 'lan', bytes: SMALL.length }])
    await assert.rejects(fetchFrom(share, path.join(folder, 'z'), linksOf(bad(), bad()), options), {
      code: 'timed_out',
    })
  })
}

test('peers that trickle give way to a swift one', { timeout: 20_000 }, async (t) => {
  const folder = await tempFolder(t)
  const share = await shareBytes(path.join(folder, 'x'), SMALL)
  const tree = new Tree(leavesOf(SMALL))
  const trickler = () => {
    const [first, count] = [0, 4]
    const hashes: Frame = { type: 'hashes', first, count: 512, ...tree.prove(first, count) }
    const bytes = Buffer.concat(
      [hashes, { type: 'chunk', chunk: 0, data: SMALL.subarray(0, CHUNK_SIZE) } as Frame].map(encodeFrame),
    )
    let at = 0
    return hostile(t, share, (say) => say(bytes.subarray(at, (at += 150))))
  }
  const links = linksOf(trickler(), trickler(), linkTo(seederOf(share), 'honest'))
  const options = { manifest: share.manifest, stall: 400 }
  const { peers } = await fetchFrom(share, path.join(folder, 'y'), links, options)
  assert.deepEqual(
    peers.map(({ peer }) => peer),
    ['honest'],
  )
})

test('peers that have nothing of use do not keep a fetch waiting for ever', { timeout: 20_000 }, async (t) => {
  const folder = await tempFolder(t)
  const share = await shareBytes(path.join(folder, 'x'), BIG)
  const [stream, far] = linkPair()
  far.resume()
  far.write(encodeFrame({ type: 'hello', content: share.manifest.hash }))
  far.write(encodeFrame({ type: 'bitfield', bits: Buffer.alloc(4) }))
  const links = linksOf({ peer: 'empty', path: 'lan', stream })
  const options = { manifest: share.manifest, stall: 200 }
  await assert.rejects(fetchFrom(share, path.join(folder, 'y'), links, options), { code: 'timed_out' })
})

test('files that no download made, and symbolic links, in the place of the target are left alone', async (t) => {
  const folder = await tempFolder(t)
  const share = await shareFiles(path.join(folder, 'site'), { 'a/b': bytesOf(10), c: Buffer.alloc(0) })
  const out = path.join(folder, 'y')
  const fetch = () => fetchFrom(share, out, linksOf(linkTo(seederOf(share))))
  await fs.writeFile(`${out}.part`, 'mine')
  await assert.rejects(fetch(), { code: 'target_blocked', message: /Move it away/ })
  assert.equal(await fs.readFile(`${out}.part`, 'utf8'), 'mine')
  await fs.rm(`${out}.part`)

  const outside = path.join(folder, 'outside')
  await fs.mkdir(outside)
  for (const name of [out, `${out}.part`, `${out}.part.map`]) {
    await fs.symlink(outside, name)
    await assert.rejects(fetch(), { code: 'target_blocked' }, name)
    await fs.rm(name)
  }
  await assert.rejects(fetchFrom(share, path.join(folder, 'no/such/y'), linksOf()), { code: 'file_missing' })
  assert.deepEqual(await fs.readdir(outside), [])
})

test('a symbolic link put into a half-made folder is not followed', async (t) => {
  const folder = await tempFolder(t)
  const share = await shareFiles(path.join(folder, 'site'), { 'a/big': BIG, b: bytesOf(10) })
  const out = path.join(folder, 'y')
  const stop = new AbortController()
  const first = fetchFrom(share, out, linksOf(linkTo(seederOf(share))), {
    signal: stop.signal,
    onProgress: ({ done }) => done > 0 && stop.abort(),
  })
  await assert.rejects(first, { code: 'interrupted' })
  const outside = path.join(folder, 'outside')
  await fs.mkdir(outside)
  await fs.rm(path.join(`${out}.part`, 'a'), { recursive: true })
  await fs.symlink(outside, path.join(`${out}.part`, 'a'))
  await assert.rejects(fetchFrom(share, out, linksOf(linkTo(seederOf(share)))), { code: 'path_unsafe' })
  assert.deepEqual(await fs.readdir(outside), [])
})
