import assert from 'node:assert/strict'
import { EventEmitter, once } from 'node:events'
import type { Duplex } from 'node:stream'
import { type TestContext, test } from 'node:test'
import type { Connection, Stream } from '@libp2p/interface'
import { RELAY_LIMITS, Relay, type RelayLimits } from '../../introducer/relay.ts'
import { type Bytes, concat, toHex, utf8 } from '../../node/core/encoding.ts'
import type { Host } from '../../node/net/host.ts'
import { keyOf } from '../../node/net/peers.ts'
import { CIRCUIT_HEAD, CIRCUIT_ROLE, circuitHead, RELAY_PROTOCOL } from '../../node/net/relayed.ts'
import { duplexOf, readExactly } from '../../node/net/stream-duplex.ts'
import { honestHost } from '../helpers/hosts.ts'
import { heldTimeouts } from '../helpers/timeouts.ts'

const DAY = 86_400_000
const TICKET = new Uint8Array(16).fill(8)

interface Rig {
  relay: Relay
  host: Host
  clock: { now: number }
  /** By the key of a peer in hex: its stream waits to be called, or its call is over. */
  served: EventEmitter
}

async function introducer(t: TestContext, limits: Partial<RelayLimits> = {}): Promise<Rig> {
  const clock = { now: 100 * DAY }
  const host = await honestHost(t, 'introducer', { role: 'introducer' })
  const relay = new Relay({ ...RELAY_LIMITS, ...limits }, () => clock.now)
  const served = new EventEmitter()
  const serve = async (stream: Stream, connection: Connection): Promise<void> => {
    await relay.serve(stream, connection)
    served.emit(toHex(keyOf(connection.remotePeer) as Bytes))
  }
  await host.libp2p.handle(RELAY_PROTOCOL, serve, { maxInboundStreams: 32 })
  return { relay, host, clock, served }
}

/** What a peer does at that introducer. */
async function peerOf(t: TestContext, { host, served }: Rig, seed: string) {
  const { libp2p } = await honestHost(t, seed, { role: 'visitor' })
  const key = keyOf(libp2p.peerId) as Bytes
  const open = async () => duplexOf(await libp2p.dialProtocol(host.libp2p.getMultiaddrs(), RELAY_PROTOCOL))
  return {
    key,
    open,
    /** Its stream was dealt with. */
    dealtWith: () => once(served, toHex(key)),
    /** A stream on which it can be called from now on. */
    async waits(): Promise<Duplex> {
      const listed = once(served, toHex(key))
      const stream = await open()
      stream.write(Uint8Array.of(CIRCUIT_ROLE.callee))
      await listed
      return stream
    },
    async calls(other: Bytes): Promise<Duplex> {
      const stream = await open()
      stream.write(concat(Uint8Array.of(CIRCUIT_ROLE.caller), circuitHead(other, TICKET)))
      return stream
    },
  }
}

type Peer = Awaited<ReturnType<typeof peerOf>>

async function pair(t: TestContext, limits: Partial<RelayLimits> = {}) {
  const rig = await introducer(t, limits)
  return { rig, alice: await peerOf(t, rig, 'alice'), bob: await peerOf(t, rig, 'bob') }
}

/** A circuit that both have heard of. */
async function circuit(from: Peer, to: Peer): Promise<{ caller: Duplex; callee: Duplex }> {
  const callee = await to.waits()
  const caller = await from.calls(to.key)
  await readExactly(callee, CIRCUIT_HEAD)
  return { caller, callee }
}

/** All until its end. Unlike `toArray`, it leaves the stream open to be written to. */
async function allOf(stream: Duplex): Promise<Buffer> {
  const parts: Buffer[] = []
  stream.on('data', (bytes: Buffer) => parts.push(bytes))
  await once(stream, 'end')
  return Buffer.concat(parts)
}

/** Until there is no more of it, read or not. */
function closed(stream: Duplex): Promise<unknown> {
  stream.resume()
  return stream.closed ? Promise.resolve() : once(stream, 'close')
}

test('a circuit joins two peers: who is called learns who calls and the ticket, and bytes go both ways', async (t) => {
  const { rig, alice, bob } = await pair(t)
  const callee = await bob.waits()
  const caller = await alice.calls(bob.key)
  caller.write('hello')
  assert.equal(toHex(await readExactly(callee, CIRCUIT_HEAD)), toHex(circuitHead(alice.key, TICKET)))
  assert.equal(String(await readExactly(callee, 5)), 'hello')
  assert.equal(rig.relay.circuits, 1)
  callee.write('good day')
  assert.equal(String(await readExactly(caller, 8)), 'good day')
  assert.equal(rig.relay.passed, 13)
})

test('what is written before somebody answers is passed on in order, and an end of one side is one of that direction', async (t) => {
  const { rig, alice, bob } = await pair(t)
  const { caller, callee } = await circuit(alice, bob)
  const sent = Buffer.from(Uint8Array.from({ length: 300_000 }, (_, i) => i % 251))
  caller.end(sent)
  assert.ok(sent.equals(await allOf(callee)))
  const over = alice.dealtWith()
  callee.end('thanks')
  assert.equal(String(await allOf(caller)), 'thanks')
  await over
  assert.equal(rig.relay.circuits, 0)
  assert.equal(rig.relay.passed, sent.length + 6)
})

test('a side that breaks off ends the circuit for the other', async (t) => {
  const { rig, alice, bob } = await pair(t)
  for (const side of ['caller', 'callee'] as const) {
    const streams = await circuit(alice, bob)
    const over = alice.dealtWith()
    streams[side].destroy()
    await closed(streams[side === 'caller' ? 'callee' : 'caller'])
    await over
    assert.equal(rig.relay.circuits, 0)
  }
})

test('a call to a peer that is away ends', async (t) => {
  const { rig, alice, bob } = await pair(t)
  await closed(await alice.calls(bob.key))
  assert.equal(rig.relay.circuits, 0)
})

test('a stream that waits to be called is used up by one call', async (t) => {
  const { alice, bob } = await pair(t)
  await circuit(alice, bob)
  await closed(await alice.calls(bob.key))
})

test('of the streams on which a peer waits the two newest are kept, and the older of them is called first', async (t) => {
  const { alice, bob } = await pair(t)
  const first = await bob.waits()
  const second = await bob.waits()
  const third = await bob.waits()
  await closed(first)
  await alice.calls(bob.key)
  await readExactly(second, CIRCUIT_HEAD)
  await alice.calls(bob.key)
  await readExactly(third, CIRCUIT_HEAD)
})

test('the budget of a day ends a circuit, and lets no more through until the next day', async (t) => {
  const { rig, alice, bob } = await pair(t, { daily: 100_000 })
  const first = await circuit(alice, bob)
  first.caller.write(Buffer.alloc(90_000))
  await readExactly(first.callee, 10_000)
  const over = alice.dealtWith()
  first.caller.write(Buffer.alloc(20_000))
  await Promise.all([closed(first.caller), closed(first.callee), over])
  assert.ok(rig.relay.passed <= 100_000)

  const second = await circuit(alice, bob)
  second.caller.write(Buffer.alloc(20_000))
  await closed(second.caller)

  rig.clock.now += DAY
  const third = await circuit(alice, bob)
  third.caller.write(Buffer.alloc(20_000))
  await readExactly(third.callee, 10_000)
})

test('the budget of a peer counts what it sends and what is sent to it', async (t) => {
  const { rig, alice, bob } = await pair(t, { daily: 10_000 })
  const carol = await peerOf(t, rig, 'carol')
  const one = await circuit(alice, bob)
  one.caller.write(Buffer.alloc(9_000))
  await readExactly(one.callee, 9_000)
  // Neither has sent anything yet on this one.
  const other = await circuit(carol, bob)
  other.caller.write(Buffer.alloc(2_000))
  await closed(other.caller)
  assert.equal(rig.relay.passed, 9_000)
})

test('a peer is passed on no more bytes a second than its rate, after the first quarter of a second', async (t) => {
  const rate = 2 ** 20
  const { alice, bob } = await pair(t, { rate })
  const { caller, callee } = await circuit(alice, bob)
  const from = performance.now()
  caller.write(Buffer.alloc(rate / 2))
  for (let left = rate / 2; left > 0; left -= 2 ** 13) await readExactly(callee, 2 ** 13)
  // A quarter of the second's bytes went at once; a timer may be a little early.
  assert.ok(performance.now() - from >= 240)
})

test('what a side sent last arrives, though it is held up by the rate and both have ended', async (t) => {
  const { alice, bob } = await pair(t, { rate: 2 ** 20 })
  const { caller, callee } = await circuit(alice, bob)
  caller.end('a question')
  assert.equal(String(await allOf(callee)), 'a question')
  const sent = Buffer.from(Uint8Array.from({ length: 400_000 }, (_, i) => i % 251))
  callee.end(sent)
  assert.ok(sent.equals(await allOf(caller)))
})

test('the rate of all counts a byte once, though it is of two peers', async (t) => {
  // 256 KiB may go at once, however low the rate: with any byte counted twice this would last for a minute.
  const { alice, bob } = await pair(t, { rateOfAll: 1024 })
  const { caller, callee } = await circuit(alice, bob)
  const bytes = 192 * 1024
  caller.end(Buffer.alloc(bytes))
  assert.equal((await allOf(callee)).length, bytes)
})

test('the 9th circuit of a peer at a time is refused, whoever calls, until one of the 8 ends', async (t) => {
  const { rig, alice, bob } = await pair(t)
  const carol = await peerOf(t, rig, 'carol')
  const circuits = []
  for (let i = 0; i < 8; i++) circuits.push(await circuit(i % 2 === 0 ? alice : carol, bob))
  assert.equal(rig.relay.circuits, 8)
  const unused = await bob.waits()
  await closed(await alice.calls(bob.key))
  const waiting = await carol.waits()
  await closed(await bob.calls(carol.key))
  assert.equal(rig.relay.circuits, 8)
  // The others are not full.
  await alice.calls(carol.key)
  await readExactly(waiting, CIRCUIT_HEAD)

  const over = alice.dealtWith()
  circuits[0]?.caller.destroy()
  await over
  await alice.calls(bob.key)
  await readExactly(unused, CIRCUIT_HEAD)
})

test('more circuits than there may be in all are refused', async (t) => {
  const { rig, alice, bob } = await pair(t, { circuitsOfAll: 1 })
  const carol = await peerOf(t, rig, 'carol')
  await circuit(alice, bob)
  await bob.waits()
  await closed(await carol.calls(bob.key))
  assert.equal(rig.relay.circuits, 1)
})

test('a circuit ends after its time', async (t) => {
  const { rig, alice, bob } = await pair(t)
  const runOut = heldTimeouts(t)
  const { caller, callee } = await circuit(alice, bob)
  const over = alice.dealtWith()
  runOut(RELAY_LIMITS.duration)
  t.mock.restoreAll()
  await Promise.all([closed(caller), closed(callee), over])
  assert.equal(rig.relay.circuits, 0)
})

test('who begins to say whom they want, and does not end in time, is cut off', async (t) => {
  const { alice, bob } = await pair(t)
  const stream = await alice.open()
  const timeout = AbortSignal.timeout.bind(AbortSignal)
  t.mock.method(AbortSignal, 'timeout', (ms: number) =>
    ms === 5_000 ? AbortSignal.abort(new Error('the time is over')) : timeout(ms),
  )
  stream.write(concat(Uint8Array.of(CIRCUIT_ROLE.caller), bob.key))
  await closed(stream)
})

test('a stream that ends before it has said whom it wants is closed', async (t) => {
  const { alice } = await pair(t)
  for (const said of [utf8(''), Uint8Array.of(CIRCUIT_ROLE.caller), Uint8Array.of(CIRCUIT_ROLE.caller, 1, 2)]) {
    const stream = await alice.open()
    const over = alice.dealtWith()
    if (said.length > 0) stream.write(said)
    stream.end()
    await over
    await closed(stream)
  }
})
