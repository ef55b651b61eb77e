/** Real introducers of one realm in this process: what they tell each other besides claims. */
import assert from 'node:assert/strict'
import { rm } from 'node:fs/promises'
import * as path from 'node:path'
import { type TestContext, test } from 'node:test'
import { multiaddr } from '@multiformats/multiaddr'
import { MemoryDatastore } from 'datastore-core'
import { createIntroducer, type RunningIntroducer } from '../../introducer/index.ts'
import { encodeAuth, encodeClaim, signClaim } from '../../node/core/claim.ts'
import { type Descriptor, encodeBody, encodeDescriptor, parseDescriptor, signBody } from '../../node/core/descriptor.ts'
import { type CborValue, equalBytes } from '../../node/core/encoding.ts'
import { type KeyPair, nodeKey } from '../../node/core/keys.ts'
import { createHost } from '../../node/net/host.ts'
import { INTRODUCER_PROTOCOL, Introducer } from '../../node/net/introducers.ts'
import { RpcClient } from '../../node/net/rpc.ts'
import { loadSeed } from '../../node/seed.ts'
import { temporaryFolder } from '../helpers/folder.ts'
import { honestHost } from '../helpers/hosts.ts'
import { firstClaim, owner, pairOf, realmOfWitnesses, witnessesOf } from '../helpers/leases.ts'
import { LOOPBACK } from '../helpers/testnet.ts'
import { addressOf } from '../node/harness.ts'

const BITS = 4
const STRANGER = '12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp'

interface Place {
  home: string
  address: string
  pair: KeyPair
}

/** Homes of `count` introducers that have run once, alone. */
async function places(t: TestContext, count: number): Promise<Place[]> {
  const made: Place[] = []
  for (let i = 0; i < count; i++) {
    const home = await temporaryFolder(t)
    const once = await createIntroducer({ home, listen: LOOPBACK, bits: BITS })
    await once.stop()
    const { address } = once
    made.push({ home, address, pair: nodeKey(await loadSeed(home, () => assert.fail('there is a seed'))) })
  }
  return made
}

async function started(t: TestContext, { home, address }: Place, witnesses?: string[]): Promise<RunningIntroducer> {
  const listen = [address.replace(/\/p2p\/.*/, '')]
  const running = await createIntroducer({ home, listen, bits: BITS, ...(witnesses ? { witnesses } : {}) })
  t.after(() => running.stop())
  assert.equal(running.address, address)
  return running
}

async function seenBy(t: TestContext, seed: string, address: string): Promise<Introducer> {
  const { libp2p } = await honestHost(t, seed, { role: 'visitor' })
  return new Introducer(libp2p, address, Date.now)
}

test('a realm has a descriptor as soon as a quorum has met, with all addresses, and shows it after a restart too', async (t) => {
  const three = await places(t, 3)
  const addresses = three.map(({ address }) => address)
  const [a, b, c] = three as [Place, Place, Place]
  const first = await started(t, a, addresses)
  assert.deepEqual([first.realm.keys.length, first.realm.quorum], [3, 2])
  const seen = await seenBy(t, 'visitor', a.address)
  await assert.rejects(seen.descriptor(), (error) => {
    const { code, message } = error as { code: string; message: string }
    assert.equal(code, 'quorum_missing')
    for (const { address } of [b, c]) assert.ok(message.includes(address), message)
    return true
  })
  const second = await started(t, b, addresses)
  const isThere = async () => (await seen.descriptor().catch(() => undefined)) !== undefined
  while (!(await isThere())) await new Promise((resolve) => setImmediate(resolve))
  const { realm, addresses: told } = await seen.descriptor()
  assert.deepEqual(told.toSorted(), addresses.toSorted())
  assert.equal(realm.keys.length, 3)

  await first.stop()
  await second.stop()
  const again = await started(t, a)
  assert.equal(again.realm.keys.length, 3)
  assert.equal((await (await seenBy(t, 'later', a.address)).descriptor()).realm.keys.length, 3)
})

test('what is between witnesses is refused to everybody else', async (t) => {
  const two = await places(t, 2)
  const [a] = two as [Place, Place]
  const { realm } = await started(
    t,
    a,
    two.map(({ address }) => address),
  )
  const { libp2p } = await honestHost(t, 'stranger', { role: 'visitor' })
  const stream = new RpcClient(await libp2p.dialProtocol(multiaddr(a.address), INTRODUCER_PROTOCOL))
  const claim = firstClaim(realm, { from: Math.floor(Date.now() / 1000) })
  const body = encodeBody({ realm, displayName: '', addresses: [], issued: Math.floor(Date.now() / 1000) })
  const questions: [string, CborValue[]][] = [
    ['gossip', [encodeClaim(claim), encodeAuth(signClaim(claim, 0, owner))]],
    ['endorse', [body]],
    ['adopt', [encodeDescriptor(body, new Map(two.map(({ pair }, i) => [i, signBody(body, pair)])))]],
  ]
  for (const [method, args] of questions) {
    await assert.rejects(stream.call(method, args), { code: 'frame_invalid', message: /between the witnesses/ }, method)
  }
})

test('a witness signs no descriptor of another realm, of another time, or with addresses of strangers', async (t) => {
  const two = await places(t, 2)
  const [a, b] = two as [Place, Place]
  const addresses = two.map(({ address }) => address)
  const { realm } = await started(t, a, addresses)
  // The other witness is no introducer here, but whoever has its key.
  const host = await createHost({
    key: b.pair,
    listen: [],
    datastore: new MemoryDatastore(),
    role: 'visitor',
    lan: false,
    takers: {},
    now: Date.now,
  })
  t.after(() => host.stop())
  const asked = new Introducer(host.libp2p, a.address, Date.now)
  const now = Math.floor(Date.now() / 1000)
  const good = { realm, displayName: '', addresses, issued: now }
  const signature = await asked.endorse(encodeBody(good))
  const descriptor = encodeDescriptor(
    encodeBody(good),
    new Map(
      realm.keys.map((key, i) => [
        i,
        equalBytes(key, b.pair.publicKey) ? signBody(encodeBody(good), b.pair) : signature,
      ]),
    ),
  )
  assert.deepEqual(parseDescriptor(descriptor).addresses, addresses)
  await asked.adopt(descriptor)
  assert.equal((await asked.descriptor()).issued, now)

  const stranger = a.address.replace(/[^/]*$/, STRANGER)
  const changes: [change: Partial<Descriptor>, code: string][] = [
    [{ realm: realmOfWitnesses(2) }, 'lease_invalid'],
    [{ issued: now - 400 }, 'clock_wrong'],
    [{ issued: now + 400 }, 'clock_wrong'],
    [{ addresses: [...addresses, stranger] }, 'malformed'],
    [{ addresses: ['/ip4/127.0.0.1/tcp/1'] }, 'malformed'],
    [{ addresses: ['nonsense'] }, 'malformed'],
  ]
  for (const [change, code] of changes) {
    await assert.rejects(asked.endorse(encodeBody({ ...good, ...change })), { code }, JSON.stringify(change))
  }
  const older = encodeBody({ ...good, issued: now - 60 })
  const other = realmOfWitnesses(1)
  const [otherPair] = witnessesOf(1) as [KeyPair]
  const foreign = encodeBody({ ...good, realm: other })
  await assert.rejects(asked.adopt(encodeDescriptor(older, new Map([[0, signBody(older, b.pair)]]))), {
    code: 'signature_invalid',
  })
  await assert.rejects(asked.adopt(encodeDescriptor(foreign, new Map([[0, signBody(foreign, otherPair)]]))), {
    code: 'lease_invalid',
  })
  assert.equal((await asked.descriptor()).issued, now)
})

test('an introducer whose database is gone says so, until it is given up, and witnesses no new names', async (t) => {
  const [place] = (await places(t, 1)) as [Place]
  await rm(path.join(place.home, 'db'), { recursive: true })
  const running = await started(t, place)
  const days = ((running.lostUntil as number) * 1000 - Date.now()) / 86_400_000
  assert.ok(Math.abs(days - 90) < 0.1)
  const seen = await seenBy(t, 'visitor', place.address)
  const claim = firstClaim(running.realm, { from: Math.floor(Date.now() / 1000) })
  await assert.rejects(seen.claim(encodeClaim(claim), encodeAuth(signClaim(claim, 0, owner))), {
    code: 'peer_unreachable',
    message: /has lost its records/,
  })
  await running.stop()
  assert.equal((await started(t, place)).lostUntil, running.lostUntil)
})

test('a list of witnesses with an address that is none, or of too many, is refused and not kept', async (t) => {
  const [place] = (await places(t, 1)) as [Place]
  const listen = LOOPBACK
  const many = Array.from({ length: 16 }, (_, i) => addressOf(pairOf(i + 1).publicKey))
  for (const witnesses of [['nonsense'], ['/ip4/192.0.2.1/tcp/4001'], many]) {
    await assert.rejects(createIntroducer({ home: place.home, listen, bits: BITS, witnesses }), { code: 'usage' })
  }
  assert.equal((await started(t, place)).realm.keys.length, 1)
})
