/**
 * Everything that witnesses ever let out of their hands, whoever received it. No resolver sees that much: what could be made of it
 * is the worst that could happen.
 */
import { type Auth, chainId, claimId, parseClaim } from '../../node/core/claim.ts'
import { type Bytes, equalBytes, toHex } from '../../node/core/encoding.ts'
import type { Lease, Receipt } from '../../node/core/lease.ts'
import type { Realm } from '../../node/core/realm.ts'

export class Ledger {
  readonly realm: Realm
  readonly #claims = new Map<string, Lease>()

  constructor(realm: Realm) {
    this.realm = realm
  }

  add(claimBytes: Bytes, auth: Auth, receipt: Receipt): void {
    const claim = parseClaim(claimBytes)
    const id = toHex(claimId(claim))
    const lease = this.#claims.get(id) ?? { claim, auth, receipts: [], realm: this.realm }
    if (lease.receipts.some(({ index }) => index === receipt.index)) return
    const receipts = [...lease.receipts, receipt].sort((a, b) => a.index - b.index)
    this.#claims.set(id, { ...lease, receipts })
  }

  /** Every lease that can be put together, with all the receipts there are for it. */
  leases(): Lease[] {
    return [...this.#claims.values()].filter(({ receipts }) => receipts.length >= this.realm.quorum)
  }

  /** Pairs of leases of different owners that are in force at the same time. */
  conflicts(): [Lease, Lease][] {
    return pairsOf(this.leases()).filter(([a, b]) => isConflict(a, b))
  }

  /** Witnesses that signed for two chains of one name at a time. */
  liars(): Set<number> {
    const found = new Set<number>()
    for (const [a, b] of pairsOf([...this.#claims.values()])) {
      if (!isConflict(a, b)) continue
      for (const { index } of a.receipts) if (b.receipts.some((other) => other.index === index)) found.add(index)
    }
    return found
  }
}

function isConflict(a: Lease, b: Lease): boolean {
  if (a.claim.name !== b.claim.name || equalBytes(chainId(a.claim), chainId(b.claim))) return false
  return a.claim.from < b.claim.until && b.claim.from < a.claim.until
}

function pairsOf<T>(items: readonly T[]): [T, T][] {
  return items.flatMap((a, i) => items.slice(i + 1).map((b): [T, T] => [a, b]))
}
