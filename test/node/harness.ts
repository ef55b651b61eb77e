/** Homes without sockets: real parts of a node over tables in memory, a network that a test scripts, a clock it turns. */

import assert from 'node:assert/strict'
import { publicKeyFromRaw } from '@libp2p/crypto/keys'
import type { Libp2p } from '@libp2p/interface'
import { peerIdFromPublicKey } from '@libp2p/peer-id'
import { createWitness } from '../../introducer/witness.ts'
import type { PendingClaim } from '../../node/claims.ts'
import type { Registered, RegisterRequest } from '../../node/contract.ts'
import { parseAuth } from '../../node/core/claim.ts'
import { type Descriptor, encodeBody, encodeDescriptor, parseDescriptor, signBody } from '../../node/core/descriptor.ts'
import { type Bytes, toHex } from '../../node/core/encoding.ts'
import { P2pnsError } from '../../node/core/errors.ts'
import type { KeyPair } from '../../node/core/keys.ts'
import { encodeReceipt, type Lease, parseLease } from '../../node/core/lease.ts'
import { type Realm, realmOf } from '../../node/core/realm.ts'
import { checkRecord, compareRecords } from '../../node/core/records.ts'
import { type Learnt, Names, type Pin } from '../../node/names.ts'
import { Introducer } from '../../node/net/introducers.ts'
import type { GetOptions, NetworkRecord, RecordNetwork } from '../../node/net/record-network.ts'
import { OwnZones, type ZoneState } from '../../node/own-zones.ts'
import { type ProofRow, Proofs } from '../../node/proofs.ts'
import { type Published, Publisher } from '../../node/publisher.ts'
import { type PinnedRealm, Realms } from '../../node/realms.ts'
import { register } from '../../node/register.ts'
import type { Table } from '../../node/store.ts'
import { Witnesses } from '../../node/witnesses.ts'
import { pairOf, realmOfWitnesses, START, witnessesOf } from '../helpers/leases.ts'
import { signDescriptor } from '../helpers/signed.ts'
import { memoryTable } from '../helpers/table.ts'

/** Milliseconds. */
export const MINUTE = 60_000
export const HOUR = 60 * MINUTE
export const DAY = 24 * HOUR

export class Clock {
  /** Milliseconds since 1970. */
  at = START * 1000
  readonly now = (): number => this.at
}

/** Keeps what the rules of the record table allow, as honest storing nodes do; each test may script it otherwise. */
export class FakeNetwork implements RecordNetwork {
  readonly records = new Map<string, Bytes>()
  /** Keys asked for, in hex. */
  readonly gets: string[] = []
  readonly puts: { key: string; value: Bytes }[] = []
  up = true
  /** Called before a put is judged. */
  beforePut = async (_key: Bytes, _value: Bytes): Promise<void> => {}
  answer = async (key: Bytes, _options: GetOptions): Promise<NetworkRecord | undefined> => {
    if (!this.up) throw new P2pnsError('network_unreachable', 'The network could not be asked')
    const value = this.records.get(toHex(key))
    return value && { value, source: 'dht' }
  }
  readonly #now: () => number

  constructor(now: () => number) {
    this.#now = now
  }

  async get(key: Bytes, options: GetOptions = {}): Promise<NetworkRecord | undefined> {
    this.gets.push(toHex(key))
    return this.answer(key, options)
  }

  async put(key: Bytes, value: Bytes): Promise<number> {
    await this.beforePut(key, value)
    checkRecord(key, value, this.#now())
    this.puts.push({ key: toHex(key), value })
    if (!this.up) return 0
    const held = this.records.get(toHex(key))
    if (held !== undefined && compareRecords(key, value, held, this.#now()) < 0) {
      throw new P2pnsError('record_older', 'An older record was offered in place of a newer one')
    }
    this.records.set(toHex(key), value)
    return 1
  }

  /** Puts a record there without asking whether it is newer. */
  plant(key: Bytes, value: Bytes): void {
    this.records.set(toHex(key), value)
  }
}

/** An introducer that is only its witness: the real one, without a stream in between. */
export class FakeIntroducer extends Introducer {
  readonly realm: Realm
  /** What its witness remembers, by name. */
  readonly signed = new Map<string, Bytes>()
  up = true
  /** Called after the witness has signed; what it throws is what the asker sees. */
  afterClaim = async (): Promise<void> => {}
  describe: () => Bytes
  readonly #witness

  /** `others`: the witnesses of its realm, itself among them or not. */
  constructor(
    clock: Clock,
    options: { pair?: KeyPair; bits?: number; realm?: Realm; others?: readonly FakeIntroducer[] } = {},
  ) {
    const pair = options.pair ?? pairOf(100)
    super({} as Libp2p, addressOf(pair.publicKey), clock.now)
    this.realm = options.realm ?? realmOf([pair.publicKey], options.bits ?? 2)
    this.describe = () =>
      signDescriptor({ realm: this.realm, displayName: '', addresses: [this.address], issued: START }, pair)
    const store = {
      get: async (name: string) => this.signed.get(name),
      put: async (name: string, bytes: Bytes) => void this.signed.set(name, bytes),
    }
    this.#witness = createWitness({
      pair,
      realm: this.realm,
      store,
      now: clock.now,
      wait: settled,
      lookup: async () => undefined,
      peers: () =>
        (options.others ?? [])
          .filter((other) => other !== this)
          .map((other) => ({
            key: other.witnessKey,
            gossip: (claim, auth, previous) => other.gossip(claim, auth, previous),
            lease: (name) => other.lease(name),
          })),
    })
  }

  override async descriptor(): Promise<Descriptor> {
    this.#checkUp()
    return parseDescriptor(this.describe())
  }

  override async claim(claim: Bytes, auth: Bytes, options: { previous?: Lease } = {}): Promise<Bytes> {
    this.#checkUp()
    const from = options.previous ? { previous: options.previous } : {}
    const receipt = await this.#witness.claim(claim, parseAuth(auth), from)
    await this.afterClaim()
    return encodeReceipt(receipt)
  }

  override async gossip(claim: Bytes, auth: Bytes, previous?: Lease): Promise<void> {
    this.#checkUp()
    await this.#witness.gossip(claim, parseAuth(auth), previous)
  }

  override async lease(name: string): Promise<Lease | undefined> {
    this.#checkUp()
    const held = await this.#witness.lease(name)
    return held && parseLease(held)
  }

  #checkUp(): void {
    if (!this.up) throw new P2pnsError('network_unreachable', `The introducer ${this.address} does not answer`)
  }
}

/** The introducers of one realm of `count` witnesses, in the order of its keys. */
export function fakeRealm(clock: Clock, count: number): FakeIntroducer[] {
  const [realm, pairs] = [realmOfWitnesses(count, 2), witnessesOf(count)]
  const introducers: FakeIntroducer[] = []
  for (const pair of pairs) introducers.push(new FakeIntroducer(clock, { pair, realm, others: introducers }))
  const addresses = introducers.map(({ address }) => address)
  const body = encodeBody({ realm, displayName: '', addresses, issued: START })
  const descriptor = encodeDescriptor(body, new Map(pairs.map((pair, i) => [i, signBody(body, pair)])))
  for (const introducer of introducers) introducer.describe = () => descriptor
  return introducers
}

/** A multiaddr that ends in the peer id of `publicKey`. */
export function addressOf(publicKey: Bytes): string {
  return `/ip4/192.0.2.1/tcp/4001/p2p/${peerIdFromPublicKey(publicKeyFromRaw(publicKey)).toString()}`
}

/** What stays of a home when its process ends. */
export interface Disk {
  zones: Table<ZoneState>
  published: Table<Published>
  pending: Table<PendingClaim>
  promised: Table<string[]>
  realms: Table<PinnedRealm>
  cache: Table<Learnt>
  pins: Table<Pin>
  petnames: Table<string>
  proofs: Table<ProofRow>
}

export function emptyDisk(): Disk {
  return {
    zones: memoryTable(),
    published: memoryTable(),
    pending: memoryTable(),
    promised: memoryTable(),
    realms: memoryTable(),
    cache: memoryTable(),
    pins: memoryTable(),
    petnames: memoryTable(),
    proofs: memoryTable(),
  }
}

export interface Home {
  own: OwnZones
  publisher: Publisher
  names: Names
  realms: Realms
  proofs: Proofs
  register: (request: RegisterRequest & { content?: string }, signal?: AbortSignal) => Promise<Registered>
}

/** A home that has just been started; with the `disk` of an earlier one it goes on where that one stopped. */
export async function startHome(options: {
  clock: Clock
  network: RecordNetwork
  disk?: Disk
  /** Any byte: homes with the same one have the same keys. */
  seed?: number
  introducers?: FakeIntroducer[]
  /** Introducers that the home is not pointed at, but may be told of. */
  others?: FakeIntroducer[]
  addresses?: () => string[]
}): Promise<Home> {
  const { clock, network, disk = emptyDisk(), introducers = [] } = options
  const { now } = clock
  const publisher = new Publisher(disk.published, network, now)
  const realms = new Realms(disk.realms)
  const own = new OwnZones({
    master: new Uint8Array(32).fill(options.seed ?? 1),
    table: disk.zones,
    network,
    publisher,
    addresses: options.addresses ?? (() => []),
    now,
  })
  const proofs = new Proofs(disk.proofs, realms, now)
  await Promise.all([realms.load(), own.load(), proofs.load()])
  const { cache, pins, petnames } = disk
  const names = new Names({ network, own, realms, cache, pins, petnames, proofs, now })
  const parts = {
    own,
    names,
    network,
    pending: disk.pending,
    promised: disk.promised,
    witnesses: new Witnesses(introducers, realms, (address) => {
      const known = options.others?.find((other) => other.address === address)
      assert.ok(known, `nobody is at ${address}`)
      return known
    }),
    now,
  }
  const job = (signal?: AbortSignal) => (signal ? { signal } : {})
  return { own, publisher, names, realms, proofs, register: (request, signal) => register(parts, request, job(signal)) }
}

/** Lets everything run that waits for nothing but promises. */
export function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
