import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { type TestContext, test } from 'node:test'
import type { Stream } from '@libp2p/interface'
import { lpStream, streamPair } from '@libp2p/utils'
import fc from 'fast-check'
import { type CborValue, toCbor } from '../../node/core/encoding.ts'
import { P2pnsError } from '../../node/core/errors.ts'
import { type Arguments, type Handler, MAX_FRAME_BYTES, RpcClient, serveRpc } from '../../node/net/rpc.ts'
import { heldTimeouts } from '../helpers/timeouts.ts'

const echo: Handler = async (method, args) => [method, args]

/** A client whose questions `handler` answers, and the streams of both. */
async function pair(handler: Handler) {
  const [asking, answering] = await streamPair()
  const served = serveRpc(answering, handler)
  return { client: new RpcClient(asking), asking, answering, served }
}

/** The answering side of a stream to which an alien may write. */
async function servedAlien(handler: Handler): Promise<{ alien: Stream; served: Promise<void> }> {
  const [alien, answering] = await streamPair()
  return { alien, served: serveRpc(answering, handler) }
}

/** A client whose other side is an alien, and what it reads there. */
async function clientOfAlien() {
  const [asking, alien] = await streamPair()
  return { client: new RpcClient(asking), alien, frames: lpStream(alien) }
}

function frame(body: Uint8Array): Uint8Array {
  const length = Buffer.from([(body.length & 0x7f) | 0x80, ((body.length >> 7) & 0x7f) | 0x80, body.length >> 14])
  return Buffer.concat([length, body])
}

const NEVER = new Promise<never>(() => {})

test('a question is answered with what the handler gives', async () => {
  const { client } = await pair(echo)
  assert.deepEqual(await client.call('get', [new Uint8Array([1, 2]), 'text', 7, []]), [
    'get',
    [new Uint8Array([1, 2]), 'text', 7, []],
  ])
})

test('answers may come in any order', async () => {
  const gates = new Map<string, PromiseWithResolvers<CborValue>>()
  const asked = Promise.withResolvers<void>()
  const { client } = await pair((method) => {
    gates.set(method, Promise.withResolvers())
    if (gates.size === 3) asked.resolve()
    return (gates.get(method) as PromiseWithResolvers<CborValue>).promise
  })
  const calls = ['a', 'b', 'c'].map((method) => client.call(method, []))
  await asked.promise
  for (const method of ['c', 'a', 'b']) gates.get(method)?.resolve(method)
  assert.deepEqual(await Promise.all(calls), ['a', 'b', 'c'])
})

test('what the handler refuses with crosses with its code; what it breaks with says nothing of itself', async () => {
  const { client } = await pair(async (method) => {
    if (method === 'break') throw new Error('secret of this machine')
    throw new P2pnsError(method === 'full' ? 'disk_full' : 'name_taken', 'The database /home/x is full')
  })
  await assert.rejects(client.call('claim', []), { code: 'name_taken', what: 'The database /home/x is full' })
  await assert.rejects(client.call('break', []), { code: 'internal', what: 'The introducer failed' })
  await assert.rejects(client.call('full', []), {
    code: 'peer_unreachable',
    what: 'The introducer cannot answer now (disk_full)',
  })
})

test('an error that the other side made up becomes internal, and cannot move the cursor', async () => {
  const { client, frames } = await clientOfAlien()
  const cases: [code: string, what: CborValue, expected: string, text: string][] = [
    ['no_such_code', 'x', 'internal', 'x'],
    ['constructor', 'x', 'internal', 'x'],
    ['__proto__', 'x', 'internal', 'x'],
    ['interrupted', 'x', 'internal', 'x'],
    ['disk_full', 'x', 'internal', 'x'],
    ['name_taken', '\u001b[2Jgone\r\n\u202e', 'name_taken', ' [2Jgone '],
    ['name_taken', 'y'.repeat(5000), 'name_taken', 'y'.repeat(300)],
    ['name_taken', [1, ['x']], 'name_taken', 'The introducer did not say why'],
  ]
  for (const [i, [code, what, expected, text]] of cases.entries()) {
    const call = client.call('get', [])
    await frames.read()
    await frames.write(toCbor([i + 1, code, what]))
    await assert.rejects(call, { code: expected, what: text })
  }
})

test('an answer to nobody, or a second one, is ignored', async () => {
  const { client, frames } = await clientOfAlien()
  const first = client.call('a', [])
  await frames.read()
  for (const id of [99, -1, 0, 1, 1]) await frames.write(toCbor([id, '', `for ${id}`]))
  assert.equal(await first, 'for 1')
  const second = client.call('b', [])
  await frames.read()
  await frames.write(toCbor([2, '', 'still here']))
  assert.equal(await second, 'still here')
})

/** Bytes that are no frame of the protocol, whichever side gets them. */
const aliens: [what: string, bytes: Uint8Array][] = [
  ['bytes that are no CBOR', frame(Buffer.from('GET / HTTP/1.1\r\n'))],
  ['a map', frame(Buffer.from([0xa1, 0x61, 0x61, 0x01]))],
  ['an array of two', frame(toCbor([1, 'get']))],
  ['an array of four', frame(toCbor([1, 'get', [], 1]))],
  ['an id that is text', frame(toCbor(['1', 'get', []]))],
  ['an id that is beyond 2^53', frame(toCbor([2n ** 60n, 'get', []]))],
  ['a method that is a number', frame(toCbor([1, 2, []]))],
  ['CBOR in a longer form than it needs', frame(Buffer.from([0x83, 0x18, 0x01, 0x60, 0x80]))],
  ['CBOR nested 16,000 deep', frame(Buffer.alloc(16_000, 0x81))],
  ['an array that claims 2^32 items', frame(Buffer.from([0x9a, 0xff, 0xff, 0xff, 0xff]))],
  ['an empty frame', new Uint8Array([0])],
  ['a frame of one byte too many', frame(new Uint8Array(MAX_FRAME_BYTES + 1))],
  ['a length of a terabyte', new Uint8Array([0x80, 0x80, 0x80, 0x80, 0x80, 0x20])],
  ['a length that never ends', new Uint8Array(100_000).fill(0xff)],
]

for (const [what, bytes] of aliens) {
  test(`${what} ends a served stream, and a client's`, async () => {
    const { alien, served } = await servedAlien(async () => assert.fail('was asked'))
    const closed = once(alien, 'close')
    alien.send(bytes)
    await Promise.all([served, closed])

    const other = await clientOfAlien()
    const call = other.client.call('get', [])
    other.alien.send(bytes)
    await assert.rejects(call, { code: 'peer_unreachable' })
    assert.equal(other.client.closed, true)
    await assert.rejects(other.client.call('get', []), { code: 'peer_unreachable' })
  })
}

test('a question whose arguments are no list ends the stream', async () => {
  const { alien, served } = await servedAlien(async () => assert.fail('was asked'))
  alien.send(frame(toCbor([1, 'get', 'key'])))
  await served
})

test('a frame that is cut short ends the stream when the other side closes it', async () => {
  const { alien, served } = await servedAlien(async () => assert.fail('was asked'))
  alien.send(frame(toCbor([1, 'get', []])).subarray(0, 4))
  await alien.close()
  await served
})

test('no bytes crash either side', async () => {
  const bodies = fc.uint8Array({ maxLength: 200 })
  const shaped = fc.tuple(fc.anything(), fc.anything(), fc.anything()).map((parts) => {
    try {
      return toCbor(parts as unknown as CborValue)
    } catch {
      return new Uint8Array(1)
    }
  })
  await fc.assert(
    fc.asyncProperty(fc.array(fc.oneof(bodies, shaped), { maxLength: 5 }), async (frames) => {
      const { alien, served } = await servedAlien(echo)
      const other = await clientOfAlien()
      const call = other.client.call('get', []).catch((error: unknown) => error)
      for (const body of frames) {
        if (alien.status === 'open') alien.send(frame(body))
        if (other.alien.status === 'open') other.alien.send(frame(body))
      }
      alien.abort(new Error('enough'))
      other.alien.abort(new Error('enough'))
      await served
      const outcome = await call
      assert.ok(outcome instanceof P2pnsError || !(outcome instanceof Error))
    }),
    { numRuns: 50 },
  )
})

test('a question that is not answered in time fails alone', async (t) => {
  const runOut = heldTimeouts(t)
  const { client } = await pair((method) => (method === 'slow' ? NEVER : echo(method, [])))
  const slow = client.call('slow', [])
  runOut(10_000)
  await assert.rejects(slow, { code: 'timed_out', what: /did not answer "slow" in time/ })
  assert.deepEqual(await client.call('quick', []), ['quick', []])
})

test('a question can be given up, before and after it was asked, and others go on', async () => {
  const { client } = await pair((method) => (method === 'slow' ? NEVER : echo(method, [])))
  const stop = new AbortController()
  const slow = client.call('slow', [], stop.signal)
  stop.abort()
  await assert.rejects(slow, { code: 'interrupted' })
  await assert.rejects(client.call('get', [], stop.signal), { code: 'interrupted' })
  const late = AbortSignal.abort(new DOMException('late', 'TimeoutError'))
  await assert.rejects(client.call('get', [], late), { code: 'timed_out' })
  assert.deepEqual(await client.call('quick', []), ['quick', []])
})

test('every question that waits fails when the stream ends', async () => {
  const { client, answering } = await pair(() => NEVER)
  const calls = Array.from({ length: 5 }, () => client.call('slow', []))
  answering.abort(new Error('gone'))
  for (const call of calls) await assert.rejects(call, { code: 'peer_unreachable' })
  assert.equal(client.closed, true)
})

test('a client that closes fails what waits and tells the other side', async () => {
  const { client, served } = await pair(() => NEVER)
  const call = client.call('slow', [])
  client.close()
  await assert.rejects(call, { code: 'peer_unreachable' })
  await served
})

/** Resolves when everything that is under way has been read. */
async function quiet(): Promise<void> {
  for (let i = 0; i < 50; i++) await new Promise((resolve) => setImmediate(resolve))
}

test('of a flood of questions 32 are worked on at a time, and all are answered', async () => {
  let running = 0
  let most = 0
  let open = Promise.withResolvers<void>()
  const { client } = await pair(async (method) => {
    most = Math.max(most, ++running)
    await open.promise
    running--
    return method
  })
  const calls = Array.from({ length: 200 }, (_, i) => client.call(`${i}`, []))
  await quiet()
  assert.equal(running, 32)
  open.resolve()
  open = Promise.withResolvers()
  open.resolve()
  assert.deepEqual(
    await Promise.all(calls),
    Array.from({ length: 200 }, (_, i) => `${i}`),
  )
  assert.equal(most, 32)
})

test('who sends questions faster than they are worked on, without end, is cut off', async () => {
  const { alien, served } = await servedAlien(() => NEVER)
  const question = frame(toCbor([1, 'get', [randomBytes(10_000)]]))
  let sent = 0
  const closed = once(alien, 'close')
  while (alien.status === 'open' && sent < 50_000_000) {
    alien.send(question)
    sent += question.length
    await new Promise((resolve) => setImmediate(resolve))
  }
  await closed
  assert.ok(sent < 5_000_000, `${sent} bytes were taken`)
  void served
})

test('who asks and never reads the answers does not stop the others', async (t: TestContext) => {
  const { alien } = await servedAlien(async () => randomBytes(10_000))
  alien.pause()
  t.after(() => alien.abort(new Error('end')))
  for (let i = 0; i < 100; i++) alien.send(frame(toCbor([i, 'get', []])))
  const { client } = await pair(echo)
  await quiet()
  assert.deepEqual(await client.call('get', []), ['get', []])
})

test('the largest record fits into a question and into an answer', async () => {
  const { client } = await pair(async (_method, args: Arguments) => [args[1] as Uint8Array])
  const value = randomBytes(2048 + 8192 + 16)
  assert.deepEqual(await client.call('put', [randomBytes(41), value]), [new Uint8Array(value)])
})
