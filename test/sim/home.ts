/** The real parts of a node on a machine of the simulation. */

import { type Claimed, claimName, type PendingClaim } from '../../node/claims.ts'
import { type Bytes, toHex } from '../../node/core/encoding.ts'
import { isError } from '../../node/core/errors.ts'
import type { KeyPair } from '../../node/core/keys.ts'
import type { Lease } from '../../node/core/lease.ts'
import { parseName } from '../../node/core/name.ts'
import { rrFromText } from '../../node/core/rdata.ts'
import { type Realm, realmId } from '../../node/core/realm.ts'
import { type Learnt, Names, type Pin, type ZoneAnswer } from '../../node/names.ts'
import { createRecordNetwork, type RecordNetwork } from '../../node/net/record-network.ts'
import { type OwnZone, OwnZones, type ZoneState } from '../../node/own-zones.ts'
import { type ProofRow, Proofs } from '../../node/proofs.ts'
import { type Published, Publisher } from '../../node/publisher.ts'
import { type PinnedRealm, Realms } from '../../node/realms.ts'
import { renewableFrom } from '../../node/renewal.ts'
import { type Standing, standingOf } from '../../node/standing.ts'
import type { Table } from '../../node/store.ts'
import { baseOf, keepName, type PendingChange, renewName, type SuccessionParts } from '../../node/succession.ts'
import type { Machine } from './machine.ts'
import { dhtOn, type StoringNode } from './storing.ts'
import { type Post, SimIntroducer } from './witnesses.ts'

/** What the homes of a run have in common. */
export interface Surroundings {
  realm: Realm
  posts: readonly Post[]
  nodes: readonly StoringNode[]
}

export interface Home {
  machine: Machine
  realm: Realm
  introducers: SimIntroducer[]
  network: RecordNetwork
  own: OwnZones
  readonly names: Names
  pending: Table<PendingClaim>
}

/** A node that has just been started, over what its machine's disk holds. */
export async function openHome(machine: Machine, master: Bytes, { realm, posts, nodes }: Surroundings): Promise<Home> {
  const { now } = machine
  const introducers = posts.map((post) => new SimIntroducer(machine, post))
  const network = createRecordNetwork(dhtOn(machine, nodes), introducers, now)
  const publisher = new Publisher(machine.table<Published>('published'), network, now)
  const own = new OwnZones({
    master,
    table: machine.table<ZoneState>('zones'),
    network,
    publisher,
    addresses: () => [],
    now,
  })
  const realmTable = machine.table<PinnedRealm>('realms')
  await realmTable.put(toHex(realmId(realm)), {
    quorum: realm.quorum,
    keys: realm.keys.map(toHex),
    bits: realm.bits,
    addresses: [],
  })
  const realms = new Realms(realmTable)
  await Promise.all([realms.load(), own.load()])
  const tables = {
    cache: machine.table<Learnt>('cache'),
    pins: machine.table<Pin>('pins'),
    petnames: machine.table<string>('petnames'),
  }
  let names: Names | undefined
  return {
    machine,
    realm,
    introducers,
    network,
    own,
    // Its caches take longer to make than a run of somebody who only claims.
    get names() {
      const proofs = new Proofs(machine.table<ProofRow>('proofs'), realms, now)
      names ??= new Names({ network, own, realms, proofs, ...tables, now })
      return names
    },
    pending: machine.table<PendingClaim>('pending'),
  }
}

export interface Owned {
  own: OwnZone
  /** Of the recovery key, where this call made it. */
  recoverySeed: Bytes | undefined
}

/** Claims `short`, unless the home has it already, and publishes it with one address. */
export async function claimAndPublish(home: Home, short: string, address = '192.0.2.1'): Promise<Owned> {
  const { machine, realm, introducers, own, pending } = home
  const zone = { ...(await own.open(short)), rrs: [rrFromText({ type: 'A', data: address })] }
  let claimed: Claimed | undefined
  if (zone.lease === undefined) {
    claimed = await claimName({
      short,
      owner: zone.pair,
      realm,
      witnesses: introducers,
      pending,
      now: machine.now,
      random: (length) => machine.world.random.bytes(length),
    })
    machine.note(`holds a lease of ${short} with ${claimed.lease.receipts.length} receipts`)
    zone.lease = claimed.lease
  }
  await own.publish(zone)
  await claimed?.settled()
  return { own: own.byLabel(short) as OwnZone, recoverySeed: claimed?.recoverySeed }
}

/** Tries again while it fails as a network does, with a pause in between; the last error is thrown. */
export async function insist<T>(machine: Machine, attempts: number, work: () => Promise<T>): Promise<T> {
  for (let i = 1; ; i++) {
    try {
      return await work()
    } catch (error) {
      if (!isError(error)) throw error
      machine.note(`fails: ${error.message}`)
      if (i === attempts) throw error
      await machine.wait(machine.world.random.between(1_000, 30_000))
    }
  }
}

/** What the network says now; an error's code where it says nothing. */
export async function lookUp(home: Home, name: string): Promise<ZoneAnswer | string> {
  try {
    return await home.names.lookup(parseName(name), { policy: 'network' })
  } catch (error) {
    if (isError(error)) return error.code
    throw error
  }
}

/** What `node/handover.ts` hands to a change, in a node that knows the whole realm. */
export async function succession(home: Home, short: string): Promise<SuccessionParts> {
  const { machine } = home
  const changes = machine.table<PendingChange>('changes')
  return {
    ...(await standing(home, short, home.own.byLabel(short)?.lease ?? (await baseOf(changes, short)))),
    changes,
    recoveries: machine.table<string>('recoveries'),
    now: machine.now,
    random: (length) => machine.world.random.bytes(length),
  }
}

/** Renews and publishes, as `node/handover.ts` does; what was renewed already, without this home having heard of it, is taken over. */
export async function renew(home: Home, short: string, owner: KeyPair): Promise<void> {
  const state = await succession(home, short)
  const isDue = home.machine.now() >= renewableFrom(state.lease)
  const { lease, settled } = await (isDue ? renewName(state, owner) : keepName(state))
  await home.own.publish({ ...(await home.own.open(short)), lease })
  await settled()
}

export function standing(
  { machine, network, introducers, realm }: Home,
  short: string,
  held?: Lease,
): Promise<Standing> {
  const realms = async () => ({ served: [{ realm, witnesses: introducers }], failure: undefined })
  return standingOf({ network, realms, now: machine.now }, short, held)
}
