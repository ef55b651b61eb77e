import assert from 'node:assert/strict'
import { type ChildProcess, execFileSync, fork } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import * as fs from 'node:fs/promises'
import * as path from 'node:path'
import { type TestContext, test } from 'node:test'
import { toHex } from '../../node/core/encoding.ts'
import { CHUNK_SIZE, leafHash } from '../../node/core/tree.ts'
import { Layout } from '../../node/files/layout.ts'
import { MapShape, readMarks } from '../../node/files/map.ts'
import { linkPort } from '../helpers/link-port.ts'
import { bytesOf, fetchFrom, linksOf, linkTo, seederOf, shareBytes, shareFiles, tempFolder } from './rig.ts'

const CHUNKS = 120
const BIG = bytesOf(CHUNK_SIZE * CHUNKS)
const CHILD = new URL('./fetch-child.ts', import.meta.url)

/** Fetches some of it, then stops; returns how many bytes are marked as here. */
async function interrupted(share: Awaited<ReturnType<typeof shareBytes>>, out: string, after: number): Promise<number> {
  const stop = new AbortController()
  const fetching = fetchFrom(share, out, linksOf(linkTo(seederOf(share))), {
    signal: stop.signal,
    onProgress: ({ phase, done }) => phase === 'fetching' && done >= after && stop.abort(),
  })
  await assert.rejects(fetching, { code: 'interrupted' })
  const marks = await readMarks(`${out}.part.map`, new MapShape(Layout.of(share.manifest)), { first: 0, count: CHUNKS })
  return marks.filter((mark) => mark === 1).length
}

test('a fetch goes on where it was stopped, and asks for nothing that it has', async (t) => {
  const folder = await tempFolder(t)
  const out = path.join(folder, 'y')
  const share = await shareBytes(path.join(folder, 'x'), BIG)
  const marked = await interrupted(share, out, CHUNK_SIZE * 20)
  assert.ok(marked >= 20 && marked < CHUNKS)
  const { resumed, peers } = await fetchFrom(share, out, linksOf(linkTo(seederOf(share))))
  assert.equal(resumed, marked * CHUNK_SIZE)
  assert.equal(peers[0]?.bytes, BIG.length - resumed)
  assert.ok((await fs.readFile(out)).equals(BIG))
})

test('a chunk that rotted on the disk is fetched again, the others are not', async (t) => {
  const folder = await tempFolder(t)
  const out = path.join(folder, 'y')
  const share = await shareBytes(path.join(folder, 'x'), BIG)
  const marked = await interrupted(share, out, CHUNK_SIZE * 20)
  const file = await fs.open(`${out}.part`, 'r+')
  await file.write(Buffer.from('rot'), 0, 3, CHUNK_SIZE * 3)
  await file.close()
  const { resumed } = await fetchFrom(share, out, linksOf(linkTo(seederOf(share))))
  assert.equal(resumed, (marked - 1) * CHUNK_SIZE)
  assert.ok((await fs.readFile(out)).equals(BIG))
})

test('a map that lies about its chunks never puts a wrong file under the name', async (t) => {
  const folder = await tempFolder(t)
  const out = path.join(folder, 'y')
  const share = await shareBytes(path.join(folder, 'x'), BIG)
  await interrupted(share, out, CHUNK_SIZE * 20)
  const other = bytesOf(CHUNK_SIZE, 'other')
  const shape = new MapShape(Layout.of(share.manifest))
  await fs.writeFile(`${out}.part`, other, { flag: 'r+' })
  const map = await fs.open(`${out}.part.map`, 'r+')
  await map.write(leafHash(other), 0, 32, shape.leafOffset(0))
  await map.write(Buffer.of(1), 0, 1, shape.markOffset(0))
  await map.close()
  await fetchFrom(share, out, linksOf(linkTo(seederOf(share))))
  assert.ok((await fs.readFile(out)).equals(BIG))
})

test('what another download left under the name gives way', async (t) => {
  const folder = await tempFolder(t)
  const out = path.join(folder, 'y')
  await interrupted(await shareBytes(path.join(folder, 'x'), BIG), out, CHUNK_SIZE * 5)
  const other = await shareFiles(path.join(folder, 'site'), { 'a/b': bytesOf(100) })
  await fetchFrom(other, out, linksOf(linkTo(seederOf(other))))
  assert.deepEqual(await fs.readFile(path.join(out, 'a/b')), bytesOf(100))
  assert.deepEqual((await fs.readdir(folder)).sort(), ['site', 'x', 'y'])
})

/** A process that fetches over a real link and tells its progress. */
async function child(t: TestContext, args: string[]): Promise<ChildProcess> {
  const process = fork(CHILD, args, { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
  t.after(() => process.kill('SIGKILL'))
  return process
}

test('kill -9 at any moment never leaves a wrong file, and what was marked is not fetched again', async (t) => {
  const folder = await tempFolder(t)
  const out = path.join(folder, 'y')
  const share = await shareBytes(path.join(folder, 'x'), BIG)
  const seeder = seederOf(share)
  const server = await linkPort({
    onLink: (socket) => void seeder.serve(socket, 'fetcher'),
  })
  t.after(() => server.stop())
  const start = () => {
    const { id, secret } = server.issue('x')
    return child(t, [share.manifest.id, out, `${server.port}`, toHex(id), toHex(secret)])
  }
  for (const killAt of [0, 12, 37, 66, 93]) {
    const process = await start()
    process.on('message', (message: { done: number }) => {
      if (message.done >= killAt * CHUNK_SIZE) process.kill('SIGKILL')
    })
    await once(process, 'exit')
    const present = await fs.readFile(out).catch(() => undefined)
    assert.ok(present === undefined || present.equals(BIG))
  }
  const last = await start()
  const messages: { done: number; result?: { resumed: number; peers: { bytes: number }[] } }[] = []
  last.on('message', (message: (typeof messages)[number]) => messages.push(message))
  const [code] = await once(last, 'exit')
  assert.equal(code, 0)
  const result = messages.at(-1)?.result
  assert.ok(result && result.resumed >= 93 * CHUNK_SIZE)
  assert.equal(result.resumed + (result.peers[0]?.bytes ?? 0), BIG.length)
  const hash = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')
  assert.equal(hash(await fs.readFile(out)), hash(BIG))
  assert.deepEqual((await fs.readdir(folder)).sort(), ['x', 'y'])
})

function mountTiny(folder: string): boolean {
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', folder], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

test('a disk that fills up is named, and the fetch goes on when there is room', async (t) => {
  const folder = await tempFolder(t)
  const small = path.join(folder, 'small')
  await fs.mkdir(small)
  if (!mountTiny(small)) return t.skip('needs the right to mount a small tmpfs; writer.test.ts fakes one')
  try {
    const share = await shareBytes(path.join(folder, 'x'), BIG)
    const out = path.join(small, 'y')
    const fetch = () => fetchFrom(share, out, linksOf(linkTo(seederOf(share))))
    await assert.rejects(fetch(), { code: 'disk_full' })
    await assert.rejects(fetch(), { code: 'disk_full' })
    execFileSync('mount', ['-o', 'remount,size=40m', small])
    const { resumed } = await fetch()
    assert.ok(resumed > 2 * 2 ** 20)
    assert.ok((await fs.readFile(out)).equals(BIG))
  } finally {
    execFileSync('umount', [small])
  }
})
