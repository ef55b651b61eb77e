import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { P2pnsError } from '../../node/core/errors.ts'
import { zoneDhtKey } from '../../node/core/zone.ts'
import type { Found } from '../../node/net/dht.ts'
import { Introducer } from '../../node/net/introducers.ts'
import { createRecordNetwork, type NetworkRecord } from '../../node/net/record-network.ts'
import { honestHost } from '../helpers/hosts.ts'
import { pairOf, zoneAt } from '../helpers/zones.ts'

const pair = pairOf(9)
const key = zoneDhtKey(pair.publicKey)
const NOW = 1_800_000_000_000
const older = zoneAt(pair, NOW - 60_000, '192.0.2.1').bytes
const newer = zoneAt(pair, NOW - 1_000, '192.0.2.2').bytes
const PEER = '12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp'

type Answer = Uint8Array | undefined
type Source = (signal?: AbortSignal) => Promise<Answer>

const says = (answer: Answer) => async () => answer
const fails = (error: Error) => () => Promise.reject(error)
const silent: Source = () => new Promise(() => {})
/** Silent until the question is given up. */
const patient: Source = (signal) =>
  new Promise((_, reject) => signal?.addEventListener('abort', () => reject(signal.reason as Error)))

const timedOut = new P2pnsError('timed_out', 'The introducer did not answer "get" in time')
const forged = new P2pnsError('signature_invalid', 'The signature is wrong')
const nobody = new P2pnsError('network_unreachable', 'No node of the network answered')

/** The network of a node whose DHT and introducers answer as given. */
async function networkOf(
  t: TestContext,
  dht: Source,
  introducers: Source[],
  puts: (number | Error)[] = [],
  { alone = false, connected = false } = {},
) {
  const host = await honestHost(t, 'asker', { role: 'visitor' })
  t.mock.method(host.dht, 'get', async (_key: Uint8Array, { signal }: { signal?: AbortSignal } = {}) => {
    const value = await dht(signal)
    return value && ({ value, answers: 1, alone } satisfies Found)
  })
  t.mock.method(host.dht, 'put', async () => 3)
  const mocked = introducers.map((source, i) => {
    const introducer = new Introducer(host.libp2p, `/ip4/127.0.0.1/tcp/1/p2p/${PEER}`, () => NOW)
    t.mock.method(introducer, 'get', (_key: Uint8Array, signal?: AbortSignal) => source(signal))
    t.mock.getter(introducer, 'connected', () => connected)
    t.mock.method(introducer, 'put', async () => {
      const outcome = puts[i]
      if (outcome instanceof Error) throw outcome
    })
    return introducer
  })
  return createRecordNetwork(host.dht, mocked, () => NOW)
}

test('the first valid answer wins, whoever gives it', async (t) => {
  const fromDht = await networkOf(t, says(newer), [silent, silent])
  assert.deepEqual(await fromDht.get(key), { value: newer, source: 'dht' })
  const fromIntroducer = await networkOf(t, silent, [silent, says(newer)])
  assert.deepEqual(await fromIntroducer.get(key), { value: newer, source: 'introducer' })
})

test('garbage from a hostile introducer and silence of another leave the answer of the DHT', async (t) => {
  const network = await networkOf(t, says(newer), [fails(forged), silent, fails(timedOut)])
  assert.deepEqual(await network.get(key), { value: newer, source: 'dht' })
})

test('an introducer that has nothing does not hide what the DHT has', async (t) => {
  const late = Promise.withResolvers<Answer>()
  const network = await networkOf(t, () => late.promise, [says(undefined)])
  const found = network.get(key)
  late.resolve(newer)
  assert.deepEqual(await found, { value: newer, source: 'dht' })
})

test('what only this node kept is given when nobody answers, and called that; an introducer that answers makes it an answer', async (t) => {
  const offline = await networkOf(t, says(older), [fails(timedOut)], [], { alone: true })
  assert.deepEqual(await offline.get(key), { value: older, source: 'dht', alone: true })
  const late = Promise.withResolvers<Answer>()
  const online = await networkOf(t, says(older), [() => late.promise], [], { alone: true })
  const found = online.get(key)
  late.resolve(newer)
  assert.deepEqual(await found, { value: newer, source: 'introducer' })
  const unknown = await networkOf(t, says(older), [says(undefined)], [], { alone: true })
  assert.deepEqual(await unknown.get(key), { value: older, source: 'dht' })
})

test('the DHT is asked after a connected introducer has answered, and at once when none is connected', async (t) => {
  const asked: string[] = []
  const answer = Promise.withResolvers<Answer>()
  const dht: Source = async () => void asked.push('dht')
  const says = async () => {
    asked.push('introducer')
    return answer.promise
  }
  const connected = await networkOf(t, dht, [says], [], { connected: true })
  const found = connected.get(key)
  await new Promise((resolve) => setImmediate(resolve))
  assert.deepEqual(asked, ['introducer'])
  answer.resolve(newer)
  assert.deepEqual(await found, { value: newer, source: 'introducer' })
  await new Promise((resolve) => setImmediate(resolve))
  assert.deepEqual(asked, ['introducer', 'dht'], 'it is asked all the same: it may have a newer one')

  asked.length = 0
  const away = await networkOf(t, dht, [says])
  await away.get(key)
  assert.deepEqual(asked, ['introducer', 'dht'])
})

test('a connected introducer that is silent does not keep the DHT from answering', async (t) => {
  const network = await networkOf(t, says(newer), [silent], [], { connected: true })
  assert.deepEqual(await network.get(key), { value: newer, source: 'dht' })
})

test('who is about to write does not wait for the introducer before the DHT is asked', async (t) => {
  const asked = Promise.withResolvers<void>()
  const dht: Source = async () => {
    asked.resolve()
    return undefined
  }
  const late = Promise.withResolvers<Answer>()
  const network = await networkOf(t, dht, [() => late.promise], [], { connected: true })
  const found = network.get(key, { wait: 'best' })
  await asked.promise
  late.resolve(newer)
  assert.deepEqual((await found)?.value, newer)
})

test('a newer record that comes later is told of, an older or equal one is not', async (t) => {
  const late = Promise.withResolvers<Answer>()
  const told = Promise.withResolvers<NetworkRecord>()
  const network = await networkOf(t, () => late.promise, [says(older), says(older)])
  const options = { onNewer: (record: NetworkRecord) => told.resolve(record) }
  assert.deepEqual(await network.get(key, options), { value: older, source: 'introducer' })
  late.resolve(newer)
  assert.deepEqual(await told.promise, { value: newer, source: 'dht' })

  const other = await networkOf(t, says(older), [says(newer), says(newer)])
  const unexpected = t.mock.fn()
  await other.get(key, { onNewer: unexpected })
  await new Promise((resolve) => setImmediate(resolve))
  // Whichever was first: nothing was told that does not replace it.
  assert.ok(unexpected.mock.calls.every(({ arguments: [record] }) => (record as NetworkRecord).value === newer))
  assert.ok(unexpected.mock.callCount() <= 1)
})

test('every valid answer is shown before it is thrown away, in whatever order they come', async (t) => {
  const oldest = zoneAt(pair, NOW - 90_000, '192.0.2.3').bytes
  for (const wait of ['first', 'best'] as const) {
    for (const [dht, introducers] of [
      [says(newer), [says(older), says(oldest), fails(forged)]],
      [says(oldest), [says(newer), says(older), says(undefined)]],
      [says(older), [says(oldest), says(newer)]],
    ] as [Source, Source[]][]) {
      const network = await networkOf(t, dht, introducers)
      const told = new Set<Uint8Array>()
      const tell = ({ value }: NetworkRecord) => void told.add(value)
      const found = await network.get(key, { wait, onNewer: tell, onSeen: tell })
      await new Promise((resolve) => setImmediate(resolve))
      if (found) told.add(found.value)
      assert.deepEqual([told.has(newer), told.has(older), told.has(oldest), told.size], [true, true, true, 3])
    }
  }
})

test('who is about to write hears every source and gets the best', async (t) => {
  for (const [dht, introducers] of [
    [says(newer), [says(older), fails(forged)]],
    [says(older), [says(undefined), says(newer)]],
    [fails(nobody), [says(older), says(newer)]],
  ] as [Source, Source[]][]) {
    const network = await networkOf(t, dht, introducers)
    assert.deepEqual((await network.get(key, { wait: 'best' }))?.value, newer)
  }
})

test('when those who answered have nothing there is nothing, and no error', async (t) => {
  const network = await networkOf(t, fails(nobody), [says(undefined), fails(timedOut)])
  assert.equal(await network.get(key), undefined)
  assert.equal(await network.get(key, { wait: 'best' }), undefined)
})

test('when nobody answered, whatever the reasons, the network is unreachable', async (t) => {
  for (const [dht, introducers] of [
    [fails(nobody), []],
    [fails(nobody), [fails(timedOut)]],
    [fails(nobody), [fails(forged), fails(timedOut)]],
    [fails(new Error('broken')), [fails(new P2pnsError('peer_unreachable', 'The stream ended'))]],
    [fails(new Error('broken')), []],
  ] as [Source, Source[]][]) {
    const network = await networkOf(t, dht, introducers)
    await assert.rejects(network.get(key), { code: 'network_unreachable' })
    await assert.rejects(network.get(key, { wait: 'best' }), { code: 'network_unreachable' })
  }
})

test('a lookup that is given up before all have answered is interrupted, not without result', async (t) => {
  const network = await networkOf(t, patient, [says(undefined), patient])
  const stop = new AbortController()
  const found = network.get(key, { signal: stop.signal })
  stop.abort()
  await assert.rejects(found, { code: 'interrupted' })
})

test('a put counts the nodes of the DHT and the introducers that took it', async (t) => {
  const network = await networkOf(t, silent, [says(undefined), says(undefined), says(undefined)], [1, timedOut, 1])
  assert.equal(await network.put(key, newer), 5)
})

test('a put fails as older only if somebody shows a newer record', async (t) => {
  const refused = new P2pnsError('record_older', 'A newer one is here')
  const honest = await networkOf(t, silent, [says(newer)], [refused])
  await assert.rejects(honest.put(key, older), { code: 'record_older' })
  const liar = await networkOf(t, silent, [says(older), fails(forged)], [refused, refused])
  assert.equal(await liar.put(key, newer), 3)
})
