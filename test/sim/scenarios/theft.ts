/** A stolen owner key, and a lost one. */
import assert from 'node:assert/strict'
import { type Claim, chainId, encodeAuth, encodeClaim, signClaim } from '../../../node/core/claim.ts'
import { type Bytes, equalBytes } from '../../../node/core/encoding.ts'
import { type KeyPair, keyPairFromSeed, sha256 } from '../../../node/core/keys.ts'
import {
  encodeNamed,
  type Lease,
  leaseDhtKey,
  parseReceipt,
  type Receipt,
  verifyLease,
} from '../../../node/core/lease.ts'
import { parseName } from '../../../node/core/name.ts'
import { realmId } from '../../../node/core/realm.ts'
import { signZone } from '../../../node/core/zone.ts'
import { rotateName, transferName } from '../../../node/succession.ts'
import { claimAndPublish, type Home, insist, lookUp, openHome, renew, standing, succession } from '../home.ts'
import { CALM, Machine } from '../machine.ts'
import { type Cast, calm, castOf, NAME } from '../realm.ts'
import type { Counts } from '../run.ts'
import type { World } from '../world.ts'

const DAY = 86_400
const DAY_MS = DAY * 1000
const TERM = 90 * DAY

/** The thief renews, transfers and releases with the owner's key as it likes; the owner's rotation ends it for good. */
export async function stolenKey(world: World): Promise<Counts> {
  const { random } = world
  const { cast, owner, home, seed } = await ownedName(world)
  const stolen = (home.own.byLabel(NAME) as { pair: KeyPair }).pair
  const thief = new Machine(world, 'thief', owner.faults)
  const den = await openHome(thief, random.bytes(32), cast)
  const pinned = new Machine(world, 'pinned', CALM)
  const watcher = await openHome(pinned, random.bytes(32), cast)
  await lookUp(watcher, `${NAME}.p2p`)
  await world.wait(random.between(0, 70) * DAY_MS)
  await insist(owner, 10, () => republish(home))

  let isRotated = false
  const theft = new AbortController()
  const stealing = (async () => {
    while (!theft.signal.aborted) {
      await steal(den, stolen, cast)
      await thief.wait(isRotated ? random.between(1, 12) * DAY_MS : random.pick([1_000, 60_000, DAY_MS]))
    }
  })()
  await owner.wait(random.between(0, 60_000))
  const next = home.own.underGeneration(await home.own.open(NAME), 1)
  const lease = await insist(owner, 40, async () => {
    const { lease, settled } = await rotateName(
      await succession(home, NAME),
      next.pair.publicKey,
      (key) => equalBytes(key, next.pair.publicKey),
      seed,
    )
    await home.own.publish({ ...next, lease })
    await settled()
    return lease
  })
  isRotated = true
  owner.note(`has rotated, version ${lease.claim.version}`)
  calm(cast, CALM)
  owner.faults = CALM
  thief.faults = CALM
  await republish(home)
  await see(watcher, next.pair)
  // Past the end of all that the thief may have had signed, with the owner renewing as a running node does.
  for (let day = 0; day < 160; day += 32) {
    await world.wait(32 * DAY_MS)
    await insist(owner, 5, () => renew(home, NAME, next.pair))
    await see(await openHome(new Machine(world, `fresh-${day}`, CALM), random.bytes(32), cast), next.pair)
    await see(watcher, next.pair)
  }
  theft.abort()
  await stealing
  return { thefts: 1 }
}

/** With the owner's key gone, the recovery key puts the name on a key of another home. */
export async function lostKey(world: World): Promise<Counts> {
  const { random } = world
  const { cast, owner, seed } = await ownedName(world)
  const pinned = await openHome(new Machine(world, 'pinned', CALM), random.bytes(32), cast)
  await lookUp(pinned, `${NAME}.p2p`)
  await world.wait(random.between(0, 80) * DAY_MS)
  const machine = new Machine(world, 'restored', owner.faults)
  const master = random.bytes(32)
  const kept = random.bytes(32)
  const receiver = await openHome(machine, master, cast)
  const zone = await receiver.own.open(NAME)
  const address = { owner: zone.pair.publicKey, recoveryHash: sha256(keyPairFromSeed(kept).publicKey) }
  await insist(machine, 40, async () => {
    const { lease, settled } = await transferName(await succession(receiver, NAME), address, seed)
    await receiver.own.publish({ ...zone, lease })
    await settled()
  })
  calm(cast, CALM)
  machine.faults = CALM
  await receiver.own.publish(await receiver.own.open(NAME))
  const fresh = await openHome(new Machine(world, 'fresh', CALM), random.bytes(32), cast)
  await see(pinned, zone.pair)
  await see(fresh, zone.pair)
  return { recovered: 1 }
}

/** Asserts that the name leads to the zone of `owner` there. */
async function see({ machine, names }: Home, owner: KeyPair): Promise<void> {
  const { zone } = await names.lookup(parseName(`${NAME}.p2p`), { policy: 'network' })
  assert.ok(equalBytes(zone.key, owner.publicKey), `${machine.name} sees the zone of somebody else`)
}

interface OwnedName {
  cast: Cast
  owner: Machine
  home: Home
  seed: Bytes
}

/** A name that is somebody's, in a network with the usual troubles. */
async function ownedName(world: World): Promise<OwnedName> {
  const { random } = world
  const cast = castOf(world, { witnesses: random.pick([1, 3, 4, 7]), lies: [], nodes: 8, faults: CALM })
  const owner = new Machine(world, 'owner', CALM)
  const home = await openHome(owner, random.bytes(32), cast)
  const { recoverySeed } = await claimAndPublish(home, NAME)
  const faults = { loss: random.pick([0, 0.02, 0.1]), delay: random.pick([5, 100, 1_000]), twice: 0.1, crash: 0 }
  for (const machine of [...cast.machines, owner]) machine.faults = faults
  return { cast, owner, home, seed: recoverySeed as Bytes }
}

async function republish(home: Home): Promise<void> {
  await home.own.publish(await home.own.open(NAME))
}

/** One attempt with the owner's key: a renewal (which is allowed, from the 30th day on), a transfer or a release (which are not). */
async function steal(den: Home, stolen: KeyPair, cast: Cast): Promise<void> {
  const { machine, introducers, network } = den
  const { random } = machine.world
  const found = await standing(den, NAME).catch(() => undefined)
  if (found === undefined) return
  const last = found.lease
  const mine = keyPairFromSeed(random.bytes(32))
  const from = Math.max(last.claim.from, Math.floor(machine.now() / 1000))
  const renewal: Claim = {
    ...last.claim,
    chain: chainId(last.claim),
    version: last.claim.version + 1,
    owner: stolen.publicKey,
    from,
    until: Math.max(from + TERM, last.claim.until),
  }
  const [claim, mode, by] = random.pick<[Claim, 0 | 1, KeyPair]>([
    [renewal, 0, stolen],
    [{ ...renewal, owner: mine.publicKey }, 0, mine],
    [{ ...renewal, owner: mine.publicKey, recoveryHash: sha256(mine.publicKey) }, 1, stolen],
    [{ ...renewal, recoveryHash: sha256(mine.publicKey) }, 0, stolen],
    [{ ...renewal, owner: new Uint8Array(0), recoveryHash: new Uint8Array(0), until: last.claim.until }, 1, stolen],
  ])
  const auth = signClaim(claim, mode, by)
  const receipts: Receipt[] = []
  // Not to all of them: a renewal that only some have signed is in the way of what the owner asks for.
  const asked = introducers.filter(() => random.chance(0.6))
  await Promise.all(
    asked.map(async (witness) => {
      const bytes = await witness.claim(encodeClaim(claim), encodeAuth(auth), { previous: last }).catch(() => undefined)
      if (bytes !== undefined) receipts.push(parseReceipt(bytes))
    }),
  )
  assert.ok(receipts.length === 0 || equalBytes(claim.owner, stolen.publicKey), 'a witness gave the name to the thief')
  const lease: Lease = { claim, auth, receipts: receipts.sort((a, b) => a.index - b.index), realm: cast.realm }
  const zone = signZone(stolen, BigInt(machine.now()) * 1000n, [])
  for (const one of [lease, last]) {
    try {
      verifyLease(one, machine.now())
      await network.put(leaseDhtKey(realmId(cast.realm), NAME), encodeNamed(one, zone.bytes))
    } catch {
      // Not a lease, or older than what the network holds.
    }
  }
}
