import assert from 'node:assert/strict'
import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { type TestContext, test } from 'node:test'
import { encodeProbe, type Probe, parseProbe } from '../../node/core/datagram.ts'
import type { HostPort } from '../../node/core/hosts.ts'
import { type PunchOptions, punchUdp } from '../../node/net/punch.ts'
import { UdpPort } from '../../node/net/udp.ts'
import { heldTimeouts } from '../helpers/timeouts.ts'

const HERE = '127.0.0.1'
const nonce = new Uint8Array(16).fill(1)
const key = new Uint8Array(32).fill(2)
const nowhere = new AbortController().signal

async function udpPort(t: TestContext): Promise<UdpPort> {
  const port = await UdpPort.open(0)
  assert.ok(port)
  t.after(() => port.close())
  return port
}

const optionsFor = (port: UdpPort, isCaller: boolean, theirs: HostPort[]): PunchOptions => ({
  port,
  isCaller,
  nonce,
  key,
  theirs,
  random: () => 0,
  signal: nowhere,
})

/** A socket that says what the test says, and keeps the probes that come, as `parseProbe` reads them. */
async function other(t: TestContext, usedKey = key) {
  const socket = createSocket('udp4').bind(0, HERE)
  await once(socket, 'listening')
  t.after(() => new Promise<void>((resolve) => socket.close(() => resolve())))
  const { port } = socket.address()
  return { socket, at: { host: HERE, port }, ...hearing(socket, usedKey) }
}

function hearing(socket: Socket, usedKey: Uint8Array) {
  const heard: Probe[] = []
  let wake = (): void => undefined
  socket.on('message', (bytes) => {
    const probe = parseProbe(bytes, usedKey)
    if (probe) heard.push(probe)
    wake()
  })
  /** The next of a type; others before it are passed over. */
  const hear = async (type: Probe['type']): Promise<Probe> => {
    for (;;) {
      for (let probe = heard.shift(); probe; probe = heard.shift()) if (probe.type === type) return probe
      await new Promise<void>((resolve) => (wake = resolve))
    }
  }
  const say = (to: UdpPort, probe: Partial<Probe>, withKey = usedKey): void =>
    socket.send(encodeProbe({ type: 'probe', nonce, seq: 0, fromCaller: true, ...probe }, withKey), to.port, HERE)
  return { heard, hear, say }
}

test('two that probe each other meet, and what they get carries bytes both ways', async (t) => {
  const [a, b] = [await udpPort(t), await udpPort(t)]
  const at = ({ port }: UdpPort): HostPort[] => [{ host: HERE, port }]
  const [near, far] = await Promise.all([
    punchUdp(optionsFor(a, true, at(b))).then((stream) => {
      stream.write('hello')
      return stream
    }),
    punchUdp(optionsFor(b, false, at(a))),
  ])
  assert.equal(String(await once(far, 'data')), 'hello')
  far.write('hello yourself')
  assert.equal(String(await once(near, 'data')), 'hello yourself')
})

test('one whose address nobody knows is found by its probes', async (t) => {
  const [a, b] = [await udpPort(t), await udpPort(t)]
  const [, far] = await Promise.all([
    punchUdp(optionsFor(a, true, [{ host: HERE, port: b.port }])).then((stream) => stream.write('hello')),
    punchUdp(optionsFor(b, false, [])),
  ])
  assert.equal(String(await once(far, 'data')), 'hello')
})

test('a probe made with another key is dropped without a word, and the same with the right one answered', async (t) => {
  const port = await udpPort(t)
  const { say, hear, heard } = await other(t)
  const stop = new AbortController()
  const punch = punchUdp({ ...optionsFor(port, false, []), signal: stop.signal })
  say(port, { seq: 1 }, new Uint8Array(32).fill(3))
  say(port, { seq: 2, nonce: new Uint8Array(16).fill(9) })
  // From the callee itself, as if somebody sent back what it said.
  say(port, { seq: 3, fromCaller: false })
  say(port, { seq: 4 })
  assert.deepEqual(await hear('echo'), {
    type: 'echo',
    nonce: Buffer.from(nonce.subarray(0, 8)),
    seq: 4,
    fromCaller: false,
  })
  assert.ok(heard.every(({ type }) => type === 'probe'))
  stop.abort(new Error('enough'))
  await assert.rejects(punch, /enough/)
})

test('the same probe is echoed once, and its source is probed back', async (t) => {
  const port = await udpPort(t)
  const { say, hear, heard } = await other(t)
  const stop = new AbortController()
  const punch = punchUdp({ ...optionsFor(port, false, []), signal: stop.signal })
  for (const seq of [1, 1, 1, 2]) say(port, { seq })
  assert.equal((await hear('echo')).seq, 1)
  assert.equal((await hear('echo')).seq, 2)
  assert.equal((await hear('probe')).fromCaller, false)
  assert.ok(heard.every(({ type }) => type === 'probe'))
  stop.abort()
  await assert.rejects(punch)
})

test('sixteen sources are probed back, however many come', async (t) => {
  const port = await udpPort(t)
  const stop = new AbortController()
  const punch = punchUdp({ ...optionsFor(port, false, []), signal: stop.signal })
  const sources = await Promise.all(Array.from({ length: 20 }, () => other(t)))
  for (const [seq, { say, hear }] of sources.entries()) {
    say(port, { seq })
    await hear('echo')
  }
  for (const { hear } of sources.slice(0, 16)) await hear('probe')
  // These had as long.
  for (const { heard } of sources.slice(16)) assert.deepEqual(heard, [])
  stop.abort()
  await assert.rejects(punch)
})

test('two with different keys never meet, and stop when the time is over', async (t) => {
  const runOut = heldTimeouts(t)
  const [a, b] = [await udpPort(t), await other(t, new Uint8Array(32).fill(3))]
  const came = once(b.socket, 'message')
  const punch = punchUdp(optionsFor(a, true, [b.at]))
  await came
  // What it could say back it cannot make.
  b.say(a, { type: 'echo', fromCaller: false })
  b.say(a, { type: 'probe', fromCaller: false })
  await once(b.socket, 'message')
  runOut(5_000)
  await assert.rejects(punch, { name: 'TimeoutError' })
})
