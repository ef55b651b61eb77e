import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { createWitness, type Witness } from '../../introducer/witness.ts'
import { type Claim, chainId, claimId, encodeClaim, signClaim } from '../../node/core/claim.ts'
import { type Bytes, toHex } from '../../node/core/encoding.ts'
import { type ErrorCode, isError, P2pnsError } from '../../node/core/errors.ts'
import { type KeyPair, sha256 } from '../../node/core/keys.ts'
import { encodeReceipt, type Receipt, verifyLease } from '../../node/core/lease.ts'
import { type Realm, realmId } from '../../node/core/realm.ts'
import {
  DAY,
  firstClaim,
  nextRecovery,
  owner,
  pairOf,
  realmOfWitnesses,
  recovery,
  START,
  thief,
  witnessesOf,
} from '../helpers/leases.ts'

const realm = realmOfWitnesses(1, 4)
const [pair] = witnessesOf(1) as [KeyPair]

/** A witness that has nobody to ask. */
const nobodyElse = { wait: async () => {}, peers: () => [], lookup: async () => undefined }

/** A store that survives its witness, and a clock that the test turns. `at` is in seconds. */
function world(options: { realm?: Realm; pair?: KeyPair } = {}) {
  const disk = new Map<string, Bytes>()
  const self = {
    at: START,
    disk,
    /** Called before anything is written. */
    beforePut: async (_name: string): Promise<void> => {},
    /** A witness that has just been started. */
    start: (): Witness =>
      createWitness({
        pair,
        realm,
        ...nobodyElse,
        ...options,
        now: () => self.at * 1000 + 999,
        store: {
          get: async (name) => disk.get(name),
          async put(name, bytes) {
            await self.beforePut(name)
            disk.set(name, bytes)
          },
        },
      }),
  }
  return self
}

const ask = (witness: Witness, claim: Claim, by: KeyPair = owner, mode: 0 | 1 = 0): Promise<Receipt> =>
  witness.claim(encodeClaim(claim), signClaim(claim, mode, by))

const refuses = (work: Promise<unknown>, code: ErrorCode, message?: string) =>
  assert.rejects(
    work,
    (error) => {
      assert.ok(isError(error), String(error))
      assert.equal(error.code, code, `${message}: ${error.message}`)
      return true
    },
    message,
  )

const next = (previous: Claim, change: Partial<Claim>): Claim => ({
  ...previous,
  chain: chainId(previous),
  version: previous.version + 1,
  until: (change.from ?? previous.from) + 90 * DAY,
  ...change,
})

const first = firstClaim(realm)
const stolen = firstClaim(realm, { owner: thief.publicKey, recoveryHash: sha256(nextRecovery.publicKey) })
const rotated = next(first, { from: START + 10 * DAY, recoveryHash: sha256(nextRecovery.publicKey) })
const released = next(first, {
  from: START + 10 * DAY,
  until: first.until,
  owner: new Uint8Array(0),
  recoveryHash: new Uint8Array(0),
})

/** `claim` by `thief` from `from` on, in a chain of its own. */
const stolenAt = (from: number) => firstClaim(realm, { ...stolen, nonce: new Uint8Array(8), from, until: from + DAY })

test('the receipt of a first claim makes a lease that anyone can check', async () => {
  const receipt = await ask(world().start(), first)
  verifyLease({ claim: first, auth: signClaim(first, 0, owner), receipts: [receipt], realm }, START * 1000)
  assert.deepEqual([receipt.index, receipt.time], [0, START])
})

test('the first of two claims holds the name', async () => {
  const witness = world().start()
  await ask(witness, first)
  await refuses(ask(witness, stolen, thief), 'name_taken')
  await ask(witness, firstClaim(realm, { name: 'bob', owner: thief.publicKey }), thief)
})

test('of any number of claims at once exactly one gets a receipt, also when the first write fails', async () => {
  const counts = fc.integer({ min: 2, max: 4 })
  await fc.assert(
    fc.asyncProperty(counts, fc.boolean(), fc.scheduler(), async (count, fails, scheduler) => {
      const disk = new Map<string, Bytes>()
      let failing = fails
      const witness = createWitness({
        pair,
        realm,
        ...nobodyElse,
        now: () => START * 1000,
        store: {
          get: scheduler.scheduleFunction(async (name: string) => disk.get(name)),
          put: scheduler.scheduleFunction(async (name: string, bytes: Bytes) => {
            if (failing) {
              failing = false
              throw new P2pnsError('disk_full', 'No space is left')
            }
            disk.set(name, bytes)
          }),
        },
      })
      const claimants = Array.from({ length: count }, (_, i) => pairOf(20 + i))
      const arrive = scheduler.scheduleFunction(async () => {})
      const asked = claimants.map(async (by) => {
        await arrive()
        return ask(witness, firstClaim(realm, { owner: by.publicKey }), by)
      })
      const [, results] = await Promise.all([scheduler.waitFor(Promise.allSettled(asked)), Promise.allSettled(asked)])
      assert.equal(results.filter(({ status }) => status === 'fulfilled').length, 1)
      for (const result of results) {
        if (result.status === 'rejected') assert.ok(isError(result.reason, 'name_taken', 'disk_full'))
      }
    }),
    { numRuns: 100 },
  )
})

test('claims to different names do not wait for each other', async () => {
  const { promise: stuck, resolve: release } = Promise.withResolvers<void>()
  const w = world()
  const witness = w.start()
  w.beforePut = async (name) => (name === 'alice' ? stuck : undefined)
  const slow = ask(witness, first)
  await ask(witness, firstClaim(realm, { name: 'bob' }))
  assert.deepEqual([...w.disk.keys()], ['bob'])
  release()
  await slow
})

test('the same claim again gets the same receipt, also later, after a restart, and when both come at once', async () => {
  const w = world()
  const witness = w.start()
  const answers = await Promise.all([ask(witness, first), ask(witness, first)])
  w.at += 20 * DAY
  answers.push(await ask(witness, first), await ask(w.start(), first))
  assert.equal(new Set(answers.map((receipt) => toHex(encodeReceipt(receipt)))).size, 1)
})

test('what was signed is on the disk before the receipt leaves', async () => {
  const w = world()
  const { promise: written, resolve: finish } = Promise.withResolvers<void>()
  const { promise: reached, resolve: reach } = Promise.withResolvers<void>()
  w.beforePut = () => {
    reach()
    return written
  }
  let answered = false
  const receipt = ask(w.start(), first).then(() => (answered = true))
  await reached
  await new Promise(setImmediate)
  assert.equal(answered, false)
  finish()
  await receipt
  assert.equal(w.disk.size, 1)
  await refuses(ask(w.start(), stolen, thief), 'name_taken', 'after a restart')
})

test('a claim that could not be written gets no receipt and takes no name', async () => {
  const w = world()
  const witness = w.start()
  w.beforePut = async () => {
    throw new P2pnsError('disk_full', 'No space is left')
  }
  await refuses(ask(witness, first), 'disk_full')
  w.beforePut = async () => {}
  await ask(witness, stolen, thief)
})

test('a witness that cannot read what it signed signs nothing more for that name', async () => {
  const w = world()
  await ask(w.start(), first)
  w.disk.set('alice', new Uint8Array([0xff]))
  await refuses(ask(w.start(), stolen, thief), 'db_corrupt')
})

test('a renewal is signed from the 30th day to the end of the grace', async () => {
  for (const [day, code] of [
    [29, 'lease_invalid'],
    [30, undefined],
    [90, undefined],
    [119, undefined],
    [120, 'lease_expired'],
  ] as const) {
    const w = world()
    const witness = w.start()
    await ask(witness, first)
    w.at = START + day * DAY
    const renewal = ask(witness, next(first, { from: w.at }))
    if (code) await refuses(renewal, code, `day ${day}`)
    else await renewal
  }
})

test('only the same chain may go on during the grace, and anyone may claim after it', async () => {
  const w = world()
  const witness = w.start()
  await ask(witness, first)
  for (const day of [1, 89, 90, 119]) {
    w.at = START + day * DAY
    await refuses(ask(witness, stolenAt(w.at), thief), 'name_taken', `day ${day}`)
  }
  w.at = START + 120 * DAY
  await ask(witness, stolenAt(w.at), thief)
  await refuses(ask(witness, next(first, { from: w.at })), 'name_taken', 'the old chain')
})

test('a later claim cannot be rolled back to an earlier one', async () => {
  const w = world()
  const witness = w.start()
  await ask(witness, first)
  w.at = START + 40 * DAY
  const second = next(first, { from: w.at })
  await ask(witness, second)
  await refuses(ask(witness, first), 'clock_wrong', 'the first claim replayed')
  await refuses(ask(witness, next(first, { from: w.at, until: w.at + 80 * DAY })), 'record_older', 'version 1 again')
  await refuses(ask(witness, { ...next(second, { from: w.at + 40 * DAY }), version: 3 }), 'clock_wrong')
  w.at += 40 * DAY
  await refuses(ask(witness, { ...next(second, { from: w.at }), version: 3 }), 'lease_invalid', 'version 3 after 1')
  await ask(witness, next(second, { from: w.at }))
})

test('the recovery key, and no other, moves the name, and is used up by it', async () => {
  const w = world()
  const witness = w.start()
  await ask(witness, first)
  w.at = rotated.from
  const moved = { ...rotated, owner: pairOf(9).publicKey }
  await refuses(ask(witness, moved, owner, 1), 'name_not_yours', 'the owner key alone')
  await refuses(ask(witness, moved, pairOf(9)), 'name_not_yours', 'the new owner itself')
  await ask(witness, moved, recovery, 1)
  const again = { ...next(moved, { from: w.at }), recoveryHash: sha256(pairOf(10).publicKey) }
  await refuses(ask(witness, again, recovery, 1), 'name_not_yours', 'the used recovery key')
  await ask(witness, again, nextRecovery, 1)
})

test('a thief of the owner key loses the name to a rotation', async () => {
  const w = world()
  const witness = w.start()
  await ask(witness, first)
  w.at = START + 40 * DAY
  await refuses(ask(witness, { ...next(first, { from: w.at }), owner: thief.publicKey }, owner), 'lease_invalid')
  const renewal = next(first, { from: w.at })
  await ask(witness, renewal)
  const saved = next(renewal, {
    from: w.at,
    owner: pairOf(9).publicKey,
    recoveryHash: sha256(nextRecovery.publicKey),
  })
  await ask(witness, saved, recovery, 1)
  w.at += 40 * DAY
  await refuses(ask(witness, next({ ...saved, owner: owner.publicKey }, { from: w.at }), owner), 'name_not_yours')
})

test('a released name is free when its term ends, without grace and not a second before', async () => {
  const w = world()
  const witness = w.start()
  await ask(witness, first)
  w.at = released.from
  await ask(witness, released, recovery, 1)
  await refuses(ask(witness, stolenAt(w.at), thief), 'name_taken')
  await refuses(ask(witness, next(released, { from: w.at, owner: owner.publicKey }), recovery, 1), 'malformed')
  w.at = first.until - 1
  await refuses(ask(witness, stolenAt(first.until), thief), 'name_taken', 'the witness is early')
  w.at = first.until
  await refuses(ask(witness, stolenAt(first.until - 1), thief), 'name_taken', 'the claim is early')
  await ask(witness, stolenAt(first.until), thief)
})

test('a claim that does not begin within 5 minutes of now is refused', async () => {
  const w = world()
  const witness = w.start()
  for (const off of [-301, 301, 10 * 365 * DAY]) {
    await refuses(ask(witness, firstClaim(realm, { from: START + off })), 'clock_wrong', `${off} s`)
  }
  for (const [name, off] of [
    ['early', -300],
    ['late', 300],
  ] as const) {
    const claim = firstClaim(realm, { name, from: START + off })
    const receipt = await ask(witness, claim)
    verifyLease({ claim, auth: signClaim(claim, 0, owner), receipts: [receipt], realm }, START * 1000)
  }
})

test('a bad first claim is refused with its own error and takes no name', async () => {
  const w = world()
  const witness = w.start()
  const other = realmOfWitnesses(4, 4)
  let idle = first
  while ((claimId(idle)[0] as number) < 16) idle = { ...idle, until: idle.until - 1 }
  await refuses(ask(witness, idle), 'work_missing')
  await refuses(ask(witness, firstClaim(realm, { until: START + 90 * DAY + 1 })), 'lease_invalid', 'the term')
  await refuses(ask(witness, firstClaim(realm, { rid: realmId(other) })), 'lease_invalid', 'the realm')
  for (const name of ['pet', 'key', 'local', 'localhost', 'wpad', 'isatap', 'Alice', 'a.b', '']) {
    await refuses(ask(witness, firstClaim(realm, { name })), 'name_invalid', name)
  }
  await refuses(ask(witness, first, thief), 'lease_invalid', 'another key signs')
  await refuses(ask(witness, first, recovery, 1), 'lease_invalid', 'the recovery key signs')
  await refuses(ask(witness, { ...next(first, {}), version: 1 }), 'lease_invalid', 'there is nothing to renew')
  const auth = { ...signClaim(first, 0, owner), signature: new Uint8Array(64) }
  await refuses(witness.claim(encodeClaim(first), auth), 'signature_invalid')
  await refuses(witness.claim(new Uint8Array(1000), auth), 'too_large')
  await refuses(witness.claim(new Uint8Array(10), auth), 'malformed')
  assert.equal(w.disk.size, 0)
  await ask(witness, first)
})

test('a witness signs under its own index, and only in a realm that has its key', async () => {
  const four = realmOfWitnesses(4)
  const claim = firstClaim(four)
  const receipts = await Promise.all(
    witnessesOf(4).map((member) => ask(world({ realm: four, pair: member }).start(), claim)),
  )
  assert.deepEqual(
    receipts.map(({ index }) => index),
    [0, 1, 2, 3],
  )
  verifyLease({ claim, auth: signClaim(claim, 0, owner), receipts, realm: four }, START * 1000)
  assert.throws(() => world({ pair: thief }).start(), RangeError)
})

test('over any course of claims, answers and restarts no two chains hold the name at one time', async () => {
  const step = fc.record({
    days: fc.constantFrom(0, 1, 29, 30, 45, 91, 125),
    who: fc.constantFrom(owner, thief),
    what: fc.constantFrom('claim', 'renew', 'release', 'rotate'),
    restart: fc.boolean(),
    full: fc.boolean(),
  })
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
      const w = world()
      let witness = w.start()
      const signed: Claim[] = []
      for (const { days, who, what, restart, full } of steps) {
        w.at += days * DAY
        if (restart) witness = w.start()
        w.beforePut = async () => {
          if (full) throw new P2pnsError('disk_full', 'No space is left')
        }
        const last = signed.findLast((claim) => claim.owner.length === 0 || claim.owner === who.publicKey)
        const recoveryHash = sha256(recovery.publicKey)
        const claim =
          what === 'claim' || last === undefined
            ? firstClaim(realm, { from: w.at, owner: who.publicKey, recoveryHash })
            : what === 'release'
              ? next(last, { from: w.at, until: last.until, owner: new Uint8Array(0), recoveryHash: new Uint8Array(0) })
              : next(last, { from: w.at, ...(what === 'rotate' ? { recoveryHash: sha256(owner.publicKey) } : {}) })
        const mode = what === 'release' || what === 'rotate' ? 1 : 0
        const receipt = await ask(witness, claim, mode ? recovery : who, mode).catch((error: unknown) => {
          assert.ok(isError(error), String(error))
        })
        if (receipt) signed.push(claim)
      }
      for (const a of signed) {
        for (const b of signed) {
          if (toHex(chainId(a)) !== toHex(chainId(b))) assert.ok(a.until <= b.from || b.until <= a.from)
        }
      }
    }),
    { numRuns: 60 },
  )
})
