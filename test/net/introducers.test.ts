import assert from 'node:assert/strict'
import { createServer } from 'node:net'
import { type TestContext, test } from 'node:test'
import { multiaddr } from '@multiformats/multiaddr'
import { createIntroducer } from '../../introducer/index.ts'
import { type CborValue, equalBytes } from '../../node/core/encoding.ts'
import { P2pnsError } from '../../node/core/errors.ts'
import { zoneDhtKey } from '../../node/core/zone.ts'
import { Introducer, putToAll } from '../../node/net/introducers.ts'
import type { Handler } from '../../node/net/rpc.ts'
import { temporaryFolder } from '../helpers/folder.ts'
import { honestHost } from '../helpers/hosts.ts'
import { introducerOf } from '../helpers/introducers.ts'
import { LOOPBACK } from '../helpers/testnet.ts'
import { heldTimeouts } from '../helpers/timeouts.ts'
import { pairOf, zoneAt } from '../helpers/zones.ts'

const pair = pairOf(9)
const key = zoneDhtKey(pair.publicKey)
const older = zoneAt(pair, Date.now() - 60_000, '192.0.2.1').bytes
const newer = zoneAt(pair, Date.now() - 1_000, '192.0.2.2').bytes
const PEER = '12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp'

/** An introducer that gives one answer to whatever it is asked, seen from a node. */
async function answering(t: TestContext, reply: CborValue | Handler): Promise<Introducer> {
  const asker = await honestHost(t, 'asker')
  return introducerOf(t, asker, 'introducer', typeof reply === 'function' ? reply : async () => reply)
}

test('an address without the peer id of an introducer is refused before it is dialled', async (t) => {
  const { libp2p } = await honestHost(t, 'asker')
  for (const address of [
    '',
    'alice.p2p',
    '127.0.0.1:4001',
    '/ip4/127.0.0.1/tcp/4001',
    '/ip4/127.0.0.1/tcp/4001/p2p/QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N',
  ]) {
    assert.throws(() => new Introducer(libp2p, address, Date.now), { code: 'usage' }, address)
  }
})

test('all questions go over one stream', async (t) => {
  const asker = await honestHost(t, 'asker')
  const introducer = await introducerOf(t, asker, 'introducer', async () => [])
  const questions = Array.from({ length: 20 }, () => introducer.get(key))
  assert.deepEqual(
    await Promise.all(questions),
    questions.map(() => undefined),
  )
  const streams = asker.libp2p.getConnections().flatMap((connection) => connection.streams)
  assert.equal(streams.filter(({ protocol }) => protocol === '/p2pns/introducer/1').length, 1)
  assert.equal(introducer.connected, true)
})

test('a record is taken from an introducer only if it proves itself', async (t) => {
  let reply: CborValue = []
  const introducer = await answering(t, async () => reply)
  const ask = async (answer: CborValue) => {
    reply = answer
    return introducer.get(key)
  }
  assert.equal(await ask([]), undefined)
  assert.ok(equalBytes((await ask([newer])) ?? new Uint8Array(0), newer))

  const forged = Uint8Array.from(newer)
  forged[40] = (forged[40] as number) ^ 1
  await assert.rejects(ask([forged]), { code: 'signature_invalid' })
  await assert.rejects(ask([zoneAt(pairOf(10), Date.now()).bytes]), { code: 'key_mismatch' })
  await assert.rejects(ask([zoneAt(pair, Date.now() + 3_600_000).bytes]), { code: 'seq_in_future' })
  await assert.rejects(ask([new Uint8Array(10_000)]), { code: 'too_large' })
  await assert.rejects(ask([new Uint8Array(0)]), { code: 'key_mismatch' })
  for (const alien of [7, 'none', [[]], ['text'], [7], newer] as CborValue[]) {
    await assert.rejects(ask(alien), { code: 'frame_invalid' })
  }
  assert.equal(introducer.connected, true)
})

test('of the peers that an introducer names 64 at most are taken, and nothing but text', async (t) => {
  let reply: CborValue = []
  const introducer = await answering(t, async () => reply)
  reply = [1, 'a', new Uint8Array(1), ...Array.from({ length: 100 }, () => 'b')]
  assert.deepEqual(await introducer.peers(), ['a', ...Array.from({ length: 63 }, () => 'b')])
  reply = 'peers'
  await assert.rejects(introducer.peers(), { code: 'frame_invalid' })
})

test('what is no descriptor and no receipt is refused', async (t) => {
  const introducer = await answering(t, [])
  await assert.rejects(introducer.descriptor(), { code: 'frame_invalid' })
  await assert.rejects(introducer.claim(new Uint8Array(1), new Uint8Array(1)), { code: 'frame_invalid' })
  const other = await answering(t, new Uint8Array(8))
  await assert.rejects(other.descriptor(), { code: 'malformed' })
})

/** An address on which nobody listens any more. */
async function deadAddress(): Promise<string> {
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const { port } = server.address() as { port: number }
  await new Promise((resolve) => server.close(resolve))
  return `/ip4/127.0.0.1/tcp/${port}/p2p/${PEER}`
}

test('an introducer that is away is not dialled again by every question', async (t) => {
  const { libp2p } = await honestHost(t, 'asker')
  let now = 1_000_000
  const introducer = new Introducer(libp2p, await deadAddress(), () => now)
  const dial = t.mock.method(libp2p, 'dialProtocol')
  const ask = () => assert.rejects(introducer.get(key), { code: 'network_unreachable', message: /does not answer/ })
  await Promise.all([ask(), ask(), ask()])
  assert.equal(dial.mock.callCount(), 1)
  now += 4_999
  await ask()
  assert.equal(dial.mock.callCount(), 1)
  now += 1
  await ask()
  assert.equal(dial.mock.callCount(), 2)
  // A clock that was set back an hour does not keep the introducer away for that hour.
  now -= 3_600_000
  await ask()
  assert.equal(dial.mock.callCount(), 3)
})

test('an introducer with another key than its address says is not talked to', async (t) => {
  const [asker, host] = [await honestHost(t, 'asker'), await honestHost(t, 'host')]
  const address = multiaddr(host.libp2p.getMultiaddrs()[0]).toString().replace(host.libp2p.peerId.toString(), PEER)
  await assert.rejects(new Introducer(asker.libp2p, address, Date.now).peers(), { code: 'network_unreachable' })
})

test('a peer that is no introducer is an error that names it', async (t) => {
  const [asker, host] = [await honestHost(t, 'asker'), await honestHost(t, 'host')]
  const address = multiaddr(host.libp2p.getMultiaddrs()[0]).toString()
  const introducer = new Introducer(asker.libp2p, address, Date.now)
  await assert.rejects(introducer.peers(), { code: 'network_unreachable', message: new RegExp(address) })
})

test('the kept stream is opened again after the introducer was restarted', async (t) => {
  const home = await temporaryFolder(t)
  const asker = await honestHost(t, 'asker')
  const first = await createIntroducer({ home, listen: LOOPBACK, bits: 0 })
  const introducer = new Introducer(asker.libp2p, first.address, Date.now)
  assert.deepEqual(await introducer.peers(), [])
  const ended = new Promise((resolve) => asker.libp2p.addEventListener('peer:disconnect', resolve))
  await first.stop()
  await ended
  assert.equal(introducer.connected, false)

  const second = await createIntroducer({ home, listen: [first.address.replace(/\/p2p\/.*/, '')], bits: 0 })
  t.after(() => second.stop())
  assert.equal(second.address, first.address)
  assert.deepEqual(await introducer.peers(), [])
  assert.equal(introducer.connected, true)
})

test('a question that is given up leaves the stream to the others', async (t) => {
  const introducer = await answering(t, (method) => (method === 'peers' ? new Promise(() => {}) : Promise.resolve([])))
  await introducer.connect()
  const stop = new AbortController()
  const call = introducer.peers(stop.signal)
  stop.abort()
  await assert.rejects(call, { code: 'interrupted' })
  assert.equal(await introducer.get(key), undefined)
})

test('a question to an introducer that is silent ends with its own error', async (t) => {
  const introducer = await answering(t, () => new Promise(() => {}))
  await introducer.connect()
  const runOut = heldTimeouts(t)
  const call = introducer.get(key)
  // The question is asked a turn later, over the stream that is there.
  await new Promise((resolve) => setImmediate(resolve))
  runOut(10_000)
  await assert.rejects(call, { code: 'timed_out' })
})

const refusing = (held?: Uint8Array): Handler => {
  return async (method) => {
    if (method === 'put') throw new P2pnsError('record_older', 'A newer one is here')
    return held === undefined ? [] : [held]
  }
}

test('a put counts the introducers that took the record', async (t) => {
  const asker = await honestHost(t, 'asker')
  const broken = async () => {
    throw new Error('broken')
  }
  const introducers = [
    await introducerOf(t, asker, 'one', async () => 1),
    await introducerOf(t, asker, 'two', async () => 1),
    await introducerOf(t, asker, 'broken', broken),
    new Introducer(asker.libp2p, await deadAddress(), Date.now),
  ]
  assert.equal(await putToAll(introducers, key, newer), 2)
  assert.equal(await putToAll([], key, newer), 0)
})

test('a put fails as older when an introducer shows a newer record', async (t) => {
  const asker = await honestHost(t, 'asker')
  const introducers = [
    await introducerOf(t, asker, 'honest', refusing(newer)),
    await introducerOf(t, asker, 'other', async () => 1),
  ]
  await assert.rejects(putToAll(introducers, key, older), { code: 'record_older' })
})

test('an introducer that only says that it holds a newer record stops nobody', async (t) => {
  const forged = Uint8Array.from(newer)
  forged[40] = (forged[40] as number) ^ 1
  const asker = await honestHost(t, 'asker')
  const liars = [
    await introducerOf(t, asker, 'nothing', refusing()),
    await introducerOf(t, asker, 'forged', refusing(forged)),
    await introducerOf(t, asker, 'older', refusing(older)),
    await introducerOf(t, asker, 'same', refusing(newer)),
  ]
  assert.equal(await putToAll([...liars, await introducerOf(t, asker, 'good', async () => 1)], key, newer), 1)
})
