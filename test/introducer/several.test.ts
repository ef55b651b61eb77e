/** Several witnesses of one realm, without sockets: the time of a hold passes when the test says so. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MAX_PER_DAY } from '../../introducer/limits.ts'
import { createWitness, type From, HOLD_MS, type Witness, type WitnessPeer } from '../../introducer/witness.ts'
import { type Claim, chainId, claimId, encodeClaim, mine, parseAuth, signClaim } from '../../node/core/claim.ts'
import { type Bytes, compareBytes } from '../../node/core/encoding.ts'
import { type ErrorCode, isError } from '../../node/core/errors.ts'
import { type KeyPair, sha256 } from '../../node/core/keys.ts'
import { compareLeases, type Lease, parseLease, type Receipt, verifyLease } from '../../node/core/lease.ts'
import { type Realm, realmId } from '../../node/core/realm.ts'
import {
  DAY,
  firstClaim,
  leaseOf,
  nextRecovery,
  owner,
  pairOf,
  realmOfWitnesses,
  recovery,
  START,
  thief,
  witnessesOf,
} from '../helpers/leases.ts'
import { settled } from '../node/harness.ts'

const realm = realmOfWitnesses(4, 4)

interface Member {
  witness: Witness
  disk: Map<string, Bytes>
  /** Whether the others reach it. */
  up: boolean
  /** What it shows the others of a name instead of the truth. */
  shows?: Lease
  restart(options?: { lostUntil?: number }): void
}

function world(count = 4) {
  const pairs = witnessesOf(count)
  const ours = realmOfWitnesses(count, 4)
  const waiting: (() => void)[] = []
  const members: Member[] = []
  const self = {
    /** Seconds. */
    at: START,
    members,
    realm: ours,
    /** What the DHT has. */
    published: undefined as Lease | undefined,
    /** Lets everything happen that waits for no time. */
    async settle() {
      for (let i = 0; i < 10; i++) await settled()
    },
    /** Lets a hold pass. */
    async pass() {
      await self.settle()
      self.at += HOLD_MS / 1000
      for (const go of waiting.splice(0)) go()
      await self.settle()
    },
    /** All witnesses stop, whatever they are at, and start again. */
    crash() {
      waiting.splice(0)
      for (const member of members) member.restart()
    },
    /** Asks each of `indices`, lets the hold pass, and tells what came of it: a receipt or the code of an error. */
    async ask(claim: Claim, by: KeyPair, options: { mode?: 0 | 1; previous?: Lease; indices?: number[] } = {}) {
      const answers = asked(self.members, claim, by, options)
      await self.pass()
      return answers
    },
  }
  const peer = (pair: KeyPair, i: number): WitnessPeer => {
    const reached = async (): Promise<Member> => {
      const member = members[i] as Member
      if (!member.up) throw new Error('away')
      return member
    }
    return {
      key: pair.publicKey,
      gossip: async (claim, auth, previous) => (await reached()).witness.gossip(claim, parseAuth(auth), previous),
      async lease(name) {
        const { witness, shows } = await reached()
        const held = shows ? undefined : await witness.lease(name)
        return shows ?? (held && parseLease(held))
      },
    }
  }
  pairs.forEach((pair, index) => {
    const disk = new Map<string, Bytes>()
    const start = (lostUntil?: number): Witness =>
      createWitness({
        pair,
        realm: ours,
        store: { get: async (name) => disk.get(name), put: async (name, bytes) => void disk.set(name, bytes) },
        now: () => self.at * 1000,
        wait: () => new Promise((resolve) => waiting.push(resolve)),
        peers: () => pairs.map(peer).filter((_, other) => other !== index),
        lookup: async () => self.published,
        ...(lostUntil ? { lostUntil: async () => lostUntil } : {}),
      })
    const member: Member = {
      witness: start(),
      disk,
      up: true,
      restart({ lostUntil } = {}) {
        member.witness = start(lostUntil)
      },
    }
    members.push(member)
  })
  return self
}

async function asked(
  members: Member[],
  claim: Claim,
  by: KeyPair,
  { mode = 0, previous, indices = members.map((_, i) => i) }: { mode?: 0 | 1; previous?: Lease; indices?: number[] },
): Promise<(Receipt | ErrorCode)[]> {
  const from: From = previous ? { previous } : {}
  const auth = signClaim(claim, mode, by)
  return Promise.all(
    indices.map((i) =>
      (members[i] as Member).witness.claim(encodeClaim(claim), auth, from).catch((error: unknown) => {
        assert.ok(isError(error), String(error))
        return error.code
      }),
    ),
  )
}

const codes = (answers: (Receipt | ErrorCode)[]) =>
  answers.map((answer) => (typeof answer === 'string' ? answer : 'signed'))
const signed = (answers: (Receipt | ErrorCode)[]) => answers.filter((answer) => typeof answer !== 'string')
const all = (what: string, count = 4) => Array.from({ length: count }, () => what)

function leaseFrom(claim: Claim, answers: (Receipt | ErrorCode)[], mode: 0 | 1 = 0, by = owner, of = realm): Lease {
  return { claim, auth: signClaim(claim, mode, by), receipts: signed(answers), realm: of }
}

const next = (last: Claim, change: Partial<Claim>): Claim => {
  const from = change.from ?? last.from
  return { ...last, chain: chainId(last), version: last.version + 1, until: from + 90 * DAY, ...change }
}

const first = firstClaim(realm)
const rival = firstClaim(realm, { owner: thief.publicKey, nonce: new Uint8Array(8) })
const [lower, higher] = compareBytes(claimId(first), claimId(rival)) < 0 ? [first, rival] : [rival, first]
const holder = (claim: Claim) => (claim === first ? owner : thief)

test('a first claim gets no receipt before its hold is over, and then one of every witness', async () => {
  const w = world()
  const answers = asked(w.members, first, owner, {})
  let answered = false
  void answers.then(() => (answered = true))
  await w.settle()
  assert.equal(answered, false)
  assert.ok(w.members.every(({ disk }) => disk.size === 0))
  await w.pass()
  const receipts = signed(await answers)
  verifyLease({ claim: first, auth: signClaim(first, 0, owner), receipts, realm }, w.at * 1000)
  assert.equal(receipts.length, 4)
})

test('a claim that one witness is asked for reaches the others, and is signed by all', async () => {
  const w = world()
  assert.deepEqual(codes(await w.ask(first, owner, { indices: [2] })), ['signed'])
  assert.ok(w.members.every(({ disk }) => disk.has('alice')))
  w.at += 3 * DAY
  assert.deepEqual(codes(await asked(w.members, first, owner, {})), all('signed'))
})

test('of claims that reach different witnesses all sign the one with the lowest hash', async () => {
  for (const [one, two] of [
    [lower, higher],
    [higher, lower],
  ] as const) {
    const w = world()
    const early = asked(w.members, one, holder(one), { indices: [0, 1] })
    await w.settle()
    const late = asked(w.members, two, holder(two), { indices: [2, 3] })
    await w.pass()
    const [winner, loser] = one === lower ? [await early, await late] : [await late, await early]
    assert.deepEqual([codes(winner), codes(loser)], [all('signed', 2), all('name_taken', 2)])
    assert.deepEqual(codes(await asked(w.members, lower, holder(lower), {})), all('signed'))
  }
})

test('a claim that comes after the hold is refused, however low its hash', async () => {
  const w = world()
  await w.ask(higher, holder(higher))
  assert.deepEqual(codes(await w.ask(lower, holder(lower))), all('name_taken'))
})

test('a claim that would be too old when its hold is over is not held', async () => {
  const w = world()
  w.at = START + 295
  assert.deepEqual(codes(await asked(w.members, first, owner, {})), all('clock_wrong'))
  w.at = START + 290
  assert.deepEqual(codes(await w.ask(first, owner)), all('signed'))
})

test('a crash while a claim is held leaves nothing behind', async () => {
  const w = world()
  void asked(w.members, higher, holder(higher), {})
  await w.settle()
  w.crash()
  assert.deepEqual(codes(await w.ask(rival, thief)), all('signed'))
})

test('a renewal is signed at once; one that was away needs the lease before it', async () => {
  const w = world()
  ;(w.members[3] as Member).up = false
  const lease = leaseFrom(first, await w.ask(first, owner, { indices: [0, 1, 2] }))
  w.at += 40 * DAY
  const renewal = next(first, { from: w.at })
  assert.deepEqual(codes(await asked(w.members, renewal, owner, {})), [...all('signed', 3), 'lease_invalid'])
  assert.deepEqual(codes(await asked(w.members, renewal, owner, { previous: lease })), all('signed'))
})

test('a witness that missed a version goes on from the lease that a quorum signed', async () => {
  const w = world()
  await w.ask(first, owner)
  w.at += 40 * DAY
  const second = next(first, { from: w.at })
  const lease = leaseFrom(second, await asked(w.members, second, owner, { indices: [0, 1, 2] }))
  w.at += 40 * DAY
  const third = next(second, { from: w.at })
  assert.deepEqual(codes(await asked(w.members, third, owner, {})), [...all('signed', 3), 'lease_invalid'])
  assert.deepEqual(codes(await asked(w.members, third, owner, { previous: lease })), all('signed'))
  // Shown again it takes nobody back.
  const other = { ...next(first, { from: w.at }), until: w.at + 80 * DAY }
  assert.deepEqual(codes(await asked(w.members, other, owner, { previous: lease })), all('record_older'))
})

test('a lease that no quorum signed does not make a witness skip a version', async () => {
  const w = world()
  await w.ask(first, owner)
  w.at += 40 * DAY
  const second = next(next(first, { from: w.at }), { from: w.at })
  const third = next(second, { from: w.at + 60 })
  const alone = leaseOf(second, realm, { indices: [0, 1] })
  assert.deepEqual(codes(await asked(w.members, third, owner, { previous: alone })), all('lease_invalid'))
})

test('a name that two others have signed for somebody else is refused, one alone does not count', async () => {
  for (const [liars, expected] of [
    [[1, 2], 'name_taken'],
    [[1], 'signed'],
  ] as const) {
    const w = world()
    for (const i of liars) (w.members[i] as Member).shows = leaseOf(rival, realm, { by: thief, indices: [i] })
    assert.deepEqual(codes(await w.ask(first, owner, { indices: [0] })), [expected], `${liars.length}`)
  }
})

test('what a peer shows counts only with its own good receipt', async () => {
  const w = world()
  const forged = leaseOf(rival, realm, { by: thief })
  const receipts = forged.receipts.map((receipt) => ({ ...receipt, signature: new Uint8Array(64) }))
  for (const i of [1, 2, 3]) (w.members[i] as Member).shows = { ...forged, receipts }
  assert.deepEqual(codes(await w.ask(first, owner, { indices: [0] })), ['signed'])
})

test('a lease that the DHT has holds the name, until it is free', async () => {
  const w = world()
  w.published = leaseOf(rival, realm, { by: thief })
  assert.deepEqual(codes(await w.ask(first, owner)), all('name_taken'))
  w.at = rival.until + 30 * DAY
  assert.deepEqual(codes(await w.ask(firstClaim(realm, { from: w.at }), owner)), all('signed'))
})

test('a witness that has lost its records signs what follows its own receipt, and nothing else, for a term', async () => {
  const w = world()
  const lease = leaseFrom(first, await w.ask(first, owner))
  const [member] = w.members as [Member]
  const lostUntil = START + 90 * DAY
  member.disk.clear()
  member.restart({ lostUntil })
  w.at += 40 * DAY
  const renewal = next(first, { from: w.at })
  const ask = (claim: Claim, previous?: Lease) =>
    w.ask(claim, owner, { indices: [0], ...(previous ? { previous } : {}) })
  const bob = firstClaim(realm, { name: 'bob', from: w.at })
  assert.deepEqual(codes(await ask(bob)), ['peer_unreachable'])
  const foreign = { ...lease, receipts: lease.receipts.slice(1) }
  w.at = renewal.from
  assert.deepEqual(codes(await ask(renewal, foreign)), ['peer_unreachable'], 'of the others')
  w.at = renewal.from
  assert.deepEqual(codes(await ask(renewal, lease)), ['signed'])
  // The claim's own start counts too.
  w.at = lostUntil
  assert.deepEqual(codes(await ask(firstClaim(realm, { name: 'bob', from: w.at - 1 }))), ['peer_unreachable'])
  w.at = lostUntil
  assert.deepEqual(codes(await ask(firstClaim(realm, { name: 'bob', from: w.at }))), ['signed'])
})

test('a claim that too few signed before it grew old goes on with its recovery key', async () => {
  const w = world()
  for (const i of [2, 3]) (w.members[i] as Member).up = false
  const lease = leaseFrom(first, await w.ask(first, owner, { indices: [0, 1] }))
  assert.equal(lease.receipts.length, 2)
  w.at += 7200
  assert.deepEqual(codes(await asked(w.members, first, owner, { indices: [2] })), ['clock_wrong'])
  const rotated = next(first, { from: w.at, recoveryHash: sha256(nextRecovery.publicKey) })
  const idle = { ...rotated, nonce: new Uint8Array(8) }
  let n = 0
  while ((claimId(idle)[0] as number) < 16) idle.nonce = new Uint8Array(8).fill(++n)
  const options = { mode: 1 as const, previous: lease }
  assert.deepEqual(codes(await w.ask(idle, recovery, { ...options, indices: [2] })), ['work_missing'])
  const again = mine(rotated, realm.bits, new Uint8Array(8))
  assert.deepEqual(codes(await w.ask(again, thief, { ...options, indices: [2] })), ['name_not_yours'])
  w.at = again.from
  const answers = await w.ask(again, recovery, options)
  assert.deepEqual(codes(answers), all('signed'))
  verifyLease(leaseFrom(again, answers, 1, recovery), w.at * 1000)
})

test('the recovery key takes the place of a renewal that only some have signed, and nothing takes its place', async () => {
  const w = world()
  const lease = leaseFrom(first, await w.ask(first, owner))
  w.at += 40 * DAY
  const renewal = next(first, { from: w.at })
  assert.deepEqual(codes(await asked(w.members, renewal, owner, { indices: [0, 1] })), all('signed', 2))
  const rotated = next(first, { from: w.at, owner: thief.publicKey, recoveryHash: sha256(nextRecovery.publicKey) })
  const options = { mode: 1 as const, previous: lease }
  assert.deepEqual(
    codes(await asked(w.members, rotated, thief, options)),
    all('name_not_yours').fill('record_older', 0, 2),
  )
  const answers = await asked(w.members, rotated, recovery, options)
  assert.deepEqual(codes(answers), all('signed'))
  const renewed = leaseOf(renewal, realm)
  assert.ok(compareLeases(leaseFrom(rotated, answers, 1, recovery), renewed, w.at * 1000) > 0)
  assert.deepEqual(codes(await asked(w.members, renewal, owner, { previous: lease })), all('record_older'))
  w.at += 600
  const again = { ...renewal, from: w.at, until: w.at + 90 * DAY }
  assert.deepEqual(codes(await asked(w.members, again, owner, { previous: lease })), all('record_older'))
})

test('what grew too old for some witnesses is made anew, to the same effect only, and not at once', async () => {
  const w = world()
  const lease = leaseFrom(first, await w.ask(first, owner))
  w.at += 40 * DAY
  const renewal = next(first, { from: w.at })
  await asked(w.members, renewal, owner, { indices: [0, 1] })
  w.at += 299
  const anew = (change: Partial<Claim> = {}) => ({ ...renewal, from: w.at, until: w.at + 90 * DAY, ...change })
  const [one] = await asked(w.members, anew(), owner, { previous: lease })
  assert.equal(one, 'record_older')
  w.at += 600
  const [other] = await asked(w.members, anew({ recoveryHash: sha256(thief.publicKey) }), owner, { previous: lease })
  assert.equal(other, 'record_older')
  const [shorter] = await asked(w.members, anew({ until: renewal.until - 1 }), owner, { previous: lease })
  assert.equal(shorter, 'record_older')
  assert.deepEqual(codes(await asked(w.members, anew(), owner, { previous: lease })), all('signed'))
})

/** A realm of one, of a witness that is none of the four, and a lease in it. */
function elsewhere(name = 'alice'): { realm: Realm; lease: Lease } {
  const old = realmOfWitnesses(1, 4)
  return { realm: old, lease: leaseOf(firstClaim(old, { name }), old) }
}

test('a chain moves into a realm where nobody has the name: held, and for the work of a first claim', async () => {
  const w = world()
  const { lease } = elsewhere()
  w.at += 40 * DAY
  const draft = next(lease.claim, { from: w.at, rid: realmId(realm) })
  const moved = mine(draft, realm.bits, new Uint8Array(8))
  assert.deepEqual(codes(await w.ask(moved, owner)), all('lease_invalid'), 'without the lease before it')
  w.at = moved.from
  const answers = await w.ask(moved, owner, { previous: lease })
  verifyLease(leaseFrom(moved, answers), w.at * 1000)
})

test('a chain does not move in on somebody who has the name there, nor with a lease that is not whole', async () => {
  const w = world()
  await w.ask(rival, thief)
  w.at += 40 * DAY
  const { lease } = elsewhere()
  const moved = mine(next(lease.claim, { from: w.at, rid: realmId(realm) }), realm.bits, new Uint8Array(8))
  assert.deepEqual(codes(await w.ask(moved, owner, { previous: lease })), all('name_taken'))

  const { lease: bob } = elsewhere('bob')
  const broken = { ...bob, receipts: bob.receipts.map((receipt) => ({ ...receipt, signature: new Uint8Array(64) })) }
  w.at = moved.from
  const movedBob = mine(next(bob.claim, { from: w.at, rid: realmId(realm) }), realm.bits, new Uint8Array(8))
  assert.deepEqual(codes(await w.ask(movedBob, owner, { previous: broken })), all('signature_invalid'))
  w.at = bob.claim.until + 30 * DAY
  const late = mine(next(bob.claim, { from: w.at, rid: realmId(realm) }), realm.bits, new Uint8Array(8))
  assert.deepEqual(codes(await w.ask(late, owner, { previous: bob })), all('lease_expired'))
})

test('a block of addresses and a key get 20 new names a day, and renew as many as they have', async () => {
  const w = world(1)
  const [{ witness }] = w.members as [Member]
  const claimed = async (i: number, by: KeyPair, from: From): Promise<string> => {
    const claim = firstClaim(w.realm, { name: `name${i}`, from: w.at, owner: by.publicKey })
    return witness.claim(encodeClaim(claim), signClaim(claim, 0, by), from).then(
      () => 'signed',
      (error: unknown) => (isError(error) ? error.code : String(error)),
    )
  }
  const block = { block: '192.0.2.0/24' }
  for (let i = 0; i < MAX_PER_DAY; i++) assert.equal(await claimed(i, pairOf(50 + i), block), 'signed')
  assert.equal(await claimed(20, pairOf(90), block), 'limit_reached')
  assert.equal(await claimed(0, pairOf(50), block), 'signed', 'again')
  assert.equal(await claimed(21, pairOf(91), { block: '198.51.100.0/24' }), 'signed')
  w.at += DAY
  for (let i = 0; i < MAX_PER_DAY; i++) assert.equal(await claimed(100 + i, owner, {}), 'signed')
  assert.equal(await claimed(200, owner, {}), 'limit_reached')
  assert.equal(await claimed(201, thief, block), 'signed')
})
