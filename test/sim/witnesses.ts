/** Introducers of one realm: real witnesses on machines that crash, liars among them, and the way that others reach them. */
import type { Libp2p } from '@libp2p/interface'
import { createWitness, type From, type Witness } from '../../introducer/witness.ts'
import { MAX_TERM, parseAuth, parseClaim } from '../../node/core/claim.ts'
import { type Bytes, fromHex, toHex } from '../../node/core/encoding.ts'
import { P2pnsError } from '../../node/core/errors.ts'
import type { KeyPair } from '../../node/core/keys.ts'
import {
  CLAIM_WINDOW,
  encodeReceipt,
  type Lease,
  leaseDhtKey,
  parseLease,
  parseNamed,
  signReceipt,
} from '../../node/core/lease.ts'
import { realmId } from '../../node/core/realm.ts'
import { checkRecord } from '../../node/core/records.ts'
import { Introducer } from '../../node/net/introducers.ts'
import { addressOf } from '../node/harness.ts'
import type { Ledger } from './ledger.ts'
import type { Machine } from './machine.ts'
import { dhtOn, StoringNode } from './storing.ts'
import { call } from './wire.ts'

/** `eager` signs whatever comes, `garbage` what nobody asked for, `silence` nothing. */
export type Lie = 'eager' | 'garbage' | 'silence'

/** Milliseconds: longer than a claim is held. */
const CLAIM_TIMEOUT = 25_000
const TIMEOUT = 5_000

/** What an introducer's machine answers. */
export interface Post {
  machine: Machine
  pair: KeyPair
  lie: Lie | undefined
  records: StoringNode
  /** Resolves to a receipt's bytes. */
  claim(claimBytes: Bytes, authBytes: Bytes, from: From): Promise<Bytes>
  gossip(claimBytes: Bytes, authBytes: Bytes, previous?: Lease): Promise<void>
  lease(name: string): Promise<Bytes | undefined>
  /** Its disk is lost, and it knows that. */
  lose(): void
}

/** An honest introducer: `others` are all of its realm, itself included. */
export function honestPost(
  machine: Machine,
  pair: KeyPair,
  ledger: Ledger,
  others: readonly Post[],
  nodes: readonly StoringNode[],
): Post {
  const { realm } = ledger
  const rid = realmId(realm)
  let witness: Witness
  let lostUntil = 0
  const peer = (other: Post) => ({
    key: other.pair.publicKey,
    gossip: (claimBytes: Bytes, authBytes: Bytes, previous?: Lease) =>
      call(machine, other.machine, TIMEOUT, () => other.gossip(claimBytes, authBytes, previous)),
    lease: async (name: string) => {
      const bytes = await call(machine, other.machine, TIMEOUT, () => other.lease(name))
      return bytes && parseLease(bytes)
    },
  })
  const lookup = async (name: string): Promise<Lease | undefined> => {
    const found = await dhtOn(machine, nodes).get(leaseDhtKey(rid, name))
    return found && parseNamed(found.value).lease
  }
  machine.start(() => {
    const table = machine.table<string>('witness')
    const store = {
      get: async (name: string) => {
        const hex = await table.get(name)
        return hex === undefined ? undefined : fromHex(hex)
      },
      put: (name: string, bytes: Bytes) => table.put(name, toHex(bytes)),
    }
    witness = createWitness({
      pair,
      realm,
      store,
      now: machine.now,
      wait: (ms: number) => machine.wait(ms),
      peers: () => others.filter((other) => other.machine !== machine).map(peer),
      lookup,
      lostUntil: async () => lostUntil,
    })
  })
  return {
    machine,
    pair,
    lie: undefined,
    records: new StoringNode(machine),
    async claim(claimBytes, authBytes, from) {
      const auth = parseAuth(authBytes)
      const receipt = await witness.claim(claimBytes, auth, from)
      machine.note(`signs ${called(claimBytes)}`)
      ledger.add(claimBytes, auth, receipt)
      return encodeReceipt(receipt)
    },
    gossip: (claimBytes, authBytes, previous) => witness.gossip(claimBytes, parseAuth(authBytes), previous),
    lease: (name) => witness.lease(name),
    lose() {
      machine.note('loses its disk')
      machine.loseDisk()
      // As introducer/index.ts reckons.
      lostUntil = Math.floor(machine.now() / 1000) + CLAIM_WINDOW + MAX_TERM
    },
  }
}

/** An introducer that follows no rule but its own. */
export function lyingPost(machine: Machine, pair: KeyPair, ledger: Ledger, lie: Lie): Post {
  const index = ledger.realm.keys.findIndex((key) => toHex(key) === toHex(pair.publicKey))
  const { random } = machine.world
  return {
    machine,
    pair,
    lie,
    records: new StoringNode(machine, 'rollback'),
    async claim(claimBytes, authBytes) {
      if (lie === 'silence') return new Promise(() => {})
      const auth = parseAuth(authBytes)
      const receipt = signReceipt(index, parseClaim(claimBytes).from, claimBytes, pair)
      if (lie === 'garbage') return encodeReceipt({ ...receipt, signature: random.bytes(64) })
      machine.note(`signs, as it signs everything, ${called(claimBytes)}`)
      ledger.add(claimBytes, auth, receipt)
      return encodeReceipt(receipt)
    },
    gossip: async () => {},
    lease: async () => undefined,
    lose() {},
  }
}

export function called(claimBytes: Bytes): string {
  const { name, version, owner, from } = parseClaim(claimBytes)
  return `${name} v${version} of ${toHex(owner).slice(0, 6)} from ${from}`
}

/** The real client's side of an introducer, as `machine` sees it. */
export class SimIntroducer extends Introducer {
  readonly #machine: Machine
  readonly #post: Post

  constructor(machine: Machine, post: Post) {
    super({} as Libp2p, addressOf(post.pair.publicKey), machine.now)
    this.#machine = machine
    this.#post = post
  }

  override async get(key: Bytes): Promise<Bytes | undefined> {
    const value = await this.#ask(TIMEOUT, (post) => post.records.get(key))
    if (value !== undefined) checkRecord(key, value, this.#machine.now())
    return value
  }

  override async put(key: Bytes, value: Bytes): Promise<void> {
    await this.#ask(TIMEOUT, (post) => post.records.put(key, value))
  }

  override async claim(claimBytes: Bytes, authBytes: Bytes, options: { previous?: Lease } = {}): Promise<Bytes> {
    const { previous } = options
    const from = { block: this.#machine.name, ...(previous ? { previous } : {}) }
    try {
      return await this.#ask(CLAIM_TIMEOUT, (post) => post.claim(claimBytes, authBytes, from))
    } catch (error) {
      const why = error instanceof P2pnsError ? error.code : String(error)
      this.#machine.note(`is refused by ${this.#post.machine.name}: ${why}`)
      throw error
    }
  }

  override async lease(name: string): Promise<Lease | undefined> {
    const bytes = await this.#ask(TIMEOUT, (post) => post.lease(name))
    return bytes && parseLease(bytes)
  }

  #ask<T>(timeout: number, work: (post: Post) => Promise<T>): Promise<T> {
    return call(this.#machine, this.#post.machine, timeout, () => work(this.#post))
  }
}
