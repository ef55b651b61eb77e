import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Lease } from '../../node/core/lease.ts'
import type { OwnZone } from '../../node/own-zones.ts'
import { expiryWarning, renewableFrom, renewalAt, startRenewal } from '../../node/renewal.ts'
import { firstClaim, leaseOf, realmOfWitnesses, START } from '../helpers/leases.ts'
import { Clock, DAY, settled } from './harness.ts'

const REALM = realmOfWitnesses(1)
const from = START * 1000

function leaseNamed(name: string): Lease {
  return leaseOf(firstClaim(REALM, { name }), REALM)
}

/** A node with these names; `renew` is what its renewals do. */
async function world(
  t: { after(work: () => Promise<void>): void },
  names: string[],
  renew = async (_label: string) => {},
) {
  const clock = new Clock()
  const zones = names.map((label) => ({ label, lease: leaseNamed(label) }) as OwnZone)
  const asked: string[] = []
  const renewal = startRenewal({
    zones: () => zones,
    now: clock.now,
    async renew(label, signal) {
      asked.push(label)
      signal.throwIfAborted()
      await renew(label)
    },
  })
  t.after(() => renewal.stop())
  await settled()
  return { clock, zones, asked, renewal }
}

test('a lease is renewed from its own time on, some days after the 30th, and the same after every restart', () => {
  const times = Array.from({ length: 50 }, (_, i) => renewalAt(leaseNamed(`name${i}`)))
  for (const time of times) assert.ok(time >= from + 30 * DAY && time < from + 35 * DAY)
  assert.ok(new Set(times.map((time) => Math.floor((time - from) / DAY))).size === 5, 'spread over the five days')
  assert.equal(renewalAt(leaseNamed('alice')), renewalAt(leaseNamed('alice')))
  assert.equal(renewableFrom(leaseNamed('alice')), from + 30 * DAY)
})

test('what is due is renewed, and nothing else', async (t) => {
  const { clock, zones, asked, renewal } = await world(t, ['alice', 'bob'])
  zones.push({ label: 'carol', lease: undefined } as OwnZone)
  await renewal.check()
  assert.equal(asked.length, 0)
  clock.at = renewalAt((zones[0] as { lease: Lease }).lease)
  await renewal.check()
  assert.ok(asked.includes('alice'))
  clock.at = from + 36 * DAY
  asked.splice(0)
  await renewal.check()
  assert.deepEqual(asked, ['alice', 'bob'])
})

test('one that fails is tried again, keeps no other from being renewed, and says what is wrong meanwhile', async (t) => {
  let isAway = true
  const { clock, asked, renewal } = await world(t, ['alice', 'bob'], async (label) => {
    if (label === 'alice' && isAway) throw new Error('the witnesses are away')
  })
  clock.at = from + 36 * DAY
  await renewal.check()
  assert.deepEqual(asked, ['alice', 'bob'])
  assert.match(renewal.trouble('alice')?.message ?? '', /away/)
  assert.equal(renewal.trouble('bob'), undefined)
  isAway = false
  await renewal.check()
  assert.equal(renewal.trouble('alice'), undefined)
})

test('it is tried every hour, and not twice at once', async (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] })
  const hold = Promise.withResolvers<void>()
  const { clock, asked } = await world(t, ['alice'], () => hold.promise)
  clock.at = from + 36 * DAY
  await settled()
  t.mock.timers.tick(3_600_000)
  t.mock.timers.tick(3_600_000)
  await settled()
  assert.deepEqual(asked, ['alice'])
  hold.resolve()
  await settled()
  t.mock.timers.tick(3_600_000)
  assert.deepEqual(asked, ['alice', 'alice'])
})

test('a release is not renewed, and neither is a name that anybody can have again', async (t) => {
  const { clock, zones, asked, renewal } = await world(t, ['alice'])
  clock.at = from + 119 * DAY
  await renewal.check()
  assert.deepEqual(asked, ['alice'])
  clock.at = from + 120 * DAY
  await renewal.check()
  assert.deepEqual(asked, ['alice'])
  const nobody = new Uint8Array(0)
  const { claim } = (zones[0] as { lease: Lease }).lease
  zones[0] = {
    label: 'alice',
    lease: leaseOf({ ...claim, owner: nobody, recoveryHash: nobody, version: 1, chain: new Uint8Array(32) }, REALM),
  } as OwnZone
  clock.at = from + 36 * DAY
  await renewal.check()
  assert.deepEqual(asked, ['alice'])
})

test('a person is warned from three weeks before the end, through the grace, and after it', () => {
  const lease = leaseNamed('alice')
  const end = from + 90 * DAY
  assert.equal(expiryWarning(lease, end - 22 * DAY), undefined)
  assert.match(expiryWarning(lease, end - 20 * DAY) ?? '', /^alice\.p2p ends in 20 days and was not renewed yet: keep/)
  assert.match(expiryWarning(lease, end - DAY, new Error('Nobody answers.')) ?? '', /\(Nobody answers\): keep a node/)
  assert.match(
    expiryWarning(lease, end + DAY) ?? '',
    /ended on \d{4}-\d\d-\d\d; until \d{4}-\d\d-\d\d nobody else can have it/,
  )
  assert.match(expiryWarning(lease, end + 30 * DAY) ?? '', /free for anybody: register it again/)
})
