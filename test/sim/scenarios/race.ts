/** Several people want one name at the same time, in a network that fails them, before witnesses some of whom lie. */
import assert from 'node:assert/strict'
import { encodeAuth, encodeClaim, mine, signClaim } from '../../../node/core/claim.ts'
import { type Bytes, toHex } from '../../../node/core/encoding.ts'
import { isError } from '../../../node/core/errors.ts'
import { type KeyPair, keyPairFromSeed, sha256 } from '../../../node/core/keys.ts'
import {
  encodeNamed,
  type Lease,
  leaseDhtKey,
  parseReceipt,
  type Receipt,
  verifyLease,
} from '../../../node/core/lease.ts'
import { encodeProof, findProofs, parseProof, verifyProof } from '../../../node/core/proof.ts'
import { realmId } from '../../../node/core/realm.ts'
import { signZone } from '../../../node/core/zone.ts'
import { claimAndPublish, type Home, lookUp, openHome } from '../home.ts'
import { CALM, Machine } from '../machine.ts'
import { anyFaults, type Cast, calm, castOf, NAME, tolerated } from '../realm.ts'
import type { Counts } from '../run.ts'
import { split } from '../wire.ts'
import type { Lie } from '../witnesses.ts'
import type { World } from '../world.ts'

/** Milliseconds. */
const LONGEST_SPLIT = 60_000

const TERM = 90 * 86_400
const ATTEMPTS = 6

/** As many liars as the quorum tolerates, or fewer: there is never a second owner. */
export async function race(world: World): Promise<Counts> {
  const { random } = world
  const witnesses = random.pick([1, 3, 4, 7])
  const lies = Array.from({ length: random.between(0, tolerated(witnesses)) }, () =>
    random.pick<Lie>(['eager', 'eager', 'garbage', 'silence']),
  )
  const cast = castOf(world, {
    witnesses,
    lies,
    nodes: 8,
    hostileNodes: random.between(0, 2),
    faults: anyFaults(world),
  })
  for (let i = random.between(0, 2); i > 0; i--) {
    world.after(random.between(0, 40_000), () => split(world, cast.machines, random.between(1_000, LONGEST_SPLIT)))
  }
  const { owners, seen } = await contest(world, cast)
  assert.deepEqual(cast.ledger.conflicts(), [], 'two leases could be put together')
  assert.ok(owners.length <= 1, 'two people were told that the name is theirs')
  assert.ok(seen.size <= 1, 'honest resolvers saw two owners')
  return { races: 1, owned: owners.length, unowned: 1 - owners.length }
}

/** Nothing fails and nobody lies: those who come within seconds of each other are one round, and one of them wins. */
export async function calmRace(world: World): Promise<Counts> {
  const { random } = world
  const witnesses = random.pick([1, 3, 4, 7])
  const faults = { loss: 0, delay: random.pick([5, 100, 400]), twice: random.pick([0, 0.3]), crash: 0 }
  const cast = castOf(world, { witnesses, lies: [], nodes: 8, faults })
  const { owners } = await contest(world, cast, { within: 5_000, cheats: false })
  assert.equal(owners.length, 1, 'nobody got the name')
  return { calm: 1 }
}

/** More liars than the quorum tolerates, and a network that keeps the honest ones apart: what they do can be proved. */
export async function overrun(world: World): Promise<Counts> {
  const { random } = world
  const witnesses = random.pick([1, 3, 4, 7])
  const lies = Array.from({ length: random.between(tolerated(witnesses) + 1, witnesses) }, (): Lie => 'eager')
  const cast = castOf(world, { witnesses, lies, nodes: 8, faults: { ...anyFaults(world), crash: 0 } })
  split(world, cast.machines, 100_000)
  for (const index of cast.liars) (cast.posts[index] as Cast['posts'][number]).machine.side = 'both'
  await contest(world, cast)
  const conflicts = cast.ledger.conflicts()
  for (const [a, b] of conflicts) checkProofs(a, b, cast)
  return { overrun: 1, conflicts: Math.min(1, conflicts.length) }
}

/** Everybody claims, then the network is well again and everybody looks. */
async function contest(
  world: World,
  cast: Cast,
  { within = 15_000, cheats = true } = {},
): Promise<{ owners: string[]; seen: Set<string> }> {
  const { random } = world
  const { faults } = cast.machines[0] as Machine
  const newcomer = (name: string) => {
    const machine = new Machine(world, name, faults)
    machine.skew = random.between(-100_000, 100_000)
    cast.machines.push(machine)
    return { machine, master: random.bytes(32) }
  }
  const claimants = Array.from({ length: random.between(2, 5) }, (_, i) => newcomer(`claimant-${i}`))
  const resolvers = Array.from({ length: 2 }, (_, i) => newcomer(`resolver-${i}`))
  for (const { machine } of cast.posts) machine.skew = random.between(-100_000, 100_000)
  for (const { machine } of [...claimants, ...resolvers]) machine.side = random.pick([...cast.machines]).side

  const over = new AbortController()
  const seen = new Set<string>()
  const watching = resolvers.map(({ machine, master }) =>
    machine.runToEnd(async () => {
      const home = await openHome(machine, master, cast)
      while (!over.signal.aborted) {
        await look(home, seen)
        await machine.wait(random.between(1_000, 30_000))
      }
      return home
    }),
  )
  const outcomes = await Promise.all(
    claimants.map(({ machine, master }, i) => {
      const isHonest = !cheats || i === 0 || random.chance(0.7)
      const pause = random.between(0, within)
      return machine.runToEnd(async () => {
        await machine.wait(pause)
        return isHonest ? contend(machine, master, cast) : equivocate(machine, master, cast)
      })
    }),
  )
  over.abort()
  const watchers = await Promise.all(watching)

  calm(cast, CALM)
  // Long enough for a split that began just now to end.
  await world.wait(LONGEST_SPLIT)
  const owners: string[] = []
  for (const [i, owner] of outcomes.entries()) {
    if (owner === undefined) continue
    owners.push(owner)
    const { machine, master } = claimants[i] as { machine: Machine; master: Bytes }
    const home = await openHome(machine, master, cast)
    // Of two owners one is told that the network holds the record of the other.
    await claimAndPublish(home, NAME).catch((error) => {
      if (!isError(error, 'record_older') || cast.ledger.conflicts().length === 0) throw error
    })
  }
  const late = newcomer('late')
  late.machine.faults = CALM
  late.machine.side = 'both'
  for (const home of [...watchers, await openHome(late.machine, late.master, cast)]) {
    const { machine } = home
    machine.skew = 0
    const owner = await look(home, seen)
    if (owners.length === 1 && cast.ledger.conflicts().length === 0) {
      assert.equal(owner, owners[0], `${machine.name} does not see the owner`)
    }
  }
  for (const index of cast.ledger.liars()) assert.ok(cast.liars.has(index), `witness ${index} is honest and lied`)
  return { owners, seen }
}

/** Resolves to the owner's key as this machine sees it, or to why it sees none. */
async function look(home: Home, seen: Set<string>): Promise<string> {
  const answer = await lookUp(home, `${NAME}.p2p`)
  const owner = typeof answer === 'string' ? answer : toHex(answer.zone.key)
  home.machine.note(`sees ${owner.slice(0, 24)}`)
  if (typeof answer !== 'string') seen.add(owner)
  return owner
}

/** As a person would: claims, and tries again as long as nobody else has it. Resolves to the key that got the name. */
async function contend(machine: Machine, master: Bytes, cast: Cast): Promise<string | undefined> {
  const home = await openHome(machine, master, cast)
  for (let i = 0; i < ATTEMPTS; i++) {
    try {
      const { own } = await claimAndPublish(home, NAME)
      machine.note(`owns ${NAME}`)
      return toHex(own.pair.publicKey)
    } catch (error) {
      if (!isError(error)) throw error
      machine.note(`fails: ${error.code}`)
      if (error.code === 'name_taken') return undefined
      await machine.wait(machine.world.random.between(1_000, 20_000))
    }
  }
  return undefined
}

/** As a cheat would: two claims at once, to each witness in another order, and whatever comes of it is published. */
async function equivocate(machine: Machine, master: Bytes, cast: Cast): Promise<undefined> {
  const { random } = machine.world
  const home = await openHome(machine, master, cast)
  const pairs = [keyPairFromSeed(master), keyPairFromSeed(sha256(master))]
  await Promise.all(
    pairs.map(async (pair) => {
      const lease = await claimRaw(home, pair, cast)
      if (lease === undefined) return
      const zone = signZone(pair, BigInt(machine.now()) * 1000n, [])
      const key = leaseDhtKey(realmId(cast.realm), NAME)
      await home.network.put(key, encodeNamed(lease, zone.bytes)).catch(() => {})
    }),
  )
  machine.note(`has cheated with ${random.between(1, 2)} keys`)
  return undefined
}

async function claimRaw(home: Home, pair: KeyPair, { realm }: Cast): Promise<Lease | undefined> {
  const { machine, introducers } = home
  const { random } = machine.world
  const from = Math.floor(machine.now() / 1000) + random.between(-200, 200)
  const claim = mine(
    {
      rid: realmId(realm),
      name: NAME,
      chain: new Uint8Array(0),
      version: 0,
      owner: pair.publicKey,
      recoveryHash: random.bytes(32),
      from,
      until: from + TERM,
      nonce: new Uint8Array(8),
    },
    realm.bits,
    random.bytes(8),
  )
  const auth = signClaim(claim, 0, pair)
  const receipts: Receipt[] = []
  await Promise.all(
    introducers.map(async (introducer) => {
      for (let i = 0; i < 2; i++) {
        await machine.wait(random.between(0, 12_000))
        try {
          receipts.push(parseReceipt(await introducer.claim(encodeClaim(claim), encodeAuth(auth))))
          return
        } catch {
          // Refused or lost: asked once more, perhaps the other claim did no better.
        }
      }
    }),
  )
  const lease: Lease = { claim, auth, receipts: receipts.sort((a, b) => a.index - b.index), realm }
  try {
    verifyLease(lease, machine.now())
    return lease
  } catch {
    return undefined
  }
}

/** Every proof that two leases give stands for itself and names a liar, and there is one. */
function checkProofs(a: Lease, b: Lease, cast: Cast): void {
  const proofs = findProofs(a, b)
  assert.ok(proofs.length > 0, 'two leases in conflict give no proof')
  for (const proof of proofs) {
    const read = parseProof(encodeProof(proof))
    verifyProof(read)
    assert.ok(cast.liars.has(read.witness), `witness ${read.witness} is honest and accused`)
  }
}
