/**
 * The descriptor of the realm: any of its witnesses proposes one with everybody's addresses, the others sign it, and all
 * serve it. The last one is kept, so that one that restarts while others are away can still show who they are.
 */
import { encodeBody, encodeDescriptor, parseBody, parseDescriptor, signBody } from '../node/core/descriptor.ts'
import { type Bytes, equalBytes, fromHex, toHex } from '../node/core/encoding.ts'
import { isError, P2pnsError } from '../node/core/errors.ts'
import type { KeyPair } from '../node/core/keys.ts'
import { type Realm, realmId } from '../node/core/realm.ts'
import { type Introducer, keyOfAddress } from '../node/net/introducers.ts'
import type { Table } from '../node/store.ts'

/** What it needs of another witness. */
export type DescriptorPeer = Pick<Introducer, 'witnessKey' | 'addresses' | 'endorse' | 'adopt'>

export interface DescriptorParts {
  pair: KeyPair
  realm: Realm
  /** This witness's own, as others may reach it. */
  addresses: () => string[]
  peers: readonly DescriptorPeer[]
  kept: Table<string>
  /** Milliseconds since 1970. */
  now: () => number
}

const KEPT = 'signed'
/** Seconds that a proposal may be off the clock of who signs it. */
const WINDOW = 300
/** Seconds: how old a descriptor gets before another is made. */
const REFRESH_AFTER = 86_400
/** How often it is seen whether one has to be made, in ms; until a quorum has signed this is how often it is asked. */
const CHECK_MS = 15_000
/** With 16 witnesses a descriptor stays below its 8192 bytes. */
const ADDRESSES_PER_WITNESS = 4

export class DescriptorKeeper {
  readonly #parts: DescriptorParts
  readonly #rid: Bytes
  #held: Bytes | undefined
  /** Witnesses that did not sign the last proposal. */
  #missing: readonly DescriptorPeer[]
  #timer: NodeJS.Timeout | undefined

  constructor(parts: DescriptorParts) {
    this.#parts = parts
    this.#rid = realmId(parts.realm)
    this.#missing = parts.peers
  }

  /** Takes up the one of last time; a witness that stands alone has its own at once. */
  async start(): Promise<void> {
    this.#held = await this.#restore()
    const first = this.#check()
    if (this.#parts.peers.length === 0) await first
    else void first.catch(() => {})
    // What a full disk keeps from being written is tried again.
    this.#timer = setInterval(() => void this.#check().catch(() => {}), CHECK_MS)
    this.#timer.unref()
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  /** Errors: quorum_missing until enough witnesses have signed. */
  bytes(): Bytes {
    if (this.#held !== undefined) return this.#held
    const { keys, quorum } = this.#parts.realm
    const missing = this.#missing.map(({ addresses }) => addresses[0]).join(', ')
    throw new P2pnsError(
      'quorum_missing',
      `The realm of this introducer has ${keys.length} witnesses, and fewer than ${quorum} of them have met; missing: ${missing}`,
    )
  }

  /** This witness's signature under a proposal of another one. Errors: malformed, lease_invalid, clock_wrong. */
  endorse(body: Bytes): Bytes {
    const { realm, addresses, issued } = parseBody(body)
    if (!equalBytes(realmId(realm), this.#rid)) {
      throw new P2pnsError('lease_invalid', 'A descriptor was proposed for another realm than that of this witness')
    }
    if (Math.abs(issued - this.#now()) > WINDOW) {
      throw new P2pnsError('clock_wrong', "A descriptor was not issued within 5 minutes of this witness's clock")
    }
    for (const address of addresses) {
      if (!realm.keys.some((key) => equalBytes(key, keyOfAddress(address)))) {
        throw new P2pnsError('malformed', `A descriptor names "${address.slice(0, 200)}", which is of no witness`)
      }
    }
    return signBody(body, this.#parts.pair)
  }

  /** Takes a newer descriptor that a quorum has signed. Errors: those of `parseDescriptor`, lease_invalid. */
  async adopt(bytes: Bytes): Promise<void> {
    if (!this.#isOurs(bytes)) throw new P2pnsError('lease_invalid', 'A descriptor is of another realm')
    if (this.#held === undefined || parseDescriptor(bytes).issued > parseDescriptor(this.#held).issued) {
      await this.#hold(bytes)
    }
  }

  async #check(): Promise<void> {
    if (this.#isDue()) await this.#propose()
  }

  #isDue(): boolean {
    if (this.#held === undefined) return true
    const { addresses, issued } = parseDescriptor(this.#held)
    const isOld = Math.abs(this.#now() - issued) > REFRESH_AFTER
    return isOld || this.#own().some((address) => !addresses.includes(address))
  }

  async #propose(): Promise<void> {
    const { pair, realm, peers } = this.#parts
    const body = encodeBody({ realm, displayName: '', addresses: this.#everybody(), issued: this.#now() })
    const indexOf = (key: Bytes) => realm.keys.findIndex((other) => equalBytes(other, key))
    const signatures = new Map([[indexOf(pair.publicKey), signBody(body, pair)]])
    const answers = await Promise.allSettled(
      peers.map(async (peer) => signatures.set(indexOf(peer.witnessKey), await peer.endorse(body))),
    )
    this.#missing = peers.filter((_, i) => answers[i]?.status === 'rejected')
    if (signatures.size < realm.quorum) return
    const bytes = encodeDescriptor(body, signatures)
    await this.adopt(bytes)
    await Promise.allSettled(peers.map((peer) => peer.adopt(bytes)))
  }

  /** Its own addresses as they are now; of the others what they said last, and what this one was told. */
  #everybody(): string[] {
    const { peers } = this.#parts
    const said = this.#held === undefined ? [] : parseDescriptor(this.#held).addresses
    return [
      ...this.#own(),
      ...peers.flatMap(({ witnessKey, addresses }) => {
        const own = said.filter((address) => equalBytes(keyOfAddress(address), witnessKey))
        return [...new Set([...own, ...addresses])].slice(0, ADDRESSES_PER_WITNESS)
      }),
    ]
  }

  #own(): string[] {
    return this.#parts.addresses().slice(0, ADDRESSES_PER_WITNESS)
  }

  /** Undefined also for what an older version kept. */
  async #restore(): Promise<Bytes | undefined> {
    const kept = await this.#parts.kept.get(KEPT)
    if (kept === undefined) return undefined
    try {
      const bytes = fromHex(kept)
      return this.#isOurs(bytes) ? bytes : undefined
    } catch (error) {
      if (isError(error)) return undefined
      throw error
    }
  }

  async #hold(bytes: Bytes): Promise<void> {
    this.#held = bytes
    await this.#parts.kept.put(KEPT, toHex(bytes))
  }

  #isOurs(bytes: Bytes): boolean {
    return equalBytes(realmId(parseDescriptor(bytes).realm), this.#rid)
  }

  /** Seconds since 1970. */
  #now(): number {
    return Math.floor(this.#parts.now() / 1000)
  }
}
