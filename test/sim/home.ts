/** The real parts of a node on a machine of the simulation. */
import { claimName, type PendingClaim } from '../../node/claims.ts'
import { type Bytes, toHex } from '../../node/core/encoding.ts'
import { isError } from '../../node/core/errors.ts'
import { parseName } from '../../node/core/name.ts'
import { rrFromText } from '../../node/core/rdata.ts'
import { type Realm, realmId } from '../../node/core/realm.ts'
import { type Learnt, Names, type Pin, type ZoneAnswer } from '../../node/names.ts'
import { createRecordNetwork, type RecordNetwork } from '../../node/net/record-network.ts'
import { type OwnZone, OwnZones, type ZoneState } from '../../node/own-zones.ts'
import { type Published, Publisher } from '../../node/publisher.ts'
import { type PinnedRealm, Realms } from '../../node/realms.ts'
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
  publisher: Publisher
  names: Names
  pending: ReturnType<typeof pendingOf>
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
  const names = new Names({
    network,
    own,
    realms,
    cache: machine.table<Learnt>('cache'),
    pins: machine.table<Pin>('pins'),
    petnames: machine.table<string>('petnames'),
    now,
  })
  return { machine, realm, introducers, network, own, publisher, names, pending: pendingOf(machine) }
}

function pendingOf(machine: Machine) {
  return machine.table<PendingClaim>('pending')
}

/** Claims `short`, unless the home has it already, and publishes it with one address; resolves to how many took it. */
export async function claimAndPublish(home: Home, short: string, address = '192.0.2.1'): Promise<OwnZone> {
  const { machine, realm, introducers, own, pending } = home
  const zone = { ...(await own.open(short)), rrs: [rrFromText({ type: 'A', data: address })] }
  if (zone.lease === undefined) {
    const claimed = await claimName({
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
    await own.publish(zone)
    await claimed.settled()
  } else {
    await own.publish(zone)
  }
  return own.byLabel(short) as OwnZone
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
