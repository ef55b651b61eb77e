import assert from 'node:assert/strict'
import { EventEmitter, once } from 'node:events'
import { type TestContext, test } from 'node:test'
import type { Connection, Stream } from '@libp2p/interface'
import { multiaddr } from '@multiformats/multiaddr'
import { Switchboard } from '../../introducer/switchboard.ts'
import { type Bytes, type CborValue, toCbor, toHex, utf8 } from '../../node/core/encoding.ts'
import { addressBytes } from '../../node/core/hosts.ts'
import { keyPairFromSeed } from '../../node/core/keys.ts'
import { MAX_MEETING_BYTES } from '../../node/core/meeting.ts'
import { framesOf } from '../../node/net/frames.ts'
import type { Host } from '../../node/net/host.ts'
import { hostOf, keyOf, peerOf } from '../../node/net/peers.ts'
import { fromFrame, MAX_SWITCHBOARD_BYTES, SWITCHBOARD_PROTOCOL } from '../../node/net/switchboard.ts'
import { honestHost } from '../helpers/hosts.ts'
import { heldTimeouts } from '../helpers/timeouts.ts'

const NOBODY = keyPairFromSeed(new Uint8Array(32).fill(99)).publicKey
const CALL = utf8('a call')

interface Rig {
  board: Switchboard
  host: Host
  clock: { now: number }
  /** `open` with the stream of the introducer when it serves one, `ended` when it does no longer; both by the key in hex. */
  events: EventEmitter
  /** Whom the next stream comes from, for peers and addresses that are not here. */
  pose?: Connection | undefined
}

async function introducer(t: TestContext): Promise<Rig> {
  const clock = { now: 1000 * 60_000 }
  const host = await honestHost(t, 'introducer', { role: 'introducer' })
  const rig: Rig = { board: new Switchboard(() => clock.now), host, clock, events: new EventEmitter() }
  const serve = async (stream: Stream, real: Connection): Promise<void> => {
    const connection = rig.pose ?? real
    const name = toHex(keyOf(connection.remotePeer) ?? new Uint8Array(0))
    const served = rig.board.serve(stream, connection)
    rig.events.emit(`open ${name}`, stream)
    await served
    rig.events.emit(`ended ${name}`)
  }
  await host.libp2p.handle(SWITCHBOARD_PROTOCOL, serve, { maxInboundStreams: 64 })
  return rig
}

/** A stream of a peer that the switchboard has taken. */
async function lineOf({ host, events }: Rig, peer: Host, key = keyOf(peer.libp2p.peerId) as Bytes) {
  const opened = once(events, `open ${toHex(key)}`)
  const stream = await peer.libp2p.dialProtocol(host.libp2p.getMultiaddrs(), SWITCHBOARD_PROTOCOL)
  const frames = framesOf(stream, MAX_SWITCHBOARD_BYTES)
  const [served] = (await opened) as [Stream]
  return {
    key,
    /** Its other end. */
    served,
    stream,
    closed: stream.status === 'open' ? once(stream as unknown as EventTarget, 'close') : Promise.resolve(),
    say: (value: CborValue) => frames.write(toCbor(value)),
    async heard(): Promise<unknown[]> {
      return fromFrame(await frames.read()) as unknown[]
    },
  }
}

/** Two peers with a line each. */
async function pair(t: TestContext) {
  const rig = await introducer(t)
  const [alice, bob] = await Promise.all(['alice', 'bob'].map((seed) => honestHost(t, seed, { role: 'visitor' })))
  return { rig, alice: await lineOf(rig, alice as Host), bob: await lineOf(rig, bob as Host), hosts: { alice, bob } }
}

function posing(seed: number, address: string): Connection {
  const remotePeer = peerOf(keyPairFromSeed(new Uint8Array(32).fill(seed)).publicKey)
  return { remotePeer, remoteAddr: multiaddr(address) } as unknown as Connection
}

/** As plain values, to be compared. */
function plain(frame: unknown[]): unknown[] {
  return frame.map((item) => (item instanceof Uint8Array ? toHex(item) : item))
}

test('a call is handed on with the key and the address of who sends it', async (t) => {
  const { rig, alice, bob, hosts } = await pair(t)
  await alice.say([bob.key, CALL])
  const [from, message, address] = await bob.heard()
  assert.deepEqual(plain([from, message]), [toHex(alice.key), toHex(CALL)])
  const [connection] = rig.host.libp2p.getConnections(hosts.alice?.libp2p.peerId)
  const seen = connection && hostOf(connection.remoteAddr)
  assert.equal(seen?.host, '127.0.0.1')
  assert.deepEqual(plain(address as unknown[]), [toHex(addressBytes(seen.host)), seen.port])

  await bob.say([alice.key, utf8('an answer')])
  assert.deepEqual(plain((await alice.heard()).slice(0, 2)), [toHex(bob.key), toHex(utf8('an answer'))])
  assert.equal(rig.board.passed, 2)
})

test('who calls somebody that has no line, or has one no longer, is told that they are away', async (t) => {
  const { rig, alice, bob } = await pair(t)
  await alice.say([NOBODY, CALL])
  assert.deepEqual(plain(await alice.heard()), [toHex(NOBODY), 'away'])
  const ended = once(rig.events, `ended ${toHex(bob.key)}`)
  bob.stream.abort(new Error('gone'))
  await ended
  assert.equal(rig.board.size, 1)
  await alice.say([bob.key, CALL])
  assert.deepEqual(plain(await alice.heard()), [toHex(bob.key), 'away'])
  assert.equal(rig.board.passed, 0)
})

test('more than 60 messages of one peer in a minute are not handed on, and other peers still are heard', async (t) => {
  const { rig, alice, bob } = await pair(t)
  for (let i = 0; i < 60; i++) {
    await alice.say([bob.key, Uint8Array.of(i)])
    assert.deepEqual(plain((await bob.heard()).slice(1, 2)), [toHex(Uint8Array.of(i))])
  }
  await alice.say([bob.key, CALL])
  assert.deepEqual(plain(await alice.heard()), [toHex(bob.key), 'limit'])
  await bob.say([alice.key, CALL])
  assert.deepEqual(plain((await alice.heard()).slice(0, 2)), [toHex(bob.key), toHex(CALL)])
  rig.clock.now += 60_000
  await alice.say([bob.key, CALL])
  assert.deepEqual(plain((await bob.heard()).slice(0, 2)), [toHex(alice.key), toHex(CALL)])
})

test('more than 600 messages of one address block in a minute are not handed on, whoever sends them', async (t) => {
  const rig = await introducer(t)
  const crowd = await honestHost(t, 'crowd', { role: 'visitor' })
  const lineAt = async (seed: number, address: string) => {
    rig.pose = posing(seed, `/ip4/${address}/tcp/4001`)
    return lineOf(rig, crowd, keyOf(rig.pose.remotePeer))
  }
  for (let i = 0; i < 10; i++) {
    const line = await lineAt(i, `192.0.2.${i}`)
    for (let k = 0; k < 60; k++) {
      await line.say([NOBODY, CALL])
      assert.equal((await line.heard())[1], 'away')
    }
  }
  const same = await lineAt(10, '192.0.2.10')
  await same.say([NOBODY, CALL])
  assert.equal((await same.heard())[1], 'limit')
  const next = await lineAt(11, '192.0.3.1')
  await next.say([NOBODY, CALL])
  assert.equal((await next.heard())[1], 'away')
})

test('the newest stream of a peer is its line, and the older one ends', async (t) => {
  const { rig, alice, bob, hosts } = await pair(t)
  const newer = await lineOf(rig, hosts.bob as Host)
  await bob.closed
  assert.equal(rig.board.size, 2)
  await alice.say([bob.key, CALL])
  assert.deepEqual(plain((await newer.heard()).slice(0, 2)), [toHex(alice.key), toHex(CALL)])
})

test('a peer that reads nothing holds up only who calls it, and for as long as it may take; then it is away', async (t) => {
  const { rig, alice, bob } = await pair(t)
  const [carol, dave] = await Promise.all(
    ['carol', 'dave'].map(async (seed) => lineOf(rig, await honestHost(t, seed, { role: 'visitor' }))),
  )
  assert.ok(carol && dave)
  // Its buffers are full.
  const stuck = new Promise<void>((resolve) => {
    t.mock.method(bob.served, 'send', () => {
      resolve()
      return false
    })
  })
  const runOut = heldTimeouts(t)
  await alice.say([bob.key, CALL])
  await stuck
  await alice.say([dave.key, utf8('the next')])
  await carol.say([dave.key, CALL])
  assert.deepEqual(plain((await dave.heard()).slice(0, 2)), [toHex(carol.key), toHex(CALL)])
  runOut(5_000)
  t.mock.restoreAll()
  assert.deepEqual(plain(await alice.heard()), [toHex(bob.key), 'away'])
  await bob.closed
  assert.deepEqual(plain((await dave.heard()).slice(0, 2)), [toHex(alice.key), toHex(utf8('the next'))])
  assert.equal(rig.board.passed, 2)
})

test('a stream with a frame that is none, or too large a one, ends, and others go on', async (t) => {
  const { rig, alice, bob, hosts } = await pair(t)
  const wrong: CborValue[] = [
    [],
    'hello',
    [bob.key],
    [bob.key.subarray(1), CALL],
    [bob.key, 'a call'],
    [bob.key, CALL, 1],
  ]
  for (const value of wrong) {
    const line = await lineOf(rig, hosts.bob as Host)
    await line.say(value)
    await line.closed
  }
  const line = await lineOf(rig, hosts.bob as Host)
  // A frame of 2049 bytes, as its length says.
  line.stream.send(Uint8Array.of(0x81, 0x10, ...new Uint8Array(2049)))
  await line.closed
  await alice.say([alice.key, CALL])
  assert.deepEqual(plain((await alice.heard()).slice(0, 2)), [toHex(alice.key), toHex(CALL)])
  assert.equal(rig.board.size, 1)
})

test('the largest message of a meeting is handed on; a larger one ends the stream of its sender, not that of the other', async (t) => {
  const { rig, alice, bob, hosts } = await pair(t)
  const largest = new Uint8Array(MAX_MEETING_BYTES).fill(1)
  await alice.say([bob.key, largest])
  assert.equal(toHex((await bob.heard())[1] as Bytes), toHex(largest))
  // The second fits into the frame that comes, but not into the one that would go, with an address more.
  for (const length of [MAX_MEETING_BYTES + 1, MAX_SWITCHBOARD_BYTES - 38]) {
    const line = await lineOf(rig, hosts.alice as Host)
    await line.say([bob.key, new Uint8Array(length)])
    await line.closed
  }
  const line = await lineOf(rig, hosts.alice as Host)
  await line.say([bob.key, CALL])
  assert.equal(toHex((await bob.heard())[1] as Bytes), toHex(CALL))
})

test('who comes from no address that could be told has no line', async (t) => {
  const rig = await introducer(t)
  rig.pose = posing(1, '/dns4/example.com/tcp/4001')
  const line = await lineOf(rig, await honestHost(t, 'alice', { role: 'visitor' }), keyOf(rig.pose.remotePeer))
  await line.closed
  assert.equal(rig.board.size, 0)
})
