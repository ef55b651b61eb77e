/** The realms that this home trusts: pinned when it is pointed at one of their introducers, and kept. */
import type { Descriptor } from './core/descriptor.ts'
import { type Bytes, equalBytes, fromHex, toHex } from './core/encoding.ts'
import { type Realm, realmId } from './core/realm.ts'
import type { Introducer } from './net/introducers.ts'
import type { Table } from './store.ts'

export interface PinnedRealm {
  quorum: number
  /** Hex. */
  keys: string[]
  bits: number
  /** Of its witnesses, each with its peer id, as the newest descriptor that was seen says. */
  addresses: string[]
  /** Of that descriptor; seconds since 1970. */
  issued?: number
  /** The person wants it no more: it is not pinned again by itself. */
  removed?: boolean
}

interface Kept {
  realm: Realm
  addresses: readonly string[]
  issued: number
  removed: boolean
}

export class Realms {
  readonly #table: Table<PinnedRealm>
  /** By id, in hex. */
  readonly #realms = new Map<string, Kept>()

  constructor(table: Table<PinnedRealm>) {
    this.#table = table
  }

  async load(): Promise<void> {
    for await (const [rid, { quorum, keys, bits, addresses, issued = 0, removed = false }] of this.#table.entries()) {
      this.#realms.set(rid, { realm: { quorum, keys: keys.map(fromHex), bits }, addresses, issued, removed })
    }
  }

  all(): Realm[] {
    return this.#trusted().map(({ realm }) => realm)
  }

  /** Of the witnesses of a realm, as it said last. */
  addressesOf(realm: Realm): readonly string[] {
    return this.#realms.get(toHex(realmId(realm)))?.addresses ?? []
  }

  /** The realm in which a witness was seen last. */
  withWitness(key: Bytes): Realm | undefined {
    const known = this.#trusted().filter(({ realm }) => hasWitness(realm, key))
    return known.sort((a, b) => b.issued - a.issued)[0]?.realm
  }

  /**
   * Pins the realm that an introducer serves, if the introducer itself is one of its witnesses; undefined if it is not, or if the
   * realm was removed. `isAsked`: the person has just pointed at the introducer, so that a removal no longer counts.
   */
  async pinFrom(introducer: Introducer, signal?: AbortSignal, isAsked = false): Promise<Realm | undefined> {
    const descriptor = await introducer.descriptor(signal)
    const { realm } = descriptor
    if (!hasWitness(realm, introducer.witnessKey)) return undefined
    const known = this.#realms.get(toHex(realmId(realm)))
    if (known?.removed && !isAsked) return undefined
    if (known === undefined || known.removed || descriptor.issued > known.issued) await this.#keep(descriptor, false)
    return realm
  }

  /** From now on its leases count no more. */
  async remove(rid: Bytes): Promise<void> {
    const known = this.#realms.get(toHex(rid))
    if (known !== undefined) await this.#keep(known, true)
  }

  async #keep({ realm, addresses, issued }: Omit<Descriptor, 'displayName'> | Kept, removed: boolean): Promise<void> {
    const { quorum, keys, bits } = realm
    const rid = toHex(realmId(realm))
    const row = { quorum, keys: keys.map(toHex), bits, addresses: [...addresses], issued }
    await this.#table.put(rid, removed ? { ...row, removed } : row)
    this.#realms.set(rid, { realm, addresses, issued, removed })
  }

  #trusted(): Kept[] {
    return [...this.#realms.values()].filter(({ removed }) => !removed)
  }
}

function hasWitness({ keys }: Realm, key: Bytes): boolean {
  return keys.some((other) => equalBytes(other, key))
}
