/** The witnesses of a realm, as this node reaches them: it may be pointed at one of them, and needs a quorum. */
import { type Bytes, equalBytes } from './core/encoding.ts'
import { type Realm, realmId } from './core/realm.ts'
import { type Introducer, keyOfAddress } from './net/introducers.ts'
import type { Realms } from './realms.ts'

export interface ServedRealm {
  realm: Realm
  witnesses: Introducer[]
}

export class Witnesses {
  readonly #introducers: readonly Introducer[]
  readonly #realms: Realms
  readonly #open: (address: string, others: string[]) => Introducer
  /** Those that this node was not pointed at, by their first address. */
  readonly #opened = new Map<string, Introducer>()

  /** `open` makes an introducer of addresses that all end in its peer id. */
  constructor(
    introducers: readonly Introducer[],
    realms: Realms,
    open: (address: string, others: string[]) => Introducer,
  ) {
    this.#introducers = introducers
    this.#realms = realms
    this.#open = open
  }

  /**
   * The realms in which this node may claim a name, in the order of the introducers that it was pointed at: as they say now, or where
   * one does not answer, as it said last. `failure`: of the first that has never said anything usable.
   */
  async realms(signal?: AbortSignal): Promise<{ served: ServedRealm[]; failure: unknown }> {
    const answers = await Promise.allSettled(this.#introducers.map((one) => this.#realms.pinFrom(one, signal)))
    signal?.throwIfAborted()
    const served: ServedRealm[] = []
    let failure: unknown
    answers.forEach((answer, i) => {
      const { witnessKey } = this.#introducers[i] as Introducer
      const realm = answer.status === 'fulfilled' ? answer.value : this.#realms.withWitness(witnessKey)
      if (answer.status === 'rejected' && realm === undefined) failure ??= answer.reason
      if (realm === undefined || served.some((one) => equalBytes(realmId(one.realm), realmId(realm)))) return
      served.push({ realm, witnesses: this.of(realm) })
    })
    return { served, failure }
  }

  /** Those of a realm whose address is known, in the order of its keys. */
  of(realm: Realm): Introducer[] {
    const addresses = this.#realms.addressesOf(realm)
    return realm.keys.flatMap((key) => this.#pointedAt(key) ?? this.#from(addresses, key) ?? [])
  }

  close(): void {
    for (const introducer of this.#opened.values()) introducer.close()
  }

  #pointedAt(key: Bytes): Introducer | undefined {
    return this.#introducers.find(({ witnessKey }) => equalBytes(witnessKey, key))
  }

  #from(addresses: readonly string[], key: Bytes): Introducer | undefined {
    const [first, ...others] = addresses.filter((address) => equalBytes(keyOfAddress(address), key))
    if (first === undefined) return undefined
    const known = this.#opened.get(first)
    if (known !== undefined) return known
    const opened = this.#open(first, others)
    this.#opened.set(first, opened)
    return opened
  }
}
