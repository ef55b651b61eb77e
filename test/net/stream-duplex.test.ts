import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { type Duplex, duplexPair } from 'node:stream'
import { type TestContext, test } from 'node:test'
import { duplexOf, readExactly } from '../../node/net/stream-duplex.ts'
import { honestHost } from '../helpers/hosts.ts'

/** Both ends of a libp2p stream. */
async function ends(t: TestContext): Promise<[Duplex, Duplex]> {
  const [a, b] = [await honestHost(t, 'a'), await honestHost(t, 'b')]
  const far = Promise.withResolvers<Duplex>()
  await b.libp2p.handle('/test/1', (stream) => far.resolve(duplexOf(stream)))
  const near = duplexOf(await a.libp2p.dialProtocol(b.libp2p.getMultiaddrs(), '/test/1'))
  return [near, await far.promise]
}

/** All that comes; unlike an iterator it leaves the other direction alone. */
async function all(stream: Duplex): Promise<Buffer> {
  const parts: Buffer[] = []
  stream.on('data', (bytes: Buffer) => parts.push(bytes))
  await once(stream, 'end')
  return Buffer.concat(parts)
}

test('a libp2p stream carries bytes both ways, whole and in order', async (t) => {
  const [near, far] = await ends(t)
  const [up, down] = [randomBytes(3_000_000), randomBytes(1_000_000)]
  const [atFar, atNear] = [all(far), all(near)]
  near.end(up)
  far.end(down)
  assert.ok((await atFar).equals(up))
  assert.ok((await atNear).equals(down))
})

test('nothing is lost of what comes before anybody reads', async (t) => {
  const [near, far] = await ends(t)
  const bytes = randomBytes(2_000_000)
  near.end(bytes)
  assert.ok((await readExactly(far, 5)).equals(bytes.subarray(0, 5)))
  await new Promise(setImmediate)
  assert.ok((await all(far)).equals(bytes.subarray(5)))
})

test('who breaks a stream off breaks it for the other, too', async (t) => {
  const [near, far] = await ends(t)
  far.resume()
  near.write('x')
  near.destroy()
  await once(far, 'close')
})

test('exactly as many bytes are read as were asked for, and the rest is left', async () => {
  const [near, far] = duplexPair()
  const first = readExactly(far, 4)
  near.write('ab')
  near.write('cdef')
  assert.equal(String(await first), 'abcd')
  assert.equal(String(await readExactly(far, 2)), 'ef')
  near.end('gh')
  assert.equal(String(await all(far)), 'gh')
})

test('too few bytes are an error when the other side has ended, whether it said something or not', async () => {
  for (const said of ['', 'ab']) {
    const [near, far] = duplexPair()
    const reading = readExactly(far, 4)
    near.end(said)
    await assert.rejects(reading, /ended early/)
  }
  const [near, far] = duplexPair()
  const reading = readExactly(far, 4)
  far.destroy()
  near.destroy()
  await assert.rejects(reading, /ended early/)
})

test('reading stops when it is told to, and leaves what came', async () => {
  const [near, far] = duplexPair()
  const stop = new AbortController()
  const reading = readExactly(far, 4, stop.signal)
  near.write('ab')
  stop.abort(new Error('enough'))
  await assert.rejects(reading, /enough/)
  await assert.rejects(readExactly(far, 4, stop.signal), /enough/)
  assert.equal(String(await readExactly(far, 2)), 'ab')
})
