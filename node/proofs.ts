/**
 * Proofs of witnesses' lies that this home keeps: one for each witness, which is enough to believe it no more. Only those
 * about witnesses of realms that are trusted here are kept, since anybody can prove anything about keys of their own.
 */
import { LRUCache } from 'lru-cache'
import { type Bytes, equalBytes, fromHex, toHex } from './core/encoding.ts'
import { encodeLease, type Lease } from './core/lease.ts'
import { encodeProof, findProofs, liarOf, type Proof, parseProof, verifyProof } from './core/proof.ts'
import type { Realm } from './core/realm.ts'
import type { Table } from './store.ts'

/** As it is stored, by the witness's key in hex. */
export interface ProofRow {
  /** Hex. */
  proof: string
  /** Milliseconds since 1970. */
  since: number
}

export interface KeptProof {
  proof: Proof
  /** When it was found or taken in, ms since 1970. */
  since: number
}

/** Leases of one name that are remembered, to be held against those that come later; and of how many names. */
const LEASES_PER_NAME = 8
const NAMES = 1000

export class Proofs {
  readonly #table: Table<ProofRow>
  readonly #realms: { all(): readonly Realm[] }
  readonly #now: () => number
  readonly #kept = new Map<string, KeptProof>()
  /** Leases that were seen, by name and realm, then by their bytes. */
  readonly #seen = new LRUCache<string, Map<string, Lease>>({ max: NAMES })

  constructor(table: Table<ProofRow>, realms: { all(): readonly Realm[] }, now: () => number) {
    this.#table = table
    this.#realms = realms
    this.#now = now
  }

  async load(): Promise<void> {
    for await (const [, { proof: hex, since }] of this.#table.entries()) {
      const proof = proven(hex)
      if (proof !== undefined) this.#kept.set(toHex(liarOf(proof)), { proof, since })
    }
  }

  all(): KeptProof[] {
    return [...this.#kept.values()]
  }

  of(witnessKey: Bytes): KeptProof | undefined {
    return this.#kept.get(toHex(witnessKey))
  }

  /** Whether nothing that the witness signs counts. A key that lied in one realm is believed in no other. */
  readonly dropped = (_rid: Bytes, witnessKey: Bytes): boolean => this.#kept.has(toHex(witnessKey))

  /** Checks a proof, and keeps the first about a witness. False when that witness is of no trusted realm. Errors: those of `verifyProof`. */
  async add(proof: Proof): Promise<boolean> {
    verifyProof(proof)
    const liar = liarOf(proof)
    const witness = toHex(liar)
    if (this.#kept.has(witness)) return true
    if (!this.#realms.all().some(({ keys }) => keys.some((key) => equalBytes(key, liar)))) return false
    const kept = { proof, since: this.#now() }
    await this.#table.put(witness, { proof: toHex(encodeProof(proof)), since: kept.since })
    this.#kept.set(witness, kept)
    return true
  }

  /** Holds a lease that has passed `verifyLease` against the others of its name that were seen, and keeps what that proves. */
  async look(lease: Lease): Promise<void> {
    const place = `${toHex(lease.claim.rid)}/${lease.claim.name}`
    const others = this.#seen.get(place) ?? new Map<string, Lease>()
    const id = toHex(encodeLease(lease))
    if (others.has(id)) return
    for (const proof of [...others.values()].flatMap((other) => findProofs(other, lease))) await this.add(proof)
    others.set(id, lease)
    const [oldest] = others.keys()
    if (others.size > LEASES_PER_NAME && oldest !== undefined) others.delete(oldest)
    this.#seen.set(place, others)
  }
}

/** What the disk holds proves itself, too: a damaged row must not silence an honest witness. */
function proven(hex: string): Proof | undefined {
  try {
    const proof = parseProof(fromHex(hex))
    verifyProof(proof)
    return proof
  } catch {
    return undefined
  }
}
