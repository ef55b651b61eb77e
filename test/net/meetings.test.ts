import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { type TestContext, test } from 'node:test'
import type { Connection } from '@libp2p/interface'
import { createIntroducer, type RunningIntroducer } from '../../introducer/index.ts'
import { type Bytes, equalBytes } from '../../node/core/encoding.ts'
import { type KeyPair, keyPairFromSeed } from '../../node/core/keys.ts'
import { encodeCall, halfFrom, MAX_MEETING_BYTES, parseAnswer, type Reachable } from '../../node/core/meeting.ts'
import { framesOf } from '../../node/net/frames.ts'
import type { Host } from '../../node/net/host.ts'
import { MEET_PROTOCOL, Meetings, type Met } from '../../node/net/meetings.ts'
import { Line } from '../../node/net/switchboard.ts'
import { temporaryFolder } from '../helpers/folder.ts'
import { honestHost } from '../helpers/hosts.ts'
import { LOOPBACK } from '../helpers/testnet.ts'
import { heldTimeouts } from '../helpers/timeouts.ts'

const nowhere = new AbortController().signal

interface Side {
  host: Host
  key: KeyPair
  meetings: Meetings
  calls: Met[]
  told: Reachable
}

/** Somebody who may be called, and says of itself what its seed says. */
async function side(t: TestContext, seed: string): Promise<Side> {
  const host = await honestHost(t, seed)
  const key = keyPairFromSeed(createHash('sha256').update(seed).digest())
  const calls: Met[] = []
  const told: Reachable = {
    mapping: 'independent',
    filtering: 'address',
    hosts: [{ use: 'tcp', host: '192.0.2.1', port: seed.length }],
  }
  const meetings = new Meetings({
    libp2p: host.libp2p,
    key,
    own: () => told,
    random: (length) => randomBytes(length),
    onCall: (met) => calls.push(met),
  })
  await meetings.listen()
  return { host, key, meetings, calls, told }
}

const connected = (from: Side, to: Side): Promise<Connection> => from.host.libp2p.dial(to.host.libp2p.getMultiaddrs())

/** One to a real introducer, which knows of it; `heard` gets what comes instead of `from`'s own meetings. */
async function lineOf(
  t: TestContext,
  from: Side,
  { address }: RunningIntroducer,
  heard: (line: Line, key: Bytes, message: Bytes) => void = (line, key, message) =>
    from.meetings.heard(line, key, message, { host: '127.0.0.1', port: 1 }),
): Promise<Line> {
  const open = Promise.withResolvers<void>()
  const line = new Line(
    from.host.libp2p,
    { addresses: [address], peerId: address.split('/p2p/')[1] ?? '' },
    {
      message: (own, key, message) => (equalBytes(key, from.key.publicKey) ? open.resolve() : heard(own, key, message)),
      refused: (own, to) => from.meetings.refused(own, to),
    },
    () => 0,
  )
  t.after(() => line.close())
  line.keep()
  // What it says to itself comes back when it is known.
  await line.send(from.key.publicKey, new Uint8Array(1), nowhere)
  await open.promise
  return line
}

async function introducer(t: TestContext): Promise<RunningIntroducer> {
  const running = await createIntroducer({ home: await temporaryFolder(t), listen: LOOPBACK, bits: 4 })
  t.after(() => running.stop())
  return running
}

/** Says `call` as it is, whoever made it. */
async function say(connection: Connection, call: Bytes): Promise<Bytes> {
  const frames = framesOf(await connection.newStream(MEET_PROTOCOL), MAX_MEETING_BYTES)
  await frames.write(call)
  return (await frames.read()).subarray()
}

function callOf(caller: KeyPair, callee: Bytes): Bytes {
  return encodeCall(caller, callee, randomBytes(16), halfFrom(randomBytes(32)), {
    mapping: 'unknown',
    filtering: 'unknown',
    hosts: [],
  })
}

function assertMet(met: Met, caller: Side, callee: Side): void {
  const [begun, ...more] = callee.calls
  assert.deepEqual(more, [])
  assert.deepEqual(begun?.secrets, met.secrets)
  assert.deepEqual([[...(begun?.nonce ?? [])], begun?.isCaller], [[...met.nonce], false])
  assert.equal(met.isCaller, true)
  assert.deepEqual([...met.peer], [...callee.key.publicKey])
  assert.deepEqual([...(begun?.peer ?? [])], [...caller.key.publicKey])
  assert.deepEqual([met.theirs.hosts, begun?.theirs.hosts], [callee.told.hosts, caller.told.hosts])
  assert.deepEqual([met.theirs.mapping, met.theirs.filtering], ['independent', 'address'])
  assert.ok(met.rtt > 0)
}

test('two who are connected meet over their connection, and have the same secrets', async (t) => {
  const [a, b] = [await side(t, 'a'), await side(t, 'bb')]
  const met = await a.meetings.callOver(await connected(a, b), nowhere)
  assertMet(met, a, b)
  assert.equal(met.line, undefined)
  const port = (at: Side): number => Number(at.host.libp2p.getMultiaddrs()[0]?.getComponents()[1]?.value)
  assert.deepEqual(met.seen, { host: '127.0.0.1', port: port(b) })
  assert.equal(b.calls[0]?.seen.host, '127.0.0.1')
})

test('two who have never spoken meet over the lines of an introducer, and have the same secrets', async (t) => {
  const place = await introducer(t)
  const [a, b] = [await side(t, 'a'), await side(t, 'bb')]
  const lines = [await lineOf(t, a, place), await lineOf(t, b, place)] as const
  const met = await a.meetings.call(b.key.publicKey, [lines[0]], nowhere)
  assertMet(met, a, b)
  assert.equal(met.line, lines[0])
  assert.equal(b.calls[0]?.line, lines[1])
  assert.equal(a.host.libp2p.getConnections(b.host.libp2p.peerId).length, 0)
})

test('two meetings of the same two have nothing in common', async (t) => {
  const [a, b] = [await side(t, 'a'), await side(t, 'b')]
  const connection = await connected(a, b)
  const [one, two] = [await a.meetings.callOver(connection, nowhere), await a.meetings.callOver(connection, nowhere)]
  assert.notDeepEqual(one.nonce, two.nonce)
  assert.notDeepEqual(one.secrets.probeKey, two.secrets.probeKey)
  assert.notDeepEqual(one.secrets.tickets.direct, two.secrets.tickets.direct)
  assert.equal(b.calls.length, 2)
})

test('the same call, whatever way it comes, is answered the same and begins once', async (t) => {
  const place = await introducer(t)
  const [a, b] = [await side(t, 'a'), await side(t, 'b')]
  const answers: Bytes[] = []
  let came = Promise.withResolvers<void>()
  const line = await lineOf(t, a, place, (_line, _key, message) => {
    answers.push(message)
    came.resolve()
  })
  await lineOf(t, b, place)
  const call = callOf(a.key, b.key.publicKey)
  for (let i = 0; i < 2; i++) {
    came = Promise.withResolvers<void>()
    await line.send(b.key.publicKey, call, nowhere)
    await came.promise
  }
  answers.push(await say(await connected(a, b), call))
  const [first, ...others] = answers as [Bytes, Bytes, Bytes]
  assert.ok(parseAnswer(first, call))
  for (const other of others) assert.deepEqual([...other], [...first])
  assert.equal(b.calls.length, 1)
})

test('who calls more than sixty times in a minute gets no answer until the minute is over, and others do', async (t) => {
  const [a, b, c] = [await side(t, 'a'), await side(t, 'b'), await side(t, 'c')]
  const connection = await connected(a, b)
  for (let i = 0; i < 60; i++) await a.meetings.callOver(connection, nowhere)
  await assert.rejects(a.meetings.callOver(connection, nowhere), { code: 'peer_unreachable' })
  assert.equal(b.calls.length, 60)
  await c.meetings.callOver(await connected(c, b), nowhere)
  const now = performance.now()
  t.mock.method(performance, 'now', () => now + 61_000)
  await a.meetings.callOver(connection, nowhere)
  assert.equal(b.calls.length, 62)
})

test('a call that somebody else made, or that is for somebody else, gets no answer', async (t) => {
  const [a, b, thief] = [await side(t, 'a'), await side(t, 'b'), await side(t, 'thief')]
  const call = callOf(a.key, b.key.publicKey)
  const connection = await connected(thief, b)
  await assert.rejects(say(connection, call))
  await assert.rejects(say(connection, callOf(thief.key, a.key.publicKey)))
  const changed = Uint8Array.from(call)
  changed[changed.length - 1] = (changed.at(-1) ?? 0) ^ 1
  const own = await connected(a, b)
  await assert.rejects(say(own, changed))
  assert.deepEqual(b.calls, [])
  // Nothing of it keeps the true one from being answered.
  assert.ok(parseAnswer(await say(own, call), call))
})

test('an answer that somebody else gives is passed over, and the true one counts', async (t) => {
  const place = await introducer(t)
  const [a, b, thief] = [await side(t, 'a'), await side(t, 'b'), await side(t, 'thief')]
  const line = await lineOf(t, a, place)
  const asked = Promise.withResolvers<Bytes>()
  const ofB = await lineOf(t, b, place, (_line, _key, message) => asked.resolve(message))
  const meeting = a.meetings.call(b.key.publicKey, [line], nowhere)
  const call = await asked.promise
  const from = { host: '127.0.0.1', port: 1 }
  const true1 = Promise.withResolvers<Bytes>()
  t.mock.method(ofB, 'send', async (_to: Bytes, message: Bytes) => true1.resolve(message))
  b.meetings.heard(ofB, a.key.publicKey, call, from)
  const answer = await true1.promise
  const forged = Uint8Array.from(answer)
  forged[forged.length - 1] = (forged.at(-1) ?? 0) ^ 1
  a.meetings.heard(line, b.key.publicKey, forged, from)
  a.meetings.heard(line, thief.key.publicKey, answer, from)
  a.meetings.heard(line, b.key.publicKey, answer, { host: '192.0.2.7', port: 7 })
  assert.deepEqual((await meeting).seen, { host: '192.0.2.7', port: 7 })
})

test('whom no introducer knows is unreachable, and so is everybody where there is no line', async (t) => {
  const place = await introducer(t)
  const [a, b] = [await side(t, 'a'), await side(t, 'b')]
  const line = await lineOf(t, a, place)
  for (const lines of [[line], []]) {
    await assert.rejects(a.meetings.call(b.key.publicKey, lines, nowhere), { code: 'peer_unreachable' })
  }
})

test('a call that is not answered in time has timed out, and one that is stopped stops', async (t) => {
  const place = await introducer(t)
  const [a, b] = [await side(t, 'a'), await side(t, 'b')]
  const line = await lineOf(t, a, place)
  let called = Promise.withResolvers<void>()
  await lineOf(t, b, place, () => called.resolve())
  const runOut = heldTimeouts(t)
  const late = a.meetings.call(b.key.publicKey, [line], nowhere)
  await called.promise
  runOut(5_000)
  await assert.rejects(late, { code: 'timed_out' })
  called = Promise.withResolvers<void>()
  const stop = new AbortController()
  const stopped = a.meetings.call(b.key.publicKey, [line], stop.signal)
  await called.promise
  stop.abort()
  await assert.rejects(stopped, { code: 'interrupted' })
})
