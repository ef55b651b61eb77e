/** The resolver's judgement: pins, conflicts, liars, and what the person decides. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Known, Policy } from '../../node/contract.ts'
import { type Claim, chainId } from '../../node/core/claim.ts'
import { type Bytes, toHex } from '../../node/core/encoding.ts'
import { type ErrorCode, isError } from '../../node/core/errors.ts'
import { type KeyPair, sha256 } from '../../node/core/keys.ts'
import { encodeNamed, type Lease, leaseDhtKey } from '../../node/core/lease.ts'
import { keyNameOf, parseName } from '../../node/core/name.ts'
import { encodeProof, type Proof } from '../../node/core/proof.ts'
import { type Realm, realmId } from '../../node/core/realm.ts'
import { zoneDhtKey } from '../../node/core/zone.ts'
import type { NetworkRecord } from '../../node/net/record-network.ts'
import { Trust } from '../../node/trust.ts'
import {
  firstClaim,
  leaseOf,
  nextRecovery,
  owner,
  pairOf,
  realmOfWitnesses,
  recovery,
  START,
  thief,
} from '../helpers/leases.ts'
import { findProof } from '../helpers/signed.ts'
import { zoneAt } from '../helpers/zones.ts'
import { Clock, DAY, emptyDisk, FakeNetwork, HOUR, settled, startHome } from './harness.ts'

const t0 = START * 1000
const four = realmOfWitnesses(4)
const first = firstClaim(four)
const OWNER = keyNameOf(owner.publicKey)
const THIEF = keyNameOf(thief.publicKey)

const mine = (indices?: number[], change: Partial<Claim> = {}, realm = four): Lease =>
  leaseOf(firstClaim(realm, change), realm, indices ? { indices } : {})
const theirs = (indices?: number[], change: Partial<Claim> = {}, realm = four): Lease =>
  leaseOf(firstClaim(realm, { owner: thief.publicKey, ...change }), realm, {
    by: thief,
    ...(indices ? { indices } : {}),
  })
const next = (previous: Claim, days: number, change: Partial<Claim> = {}): Claim => ({
  ...previous,
  chain: chainId(previous),
  version: previous.version + 1,
  from: START + days * 86_400,
  until: START + (days + 90) * 86_400,
  ...change,
})
const keyOf = (lease: Lease) => leaseDhtKey(realmId(lease.realm), lease.claim.name)
const named = (lease: Lease, pair: KeyPair = owner, atMs = t0): Bytes => encodeNamed(lease, zoneAt(pair, atMs).bytes)
const record = (value: Bytes): NetworkRecord => ({ value, source: 'dht' })

/** A reader that trusts `realms`, over a disk that outlives it. */
async function reader(realms: Realm[] = [four]) {
  const clock = new Clock()
  const network = new FakeNetwork(clock.now)
  const disk = emptyDisk()
  for (const { quorum, keys, bits } of realms) {
    const row = { quorum, keys: keys.map(toHex), bits, addresses: [] }
    await disk.realms.put(toHex(realmId({ quorum, keys, bits })), row)
  }
  const start = async () => {
    const home = await startHome({ clock, network, disk, seed: 77 })
    return { ...home, trust: new Trust({ ...home, petnames: disk.petnames }) }
  }
  const self = {
    clock,
    network,
    disk,
    ...(await start()),
    /** Plants what the network says of a name, and looks it up there. */
    sees: (lease: Lease, pair = owner, atMs = t0) => {
      network.plant(keyOf(lease), named(lease, pair, atMs))
      return self.lookup(`${lease.claim.name}.p2p`, 'network')
    },
    lookup: async (name: string, policy?: Policy): Promise<{ key: string; known: Known }> => {
      const { zone, known } = await self.names.lookup(parseName(name), policy ? { policy } : {})
      return { key: keyNameOf(zone.key), known }
    },
    dropped: () => four.keys.flatMap((key, i) => (self.proofs.dropped(realmId(four), key) ? [i] : [])),
    restart: async () => {
      Object.assign(self, await start())
    },
  }
  return self
}

const refuses = (work: Promise<unknown>, code: ErrorCode, message = /./) =>
  assert.rejects(work, (error) => {
    assert.ok(isError(error), String(error))
    assert.equal(error.code, code, error.message)
    assert.match(error.message, message)
    return true
  })

/** Makes the reader see witnesses `indices` lie, about a name that nobody cares for. */
async function seeLies({ sees }: Awaited<ReturnType<typeof reader>>, indices: number[]): Promise<void> {
  const other = { name: 'elsewhere' }
  const quorum = (special: number) => [...indices, special].sort((a, b) => a - b)
  const rest = [0, 1, 2, 3].filter((i) => !indices.includes(i))
  assert.ok(indices.length >= 2)
  await sees(mine(quorum(rest[0] as number), other))
  await refuses(sees(theirs(quorum(rest[1] as number), other), thief), 'pin_conflict')
}

test('an answer says how many witnesses signed it and since when the owner is known, over renewals and restarts', async () => {
  const self = await reader()
  assert.deepEqual((await self.sees(mine([0, 1, 3]))).known, {
    kind: 'lease',
    receipts: 3,
    witnesses: 4,
    pinned: new Date(t0).toISOString(),
    stale: false,
    source: 'dht',
  })
  self.clock.at = t0 + 31 * DAY
  await self.restart()
  const { known } = await self.sees(leaseOf(next(first, 31), four), owner, self.clock.at)
  assert.deepEqual([known.receipts, known.pinned], [4, new Date(t0).toISOString()])
})

test('who was handed the name is known since then', async () => {
  const self = await reader()
  await self.sees(mine())
  self.clock.at = t0 + DAY
  const change = { owner: thief.publicKey, recoveryHash: sha256(nextRecovery.publicKey) }
  const handed = leaseOf(next(first, 1, change), four, { mode: 1, by: recovery })
  const { key, known } = await self.sees(handed, thief, self.clock.at)
  assert.deepEqual([key, known.pinned, known.conflict], [THIEF, new Date(t0 + DAY).toISOString(), undefined])
})

test('a second owner is refused, reported with every answer, and kept for the person over a restart', async () => {
  const self = await reader()
  await self.sees(mine([0, 1, 2]))
  self.clock.at = t0 + HOUR
  await refuses(self.sees(theirs([1, 2, 3]), thief), 'pin_conflict', new RegExp(`${OWNER}.*another chain.*${THIEF}`))
  for (const restarted of [false, true]) {
    if (restarted) {
      self.network.records.clear()
      await self.restart()
    }
    const { key, known } = await self.lookup('alice.p2p')
    assert.equal(key, OWNER)
    assert.deepEqual(known.conflict, { owner: THIEF, since: new Date(t0 + HOUR).toISOString() })
    assert.deepEqual([known.receipts, known.liars], [1, 2], 'of the three receipts only one is honest')
    const { names, proofs } = await self.trust.list()
    assert.equal(names[0]?.owner, OWNER)
    assert.deepEqual(
      [names[0]?.conflict?.owner, names[0]?.conflict?.kind, names[0]?.conflict?.settled],
      [THIEF, 'lie', false],
    )
    assert.deepEqual(
      proofs.map(({ name }) => name),
      ['alice.p2p', 'alice.p2p'],
    )
    assert.deepEqual(self.dropped(), [1, 2])
  }
})

test('a lease that loses, an older one and one that comes late prove a lie as well as the one that is served', async () => {
  const [a, b] = [named(mine()), named(theirs(), thief)]
  for (const [served, other] of [
    [a, b],
    [b, a],
  ] as const) {
    for (const tell of ['onSeen', 'onNewer'] as const) {
      const self = await reader()
      let late: ((found: NetworkRecord) => void) | undefined
      self.network.answer = async (_key, options) => {
        late = options[tell]
        return record(served)
      }
      const { key } = await self.lookup('alice.p2p')
      assert.ok(late)
      late(record(other))
      await settled()
      assert.deepEqual(self.dropped(), [0, 1, 2, 3])
      assert.equal((await self.lookup('alice.p2p')).key, key)
    }
  }
})

test('a lie is found in leases that came from the cache, weeks apart and after the cache was cleared', async () => {
  const self = await reader()
  await self.sees(mine())
  await self.names.clearCache()
  await self.restart()
  self.clock.at = t0 + 60 * DAY
  await refuses(self.sees(theirs([0, 2, 3]), thief, self.clock.at), 'pin_conflict')
  assert.deepEqual(self.dropped(), [0, 2, 3])
})

test('the known owner is found although the liar is the fastest to answer', async () => {
  const self = await reader()
  await self.sees(mine())
  await self.names.clearCache()
  const [honest, liar] = [named(mine()), named(theirs(), thief)]
  let heard = 0
  self.network.answer = async (_key, { wait, onSeen }) => {
    heard++
    if (wait === 'best') onSeen?.(record(honest))
    return record(liar)
  }
  const { key, known } = await self.lookup('alice.p2p')
  assert.deepEqual([key, known.conflict?.owner, heard], [OWNER, THIEF, 2])
})

test("a liar's receipts count nowhere any more: what is new needs a quorum of the others", async () => {
  const self = await reader()
  await seeLies(self, [2, 3])
  assert.deepEqual(self.dropped(), [2, 3])
  for (const restarted of [false, true]) {
    if (restarted) await self.restart()
    await refuses(
      self.sees(mine()),
      'lease_invalid',
      /alice\.p2p has 2 of the 3 receipts that it needs, .* proven to have lied/,
    )
    assert.equal(await self.disk.pins.get('alice.p2p'), undefined, 'and nobody is believed to own it')
  }
})

test('one liar of four takes nothing from a lease that the others signed', async () => {
  const self = await reader()
  assert.equal(await self.proofs.add(findProof(mine([2]), theirs([2])) as Proof), true)
  const { known } = await self.sees(mine())
  assert.deepEqual([known.receipts, known.witnesses, known.liars], [3, 4, 1])
  await refuses(self.sees(mine([0, 1, 2], { name: 'bob' })), 'lease_invalid')
})

test('what was known before the lie goes on until its term ends; a renewal by liars prolongs nothing', async () => {
  const self = await reader()
  await self.sees(mine([0, 1, 2]))
  await seeLies(self, [1, 2])
  self.clock.at = t0 + 60 * DAY
  await self.restart()
  const renewed = leaseOf(next(first, 31), four, { indices: [0, 1, 2] })
  const { key, known } = await self.sees(renewed, owner, self.clock.at)
  assert.deepEqual([key, known.receipts, known.liars, known.stale], [OWNER, 1, 2, false])
  self.clock.at = first.until * 1000
  await refuses(self.sees(renewed, owner, self.clock.at), 'lease_invalid')
  await refuses(self.lookup('alice.p2p', 'cache-only'), 'name_not_found')
  const honest = leaseOf(next(first, 89), realmOfWitnesses(4))
  await refuses(self.sees(honest, owner, self.clock.at), 'lease_invalid')
})

test('liars cannot hand a known name to anybody, not even with a recovery key that was stolen', async () => {
  const self = await reader()
  await self.sees(mine())
  await seeLies(self, [0, 1])
  const change = { owner: thief.publicKey, recoveryHash: sha256(nextRecovery.publicKey) }
  const stolen = leaseOf(next(first, 1, change), four, { mode: 1, by: recovery })
  self.clock.at = t0 + DAY
  await refuses(self.sees(stolen, thief, self.clock.at), 'lease_invalid')
  assert.equal((await self.lookup('alice.p2p', 'cache-only')).key, OWNER)
})

test('a forged proof file drops no honest witness', async () => {
  const self = await reader()
  const good = findProof(mine(), theirs()) as Proof
  const three = realmOfWitnesses(3)
  const renewal = leaseOf(next(first, 31), four)
  const statement = ({ claim, receipts }: Lease, i = 0) => ({ claim, receipt: receipts[i] as Lease['receipts'][0] })
  const later = theirs(undefined, { from: first.until })
  for (const [what, change, code] of [
    ['another realm', { realm: three }, 'proof_invalid'],
    ['a claim of another realm', { second: statement(theirs(undefined, {}, three)) }, 'proof_invalid'],
    ['terms that do not overlap', { first: statement(mine()), second: statement(later) }, 'proof_invalid'],
    ['one chain', { first: statement(mine()), second: statement(renewal) }, 'proof_invalid'],
    ['the same receipt twice', { second: good.first }, 'proof_invalid'],
    ['two witnesses', { second: statement(theirs(), 1) }, 'proof_invalid'],
    [
      'a signature of somebody else',
      { second: { ...good.second, receipt: { ...statement(theirs(), 1).receipt, index: 0 } } },
      'signature_invalid',
    ],
  ] as [string, Partial<Proof>, ErrorCode][]) {
    // In either order, so that it is the rule in question that refuses it.
    const { first: one, second: other } = { ...good, ...change }
    const codes = await Promise.all(
      [
        [one, other],
        [other, one],
      ].map(async ([first, second]) => {
        const proof = { ...good, ...change, first, second } as Proof
        return self.trust.reportProof(toHex(encodeProof(proof))).then(
          () => 'taken',
          (error: unknown) => (isError(error) ? error.code : String(error)),
        )
      }),
    )
    assert.ok(codes.includes(code), `${what}: ${codes.join()}`)
    assert.ok(!codes.includes('taken'), what)
  }
  for (const garbage of ['', '00', '84', 'ff'.repeat(2000)]) {
    await assert.rejects(self.trust.reportProof(garbage), { code: /^(malformed|too_large)$/ })
  }
  assert.deepEqual(self.dropped(), [])
  assert.equal((await self.sees(mine([0, 1, 2]))).key, OWNER)
})

test('a proof from a file equals one that was found, and works the same', async () => {
  const finder = await reader()
  await finder.sees(mine([0, 1, 2]))
  await refuses(finder.sees(theirs([0, 1, 3]), thief), 'pin_conflict')
  const { proof, ...lie } = finder.trust.exportProof('alice.p2p')
  assert.deepEqual(
    new Set(lie.signed.map(({ owner }) => owner)),
    new Set([OWNER, THIEF]),
    'it tells whom the witness signed for',
  )
  assert.equal(finder.trust.exportProof(lie.witness).proof, proof)
  assert.throws(() => finder.trust.exportProof('bob.p2p'), { code: 'not_known' })

  const friend = await reader()
  assert.deepEqual(await friend.trust.reportProof(proof), { ...lie, counts: true })
  await friend.restart()
  assert.equal(friend.trust.exportProof(lie.witness).proof, proof)
  assert.deepEqual(friend.dropped(), [0])

  const stranger = await reader(
    [realmOfWitnesses(1)].filter(({ keys }) => toHex(keys[0] as Bytes) !== toHex(four.keys[0] as Bytes)),
  )
  assert.equal((await stranger.trust.reportProof(proof)).counts, false)
  assert.deepEqual((await stranger.trust.list()).proofs, [])
})

test('the person may believe the new owner, and that decision stays', async () => {
  const self = await reader()
  await self.sees(mine([0, 1, 2]))
  self.clock.at = t0 + HOUR
  await refuses(self.sees(theirs([0, 1, 2]), thief), 'pin_conflict')
  const accepted = await self.trust.acceptOwner('alice.p2p')
  assert.deepEqual([accepted.owner, accepted.since], [THIEF, new Date(t0 + HOUR).toISOString()])
  await self.restart()
  const { key, known } = await self.lookup('alice.p2p')
  assert.deepEqual([key, known.conflict], [THIEF, undefined])
  await refuses(self.sees(mine([0, 1, 2])), 'pin_conflict')
  assert.equal((await self.lookup('alice.p2p', 'cache-only')).known.conflict, undefined, 'it was decided')
  await refuses(self.trust.acceptOwner('alice.p2p'), 'not_known', /no open conflict/)
  assert.equal((await self.trust.acceptOwner('alice.p2p', OWNER)).owner, OWNER, 'and can be taken back')
  assert.equal((await self.lookup('alice.p2p')).key, OWNER)
})

test('the person may stay with the known owner, and is asked again only about somebody else', async () => {
  const self = await reader()
  await self.sees(mine())
  await refuses(self.sees(theirs(), thief), 'pin_conflict')
  const kept = await self.trust.acceptOwner('alice.p2p', OWNER)
  assert.deepEqual([kept.owner, kept.conflict?.settled], [OWNER, true])
  await refuses(self.sees(theirs(), thief), 'pin_conflict')
  self.network.records.clear()
  assert.equal((await self.sees(mine())).known.conflict, undefined)
  const third = pairOf(50)
  const another = leaseOf(firstClaim(four, { owner: third.publicKey }), four, { by: third })
  await refuses(self.sees(another, third), 'pin_conflict')
  assert.equal((await self.trust.list()).names[0]?.conflict?.owner, keyNameOf(third.publicKey))
})

test('a conflict that is open is not hidden by others that come after it', async () => {
  const self = await reader()
  await self.sees(mine())
  await refuses(self.sees(theirs(), thief), 'pin_conflict')
  for (let i = 0; i < 5; i++) {
    const pair = pairOf(50 + i)
    const other = leaseOf(firstClaim(four, { owner: pair.publicKey }), four, { by: pair })
    await refuses(self.sees(other, pair), 'pin_conflict')
  }
  assert.equal((await self.trust.list()).names[0]?.conflict?.owner, THIEF)
})

test('nobody can be accepted who was not seen', async () => {
  const self = await reader()
  await refuses(self.trust.acceptOwner('alice.p2p'), 'not_known')
  await refuses(self.trust.acceptOwner('alice.p2p', OWNER), 'not_known')
  await self.sees(mine())
  await refuses(self.trust.acceptOwner('alice.p2p'), 'not_known')
  await refuses(self.trust.acceptOwner('alice.p2p', THIEF), 'not_known')
  await refuses(self.trust.acceptOwner(OWNER), 'name_invalid')
  await refuses(self.trust.acceptOwner('www.alice.p2p'), 'name_invalid')
  assert.equal((await self.lookup('alice.p2p')).key, OWNER)
})

test('why two leases do not go together is told: lie, end of term, unsigned change, other realm', async () => {
  const one = realmOfWitnesses(1)
  const after = first.until
  const change = { owner: thief.publicKey, recoveryHash: sha256(nextRecovery.publicKey) }
  for (const [kind, other, said, liars] of [
    ['lie', theirs(), /another chain for the same time/, 4],
    ['ended', theirs(undefined, { from: after }), /after that one had ended/, 0],
    ['unexplained', leaseOf(next(first, 1, change), four, { mode: 1, by: thief }), /does not follow/, 0],
    ['other_realm', theirs(undefined, {}, one), /another realm/, 0],
  ] as const) {
    const self = await reader([four, one])
    await self.sees(mine())
    self.clock.at = other.claim.from * 1000
    self.network.records.clear()
    await refuses(self.sees(other, thief, self.clock.at), 'pin_conflict', said)
    assert.equal((await self.trust.list()).names[0]?.conflict?.kind, kind)
    assert.equal(self.proofs.all().length, liars, kind)
  }
})

test('a name that is forgotten is seen as for the first time; the liars stay liars', async () => {
  const self = await reader()
  await self.sees(mine([0, 1, 3]))
  await refuses(self.sees(theirs([0, 1, 2]), thief), 'pin_conflict')
  assert.deepEqual(await self.trust.forget('alice.p2p'), { kind: 'owner', name: 'alice.p2p' })
  await self.restart()
  await refuses(self.lookup('alice.p2p', 'cache-only'), 'name_not_found')
  await refuses(self.sees(theirs([0, 1, 2]), thief), 'lease_invalid')
  await refuses(self.trust.forget('alice.p2p'), 'not_known')
  await refuses(self.trust.forget('bob.pet.p2p'), 'not_known')
})

test('a realm is removed by the beginning of its id, and what was learnt from it goes with it', async () => {
  const self = await reader()
  await self.sees(mine())
  const id = toHex(realmId(four))
  assert.equal((await self.trust.list()).realms[0]?.id, id)
  for (const wrong of ['', id.slice(0, 7), `${id}0`, 'ffffffff'.replace('f', id[0] === 'f' ? '0' : 'f')]) {
    await refuses(self.trust.forget(wrong), 'not_known')
  }
  assert.deepEqual(await self.trust.forget(id.slice(0, 8).toUpperCase()), { kind: 'realm', name: id })
  await self.restart()
  await refuses(self.lookup('alice.p2p', 'cache-only'), 'name_not_found')
  await refuses(self.lookup('alice.p2p'), 'no_introducer')
})

test('a petname is tied to the key that a name leads to, whoever gets the name later', async () => {
  const self = await reader()
  self.network.plant(keyOf(mine()), named(mine()))
  self.network.plant(zoneDhtKey(owner.publicKey), zoneAt(owner, t0).bytes)
  assert.deepEqual(await self.trust.setPetname('bob', 'alice.p2p'), { name: 'bob.pet.p2p', keyName: OWNER })
  assert.deepEqual(await self.trust.setPetname('Carol.pet.p2p', OWNER), { name: 'carol.pet.p2p', keyName: OWNER })
  await refuses(self.sees(theirs(), thief), 'pin_conflict')
  await self.trust.acceptOwner('alice.p2p')
  const { key, known } = await self.lookup('bob.pet.p2p')
  assert.deepEqual([key, known], [OWNER, { kind: 'petname', stale: false, source: 'dht' }])
  assert.deepEqual(
    (await self.trust.list()).petnames.map(({ name }) => name),
    ['bob.pet.p2p', 'carol.pet.p2p'],
  )
  assert.deepEqual(await self.trust.setPetname('bob'), { name: 'bob.pet.p2p', keyName: OWNER })
  await refuses(self.lookup('bob.pet.p2p'), 'name_not_found')
  assert.deepEqual(await self.trust.forget('carol.pet.p2p'), { kind: 'petname', name: 'carol.pet.p2p' })
})

test('a petname that is none, or that leads nowhere, is refused', async () => {
  const self = await reader()
  for (const pet of ['', 'a b', 'alice.p2p', 'www.bob.pet.p2p', OWNER, '-', 'xn--a']) {
    await refuses(self.trust.setPetname(pet, OWNER), 'name_invalid')
  }
  await refuses(self.trust.setPetname('bob', 'nobody.p2p'), 'name_not_found')
  await refuses(self.trust.setPetname('bob', `www.${OWNER}`), 'name_invalid')
  await refuses(self.trust.setPetname('bob'), 'not_known')
  assert.deepEqual((await self.trust.list()).petnames, [])
})
