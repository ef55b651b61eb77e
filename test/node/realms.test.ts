import assert from 'node:assert/strict'
import { test } from 'node:test'
import { toHex } from '../../node/core/encoding.ts'
import { realmId, realmOf } from '../../node/core/realm.ts'
import { type PinnedRealm, Realms } from '../../node/realms.ts'
import { pairOf, START } from '../helpers/leases.ts'
import { signDescriptor } from '../helpers/signed.ts'
import { memoryTable } from '../helpers/table.ts'
import { Clock, FakeIntroducer } from './harness.ts'

const [pair, other] = [pairOf(100), pairOf(42)]

function describing(signer = pair, keys = [signer.publicKey]): FakeIntroducer {
  const introducer = new FakeIntroducer(new Clock(), { pair })
  const realm = realmOf(keys, 2)
  introducer.describe = () => signDescriptor({ realm, displayName: '', addresses: [], issued: START }, signer)
  return introducer
}

test('the realm of an introducer is pinned, and still is after a restart', async () => {
  const table = memoryTable<PinnedRealm>()
  const realms = new Realms(table)
  const introducer = describing()
  const realm = await realms.pinFrom(introducer)
  assert.deepEqual(realm, introducer.realm)
  await realms.pinFrom(introducer)
  const again = new Realms(table)
  await again.load()
  for (const loaded of [realms, again]) {
    assert.deepEqual(
      loaded.all().map((one) => toHex(realmId(one))),
      [toHex(realmId(introducer.realm))],
    )
  }
})

test('a realm that the introducer is no witness of is not pinned', async () => {
  const table = memoryTable<PinnedRealm>()
  const realms = new Realms(table)
  assert.equal(await realms.pinFrom(describing(other)), undefined)
  assert.deepEqual(realms.all(), [])
})

test('a realm that its quorum did not sign is refused', async () => {
  const realms = new Realms(memoryTable<PinnedRealm>())
  const introducer = describing(pair, [pair.publicKey, other.publicKey])
  await assert.rejects(realms.pinFrom(introducer), { code: 'signature_invalid' })
  const bytes = introducer.describe()
  for (const broken of [bytes.subarray(1), new Uint8Array(0), new Uint8Array(9000)]) {
    introducer.describe = () => broken
    await assert.rejects(realms.pinFrom(introducer), (error) => (error as { exitCode?: number }).exitCode === 4)
  }
  assert.deepEqual(realms.all(), [])
})

test('an introducer that is away is no reason to forget its realm', async () => {
  const realms = new Realms(memoryTable<PinnedRealm>())
  const introducer = describing()
  await realms.pinFrom(introducer)
  introducer.up = false
  await assert.rejects(realms.pinFrom(introducer), { code: 'network_unreachable' })
  assert.equal(realms.all().length, 1)
})

test('the addresses of the newest descriptor count, in whatever order they come, and are kept', async () => {
  const table = memoryTable<PinnedRealm>()
  const realms = new Realms(table)
  const introducer = describing()
  const { realm } = introducer
  const says = async (issued: number, address: string) => {
    introducer.describe = () => signDescriptor({ realm, displayName: '', addresses: [address], issued }, pair)
    await realms.pinFrom(introducer)
    return realms.addressesOf(realm)
  }
  assert.deepEqual(await says(START, 'first'), ['first'])
  assert.deepEqual(await says(START + 60, 'second'), ['second'])
  assert.deepEqual(await says(START + 30, 'old'), ['second'])
  const again = new Realms(table)
  await again.load()
  assert.deepEqual(again.addressesOf(realm), ['second'])
})

test('a realm that was removed comes back only when the person points at it again', async () => {
  const table = memoryTable<PinnedRealm>()
  const realms = new Realms(table)
  const introducer = describing()
  await realms.pinFrom(introducer)
  await realms.remove(realmId(introducer.realm))
  const again = new Realms(table)
  await again.load()
  for (const one of [realms, again]) {
    assert.equal(await one.pinFrom(introducer), undefined)
    assert.deepEqual(one.all(), [])
    assert.equal(one.withWitness(pair.publicKey), undefined)
  }
  assert.notEqual(await again.pinFrom(introducer, undefined, true), undefined)
  assert.equal(again.all().length, 1)
})

test('of several realms of one witness the one that was issued last counts', async () => {
  const realms = new Realms(memoryTable<PinnedRealm>())
  const introducer = describing()
  for (const [bits, issued] of [
    [2, START],
    [4, START + 60],
    [3, START + 30],
  ] as const) {
    const realm = realmOf([pair.publicKey], bits)
    introducer.describe = () => signDescriptor({ realm, displayName: '', addresses: [], issued }, pair)
    await realms.pinFrom(introducer)
  }
  assert.equal(realms.withWitness(pair.publicKey)?.bits, 4)
  assert.equal(realms.withWitness(other.publicKey), undefined)
})
