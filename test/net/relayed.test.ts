import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import type { Duplex } from 'node:stream'
import { type TestContext, test } from 'node:test'
import { createIntroducer, type RunningIntroducer } from '../../introducer/index.ts'
import { keyOf } from '../../node/net/peers.ts'
import { Circuits } from '../../node/net/relayed.ts'
import { temporaryFolder } from '../helpers/folder.ts'
import { honestHost } from '../helpers/hosts.ts'
import { LOOPBACK } from '../helpers/testnet.ts'

const ticket = new Uint8Array(16).fill(5)

async function introducer(t: TestContext): Promise<RunningIntroducer> {
  const running = await createIntroducer({ home: await temporaryFolder(t), listen: LOOPBACK, bits: 4 })
  t.after(() => running.stop())
  return running
}

async function side(t: TestContext, seed: string, { address }: RunningIntroducer) {
  const host = await honestHost(t, seed)
  const circuits = new Circuits(host.libp2p, [address])
  t.after(() => circuits.close())
  const key = keyOf(host.libp2p.peerId)
  assert.ok(key)
  return { circuits, key }
}

/** Calls until the introducer knows that the callee waits: nobody tells. */
async function joined(from: Circuits, key: Uint8Array, came: Promise<Duplex>): Promise<[Duplex, Duplex]> {
  for (;;) {
    const near = await from.call(key, ticket)
    const ended = new Promise<undefined>((resolve) => near.once('close', () => resolve(undefined)))
    const far = await Promise.race([came, ended])
    if (far) return [near, far]
  }
}

/** All that comes; unlike an iterator it leaves the other direction alone. */
async function all(stream: Duplex): Promise<Buffer> {
  const parts: Buffer[] = []
  stream.on('data', (bytes: Buffer) => parts.push(bytes))
  await once(stream, 'end')
  return Buffer.concat(parts)
}

test('a circuit carries bytes both ways, whole and in order', async (t) => {
  const place = await introducer(t)
  const [a, b] = [await side(t, 'a', place), await side(t, 'b', place)]
  const came = Promise.withResolvers<Duplex>()
  void b.circuits.listen(came.resolve)
  const [near, far] = await joined(a.circuits, b.key, came.promise)
  const [up, down] = [randomBytes(1_000_000), randomBytes(500_000)]
  const [atFar, atNear] = [all(far), all(near)]
  near.end(up)
  far.end(down)
  assert.ok((await atFar).equals(up))
  assert.ok((await atNear).equals(down))
})

test('who was called can be called again, and by several at a time', async (t) => {
  const place = await introducer(t)
  const [a, b, c] = [await side(t, 'a', place), await side(t, 'b', place), await side(t, 'c', place)]
  let came = Promise.withResolvers<Duplex>()
  void b.circuits.listen((stream) => came.resolve(stream))
  for (const { circuits } of [a, a, c]) {
    came = Promise.withResolvers()
    circuits.prepare()
    const [near, far] = await joined(circuits, b.key, came.promise)
    near.write('hello')
    assert.equal(String(await once(far, 'data')), 'hello')
  }
})

test('a circuit that one side breaks off is closed on the other', async (t) => {
  const place = await introducer(t)
  const [a, b] = [await side(t, 'a', place), await side(t, 'b', place)]
  const came = Promise.withResolvers<Duplex>()
  void b.circuits.listen(came.resolve)
  const [near, far] = await joined(a.circuits, b.key, came.promise)
  near.destroy()
  await new Promise((resolve) => far.resume().once('close', resolve))
})

test('a circuit to somebody who does not wait to be called ends at once', async (t) => {
  const place = await introducer(t)
  const [a, b] = [await side(t, 'a', place), await side(t, 'b', place)]
  const stream = await a.circuits.call(b.key, ticket)
  await new Promise((resolve) => stream.resume().once('close', resolve))
})

test('without an introducer there is no circuit', async (t) => {
  const place = await introducer(t)
  const a = await side(t, 'a', place)
  await place.stop()
  a.circuits.prepare()
  await assert.rejects(a.circuits.call(a.key, ticket))
  await assert.rejects(a.circuits.call(a.key, ticket))
})
