/** The realms that this home trusts: pinned when it is pointed at one of their introducers, and kept. */
import type { Descriptor } from './core/descriptor.ts'
import { equalBytes, fromHex, toHex } from './core/encoding.ts'
import { type Realm, realmId } from './core/realm.ts'
import type { Introducer } from './net/introducers.ts'
import type { Table } from './store.ts'

export interface PinnedRealm {
  quorum: number
  /** Hex. */
  keys: string[]
  bits: number
  addresses: string[]
}

export class Realms {
  readonly #table: Table<PinnedRealm>
  readonly #realms = new Map<string, Realm>()

  constructor(table: Table<PinnedRealm>) {
    this.#table = table
  }

  async load(): Promise<void> {
    for await (const [rid, { quorum, keys, bits }] of this.#table.entries()) {
      this.#realms.set(rid, { quorum, keys: keys.map(fromHex), bits })
    }
  }

  all(): Realm[] {
    return [...this.#realms.values()]
  }

  /** Pins the realm that an introducer serves, if the introducer itself is one of its witnesses. */
  async pinFrom(introducer: Introducer, signal?: AbortSignal): Promise<Realm | undefined> {
    const descriptor = await introducer.descriptor(signal)
    if (!descriptor.realm.keys.some((key) => equalBytes(key, introducer.witnessKey))) return undefined
    await this.#pin(descriptor)
    return descriptor.realm
  }

  async #pin({ realm, addresses }: Descriptor): Promise<void> {
    const rid = toHex(realmId(realm))
    if (this.#realms.has(rid)) return
    await this.#table.put(rid, { quorum: realm.quorum, keys: realm.keys.map(toHex), bits: realm.bits, addresses })
    this.#realms.set(rid, realm)
  }
}
