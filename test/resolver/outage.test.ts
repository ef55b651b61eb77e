/** The network is away for an hour, and comes back. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type TestContext, test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { createIntroducer } from '../../introducer/index.ts'
import { createNode, type Node } from '../../node/index.ts'
import { temporaryFolder } from '../helpers/folder.ts'
import { LOOPBACK } from '../helpers/testnet.ts'
import { a, type OverUdp, respond, startUpstream } from './fake-upstream.ts'
import { ask, Clock, type Decoded, extendedErrorOf, lookupIn, startResolver, zoneOf } from './harness.ts'

const SECOND = 1_000
const HOUR = 3_600_000
const STALE = 3

/** Address, TTL and extended error of an answer. */
function seen(answer: Decoded): [string | undefined, number | undefined, number | undefined] {
  const record = answer.answers?.[0]
  const [data, ttl] = record?.type === 'A' ? [record.data, record.ttl] : []
  return [data, ttl, extendedErrorOf(answer)?.[0]]
}

/** A home with its node or introducer in it, which can go and come back where it was. */
async function peer<T extends { stop(): Promise<void> }>(t: TestContext, start: (home: string) => Promise<T>) {
  const home = await temporaryFolder(t)
  let running: T | undefined
  const self = {
    async start(): Promise<T> {
      running = await start(home)
      return running
    },
    async stop(): Promise<void> {
      await running?.stop()
      running = undefined
    },
  }
  t.after(() => self.stop())
  return self
}

test('with the network gone for an hour names used before answer at once, marked stale, and are fresh again when it is back', async (t) => {
  const clock = { ms: Date.now(), now: (): number => clock.ms }
  const { now } = clock
  let listen = LOOPBACK
  const introducer = await peer(t, (home) => createIntroducer({ home, listen, bits: 4, now }))
  const { address, addresses } = await introducer.start()
  listen = addresses.map((one) => one.replace(/\/p2p\/.*$/, ''))
  const join = (home: string): Promise<Node> =>
    createNode({ home, introducers: [address], listen: LOOPBACK, lan: false, now })
  const [alice, bob] = [await peer(t, join), await peer(t, join)]
  let publisher = await alice.start()
  const reader = await bob.start()
  const names = ['n1.p2p', 'n2.p2p', 'n3.p2p', 'n4.p2p', 'n5.p2p']
  for (const name of names) await publisher.register({ name, records: [{ type: 'A', data: '192.0.2.1', ttl: 60 }] })
  const lookups: Promise<unknown>[] = []
  const { port } = await startResolver(t, {
    lookup(apex, options) {
      const found = reader.lookup(apex, options)
      lookups.push(found)
      return found
    },
    known: (apex) => reader.lookup(apex, { policy: 'cache-only' }),
    now,
  })
  const askFor = async (name: string) => seen(await ask(port, name, { edns: 1232 }))
  for (const name of names) assert.deepEqual(await askFor(name), ['192.0.2.1', 60, undefined])

  await Promise.all([introducer.stop(), alice.stop()])
  clock.ms += HOUR
  // Bob keeps these records for others as well; nobody says that they still hold.
  for (const name of names) assert.deepEqual(await askFor(name), ['192.0.2.1', 30, STALE])

  await introducer.start()
  publisher = await alice.start()
  await publisher.register({ name: 'n1.p2p', records: [{ type: 'A', data: '192.0.2.2', ttl: 60 }] })
  clock.ms += 30 * SECOND
  assert.deepEqual(await askFor('n1.p2p'), ['192.0.2.1', 30, STALE])
  await Promise.all(lookups)
  assert.deepEqual(await askFor('n1.p2p'), ['192.0.2.2', 60, undefined])
  for (const name of names.slice(1)) assert.deepEqual(await askFor(name), ['192.0.2.1', 60, undefined])
})

/** Lets time pass for what waits for it, and the packets of that time go to and fro. */
async function pass(t: TestContext, ms: number): Promise<void> {
  for (let passed = 0; passed < ms; passed += 100) {
    t.mock.timers.tick(100)
    await setImmediate()
  }
}

test('when nobody answers at all, a known name is answered after 1.8 s, and at once when that happened three times', async (t) => {
  const zone = zoneOf([{ type: 'A', data: '192.0.2.1', ttl: 60 }])
  const clock = new Clock()
  let isBack = false
  const lookedUp: string[] = []
  const { port } = await startResolver(t, {
    known: async () => ({ zone, expiresAt: clock.ms, stale: true }),
    lookup: async (apex, { signal }) => {
      lookedUp.push(apex)
      if (isBack) return { zone, expiresAt: clock.ms + HOUR, stale: false }
      await once(signal, 'abort')
      throw signal.reason as Error
    },
    now: clock.now,
  })
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const askFor = async (name: string) => seen(await ask(port, name, { edns: 1232 }))
  for (const name of ['n1.p2p', 'n2.p2p', 'n3.p2p']) {
    const answer = askFor(name)
    while (!lookedUp.includes(name)) await setImmediate()
    await pass(t, 1_800)
    assert.deepEqual(await answer, ['192.0.2.1', 30, STALE])
    await pass(t, 2_200)
  }
  // No time passes any more.
  assert.deepEqual(await askFor('n4.p2p'), ['192.0.2.1', 30, STALE])
  isBack = true
  assert.deepEqual(await askFor('n5.p2p'), ['192.0.2.1', 30, STALE])
  for (const name of ['n5.p2p', 'n1.p2p']) assert.deepEqual(await askFor(name), ['192.0.2.1', 60, undefined])
})

test('with the upstream gone for an hour names used before answer, soon at once, marked stale, and are fresh again when it is back', async (t) => {
  let address = '198.51.100.1'
  const well: OverUdp = (packet, send) => send(respond(packet, { answers: [a(address, 60)] }))
  const upstream = await startUpstream(t, well)
  const clock = new Clock()
  const { port } = await startResolver(t, {
    lookup: lookupIn({}, clock.now),
    upstream: upstream.address,
    now: clock.now,
  })
  const askFor = async (name: string) => seen(await ask(port, name, { edns: 1232 }))
  const names = ['n1.example', 'n2.example', 'n3.example', 'n4.example', 'n5.example']
  for (const name of names) assert.deepEqual(await askFor(name), [address, 60, undefined])

  upstream.behave(() => {})
  clock.ms += HOUR
  t.mock.timers.enable({ apis: ['setTimeout'] })
  for (const name of names.slice(0, 3)) {
    const asked = upstream.asked.length
    const answer = askFor(name)
    while (upstream.asked.length === asked) await setImmediate()
    await pass(t, 1_800)
    assert.deepEqual(await answer, [address, 30, STALE])
    await pass(t, 2_200)
  }
  for (const name of names) assert.deepEqual(await askFor(name), [address, 30, STALE])
  await pass(t, 4_000)

  upstream.behave(well)
  const old = address
  address = '198.51.100.2'
  // A failure is repeated for 30 s at most.
  clock.ms += 30 * SECOND
  let answer = await askFor('n1.example')
  assert.deepEqual(answer, [old, 30, STALE])
  while (answer[0] === old) answer = await askFor('n1.example')
  assert.deepEqual(answer, [address, 60, undefined])
  for (const name of names) assert.deepEqual(await askFor(name), [address, 60, undefined])
})
