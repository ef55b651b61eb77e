/** What single witnesses hold of a name, put together: each shows its last lease with its own receipt only. */
import { chainId, checkAuth, claimId } from './claim.ts'
import { equalBytes, toHex } from './encoding.ts'
import { P2pnsError } from './errors.ts'
import { isReceiptFor, type Lease, type Receipt } from './lease.ts'
import { type Realm, realmId } from './realm.ts'

/** One lease per claim, with every good receipt that any of `parts` has for it: maybe fewer than a quorum, never none. */
export function gatherLeases(parts: readonly Lease[], realm: Realm): Lease[] {
  const rid = realmId(realm)
  const found = new Map<string, { lease: Lease; receipts: Map<number, Receipt> }>()
  for (const part of parts) {
    if (!equalBytes(part.claim.rid, rid) || !isAuthorized(part)) continue
    for (const receipt of part.receipts) {
      if (!isReceiptFor(part.claim, receipt, realm)) continue
      const id = toHex(claimId(part.claim))
      const known = found.get(id) ?? { lease: part, receipts: new Map() }
      found.set(id, known)
      known.receipts.set(receipt.index, receipt)
    }
  }
  return [...found.values()].map(({ lease, receipts }) => ({
    ...lease,
    receipts: [...receipts.values()].sort((a, b) => a.index - b.index),
    realm,
  }))
}

/** How many witnesses signed for each chain, by its id in hex. */
export function votesByChain(leases: readonly Lease[]): Map<string, number> {
  const voters = new Map<string, Set<number>>()
  for (const { claim, receipts } of leases) {
    const chain = toHex(chainId(claim))
    const seen = voters.get(chain) ?? new Set()
    voters.set(chain, seen)
    for (const { index } of receipts) seen.add(index)
  }
  return new Map([...voters].map(([chain, seen]) => [chain, seen.size]))
}

function isAuthorized({ claim, auth }: Lease): boolean {
  try {
    checkAuth(claim, auth)
    return true
  } catch (error) {
    if (error instanceof P2pnsError) return false
    throw error
  }
}
