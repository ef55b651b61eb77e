/** Content, seeders and links for the tests of node/files: everything in a temp folder, links in memory. */
import * as crypto from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import * as fs from 'node:fs/promises'
import { tmpdir } from 'node:os'
import * as path from 'node:path'
import { type Duplex, duplexPair, Transform } from 'node:stream'
import { after, afterEach, type TestContext } from 'node:test'
import { type Bytes, utf8 } from '../../node/core/encoding.ts'
import { encodeFrame, type Frame, FrameDecoder } from '../../node/core/frames.ts'
import { keyPairFromSeed, sha256 } from '../../node/core/keys.ts'
import { type FetchOptions, type FetchResult, fetchContent } from '../../node/files/fetch.ts'
import type { PeerWay } from '../../node/files/peer-link.ts'
import { Seeder, type SeederOptions, type ServeOptions } from '../../node/files/seed.ts'
import { type Share, sharePath } from '../../node/files/share.ts'
import { shareSource } from '../../node/files/share-source.ts'
import type { Source } from '../../node/files/source.ts'
import type { Link } from '../../node/net/paths.ts'
import { type Lie, lieOver } from './lies.ts'

/** Of all shares of this process. */
export const LEAVES = mkdtempSync(path.join(tmpdir(), 'p2pns-leaves-'))
after(() => rmSync(LEAVES, { recursive: true, force: true }))

/** Links first, and then what was served over them. */
let opened = new DisposableStack()
afterEach(() => {
  opened.dispose()
  opened = new DisposableStack()
})

/** Closed when the test ends. */
export function closing<What extends Source>(source: What): What {
  return opened.adopt(source, () => source.close())
}

export const pair = keyPairFromSeed(sha256(utf8('files test')))

export async function tempFolder(t: TestContext): Promise<string> {
  const folder = await fs.mkdtemp(path.join(tmpdir(), 'p2pns-files-'))
  t.after(() => fs.rm(folder, { recursive: true, force: true }))
  return folder
}

/** `size` bytes that are the same in every run, and in no two chunks. */
export function bytesOf(size: number, seed = 'x'): Buffer {
  const key = sha256(utf8(seed))
  return crypto.createCipheriv('aes-256-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(size))
}

/** Makes the files (a path that ends in '/' is a folder) and shares the whole. */
export async function shareFiles(folder: string, files: Record<string, Buffer>): Promise<Share> {
  for (const [name, bytes] of Object.entries(files)) {
    const file = path.join(folder, name)
    await fs.mkdir(name.endsWith('/') ? file : path.dirname(file), { recursive: true })
    if (!name.endsWith('/')) await fs.writeFile(file, bytes)
  }
  return share(folder)
}

export async function shareBytes(file: string, bytes: Buffer): Promise<Share> {
  await fs.writeFile(file, bytes)
  return share(file)
}

/** The leaves lie beside the temp folder's content, where no test looks. */
export function share(file: string): Promise<Share> {
  return sharePath(file, { pair, created: 1_800_000_000, leaves: LEAVES })
}

export function seederOf(...shares: Share[]): Seeder {
  return seederWith({}, ...shares)
}

export function seederWith(options: Partial<SeederOptions>, ...shares: Share[]): Seeder {
  const seeder = new Seeder({ now: () => performance.now(), random: () => 0, ...options })
  for (const share of shares) addShare(seeder, share)
  return seeder
}

export function addShare(seeder: Seeder, share: Share, options?: ServeOptions): void {
  seeder.add(share.manifest.id, closing(shareSource(share)), options)
}

/** Two ends of a link: as with sockets, what closes one closes the other. */
export function linkPair(): [Duplex, Duplex] {
  const [near, far] = duplexPair()
  near.on('close', () => far.destroy())
  far.on('close', () => near.destroy())
  opened.defer(() => near.destroy())
  return [near, far]
}

/** The fetching end of a link to `seeder`, on which a test says what it likes and reads frame by frame. */
export function bareLink(seeder: Seeder, peer = 'fetcher') {
  const [near, far] = linkPair()
  const served = seeder.serve(far, peer)
  return { served, ...talkOn(near) }
}

export function talkOn(stream: Duplex) {
  /** All that came; `hear` has read as far as `at`. */
  const heard: Frame[] = []
  let at = 0
  let wake = () => {}
  const decoder = new FrameDecoder({
    open: (_, length) => Buffer.alloc(length),
    frame: (frame) => {
      heard.push(frame)
      wake()
    },
  })
  stream.on('data', (bytes: Bytes) => decoder.push(bytes))
  stream.on('close', () => wake())
  return {
    stream,
    heard,
    say: (...said: Frame[]) => said.forEach((frame) => stream.write(encodeFrame(frame))),
    /** The next frame of this type; others before it are passed over. */
    hear: async <Type extends Frame['type']>(type: Type): Promise<Frame & { type: Type }> => {
      for (;;) {
        const frame = heard[at]
        if (frame) at++
        if (frame?.type === 'bye') stream.destroy()
        if (frame?.type === type) return frame as Frame & { type: Type }
        if (!frame && stream.closed) throw new Error(`the link closed before a ${type} frame`)
        if (!frame) await new Promise<void>((resolve) => (wake = resolve))
      }
    },
  }
}

export const hello = ({ manifest }: Share): Frame => ({ type: 'hello', content: manifest.hash })

/** A clock that the test turns, for the time since and for timers. */
export function heldClock(t: TestContext, timers: ('setTimeout' | 'setInterval')[] = ['setTimeout']) {
  let now = 0
  t.mock.method(performance, 'now', () => now)
  t.mock.timers.enable({ apis: timers })
  return (ms: number): void => {
    now += ms
    t.mock.timers.tick(ms)
  }
}

/** A link to `seeder`; `tap` may change or hold what it sends, as a Transform does. */
export function linkTo(seeder: Seeder, peer = 'seeder', tap?: Transform['_transform']): Link {
  const [near, far] = linkPair()
  void seeder.serve(far, 'fetcher')
  return { peer, path: 'lan', stream: tap ? tapped(near, tap) : near }
}

/** A link to somebody who has what `seeder` has, and says of it what `lie` says (lies.ts). */
export function liarTo(seeder: Seeder, peer: string, lie: Lie): Link {
  const [inner, served] = linkPair()
  const [stream, far] = linkPair()
  void seeder.serve(served, 'fetcher')
  void lieOver(inner, far, lie)
  return { peer, path: 'lan', stream }
}

function tapped(inner: Duplex, transform: Transform['_transform']): Duplex {
  const [near, far] = linkPair()
  far.pipe(inner)
  // The seeder uses its buffers again as soon as they are written.
  const copy = new Transform({ transform: (bytes: Buffer, _, done) => done(null, Buffer.from(bytes)) })
  inner.pipe(copy).pipe(new Transform({ transform })).pipe(far)
  inner.on('close', () => far.destroy())
  far.on('close', () => inner.destroy())
  return near
}

export async function* linksOf(...links: Link[]): AsyncGenerator<Link> {
  yield* links
}

/** Open links as a fetch takes them. */
export async function* waysOf(links: AsyncIterable<Link>): AsyncGenerator<PeerWay> {
  for await (const { peer, path, stream } of links) yield { peer, way: { path, stream } }
}

export function fetchFrom(
  share: Share,
  out: string,
  links: AsyncIterable<Link>,
  options: Partial<FetchOptions> = {},
): Promise<FetchResult> {
  const { signal } = new AbortController()
  const given = { id: share.manifest.id, links: waysOf(links), out, leaves: LEAVES, random: () => 0, signal }
  return fetchContent({ ...given, ...options })
}

/** Everything below a folder: path -> content, or '/' for a folder. */
export async function contentOf(folder: string): Promise<Record<string, string>> {
  const found: Record<string, string> = {}
  for (const entry of await fs.readdir(folder, { recursive: true, withFileTypes: true })) {
    const file = path.join(entry.parentPath, entry.name)
    const name = path.relative(folder, file)
    found[name] = entry.isDirectory() ? '/' : (await fs.readFile(file)).toString('base64')
  }
  return found
}
