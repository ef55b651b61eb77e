import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import type { Duplex } from 'node:stream'
import { type TestContext, test } from 'node:test'
import { encodePoke, encodeProbe } from '../../node/core/datagram.ts'
import { type HostPort, sameHost } from '../../node/core/hosts.ts'
import { type From, UdpPort } from '../../node/net/udp.ts'

const HERE = '127.0.0.1'
const nonce = new Uint8Array(16).fill(7)
const nowhere = new AbortController().signal
const IDS = { caller: 1, callee: 2 }

async function udpPort(t: TestContext): Promise<UdpPort> {
  const port = await UdpPort.open(0)
  assert.ok(port)
  t.after(() => port.close())
  return port
}

/** `to` as `from` hears it. */
async function heard(from: UdpPort, to: UdpPort): Promise<From> {
  const came = Promise.withResolvers<From>()
  const forget = from.onProbe(nonce, (_bytes, at) => came.resolve(at))
  const probe = encodeProbe({ type: 'probe', nonce, seq: 0, fromCaller: true }, new Uint8Array(32))
  to.send(probe, { host: HERE, port: from.port })
  const at = await came.promise
  forget()
  return at
}

async function streamPair(t: TestContext): Promise<{ ports: [UdpPort, UdpPort]; near: Duplex; far: Duplex }> {
  const [a, b] = [await udpPort(t), await udpPort(t)]
  const accepted = b.accept({ own: IDS.callee, theirs: IDS.caller }, ({ port }) => port === a.port, nowhere)
  const near = a.connect({ own: IDS.caller, theirs: IDS.callee }, await heard(a, b))
  near.write('!')
  const far = await accepted
  assert.equal(String(await once(far, 'data')), '!')
  return { ports: [a, b], near, far }
}

/** With an error or without. */
function closed(stream: Duplex): Promise<void> {
  return new Promise((resolve) => stream.resume().once('close', () => resolve()))
}

async function read(stream: Duplex, length: number): Promise<Buffer> {
  const parts: Buffer[] = []
  let got = 0
  for await (const bytes of stream.iterator({ destroyOnReturn: false })) {
    parts.push(bytes as Buffer)
    got += (bytes as Buffer).length
    if (got >= length) break
  }
  return Buffer.concat(parts)
}

test('a stream carries bytes both ways, whole and in order', async (t) => {
  const { near, far } = await streamPair(t)
  const [up, down] = [randomBytes(3_000_000), randomBytes(2_000_000)]
  near.write(up)
  far.write(down)
  const [atFar, atNear] = await Promise.all([read(far, up.length), read(near, down.length)])
  assert.ok(atFar.equals(up))
  assert.ok(atNear.equals(down))
})

test('a stream that one side ends or breaks off is closed on the other', async (t) => {
  const first = await streamPair(t)
  first.near.end('bye')
  assert.equal(String(await once(first.far, 'data')), 'bye')
  await once(first.far.resume(), 'end')
  const second = await streamPair(t)
  second.near.destroy()
  await closed(second.far)
})

test('a stream from an unknown address is kept out, and one from a known address let in', async (t) => {
  const [known, stranger, b] = [await udpPort(t), await udpPort(t), await udpPort(t)]
  const asked: HostPort[] = []
  const came = Promise.withResolvers<void>()
  const accepted = b.accept(
    { own: IDS.callee, theirs: IDS.caller },
    (from) => {
      asked.push(from)
      came.resolve()
      return sameHost(from, { host: HERE, port: known.port })
    },
    nowhere,
  )
  const ids = { own: IDS.caller, theirs: IDS.callee }
  const bad = stranger.connect(ids, await heard(stranger, b))
  bad.write('let me in')
  await came.promise
  assert.deepEqual(asked[0], { host: HERE, port: stranger.port })
  known.connect(ids, await heard(known, b)).write('it is me')
  assert.equal(String(await once(await accepted, 'data')), 'it is me')
})

test('who waits for a stream waits no longer than it is told', async (t) => {
  const port = await udpPort(t)
  const stop = new AbortController()
  const ids = { own: IDS.callee, theirs: IDS.caller }
  const waiting = port.accept(ids, () => true, stop.signal)
  stop.abort(new Error('enough'))
  await assert.rejects(waiting, /enough/)
  await assert.rejects(
    port.accept(ids, () => true, stop.signal),
    /enough/,
  )
})

test('datagrams go to whoever waits for what they are about, and to nobody else', async (t) => {
  const port = await udpPort(t)
  const sender = createSocket('udp4').bind(0, HERE)
  t.after(() => sender.close())
  await once(sender, 'listening')
  const [probes, pokes]: [string[], string[]] = [[], []]
  const last = Promise.withResolvers<void>()
  const key = new Uint8Array(32)
  const other = new Uint8Array(16).fill(8)
  const probe = (of: Uint8Array, seq: number) => encodeProbe({ type: 'probe', nonce: of, seq, fromCaller: true }, key)
  port.onProbe(nonce, (bytes, from) => {
    probes.push(`${Buffer.from(bytes).readUInt32BE(10)} ${from.host} ${from.port}`)
    if (probes.length === 2) last.resolve()
  })
  port.onReflection(nonce.subarray(0, 12), ({ type }) => pokes.push(type))
  const forget = port.onProbe(other, () => assert.fail('it was forgotten'))
  forget()
  const said = [
    probe(nonce, 1),
    Buffer.from('junk'),
    Uint8Array.of(0x70),
    probe(other, 2),
    encodePoke(other.subarray(0, 12)),
    encodePoke(nonce.subarray(0, 12)),
    probe(nonce, 3),
  ]
  for (const bytes of said) sender.send(bytes, port.port, HERE)
  await last.promise
  const { port: from } = sender.address()
  assert.deepEqual(probes, [`1 ${HERE} ${from}`, `3 ${HERE} ${from}`])
  assert.deepEqual(pokes, ['poke'])
})

test('another port is taken where the one asked for is not free', async (t) => {
  const first = await udpPort(t)
  const second = await UdpPort.open(first.port)
  assert.ok(second)
  t.after(() => second.close())
  assert.notEqual(second.port, first.port)
})

test('a port closes although streams are open on it', async (t) => {
  const { ports, near, far } = await streamPair(t)
  const both = [near, far].map(closed)
  await ports[0].close()
  await Promise.all(both)
})
