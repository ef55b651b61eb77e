/** Who owns a short name, as this machine saw it first: it changes only as the last claim that was seen explains. */
import { type Claim, chainId, encodeClaim, isRelease, parseClaim } from './core/claim.ts'
import { equalBytes, fromHex, toHex } from './core/encoding.ts'
import { P2pnsError } from './core/errors.ts'
import { sha256 } from './core/keys.ts'
import type { Lease } from './core/lease.ts'
import { keyNameOf } from './core/name.ts'
import type { Table } from './store.ts'

/** The claim of the last lease that was seen of a name; hex. */
export interface Pin {
  claim: string
}

/**
 * Remembers the lease of `apex`, which has passed `verifyLease`. Errors: pin_conflict for one that the last one does
 * not explain, record_older for one from before the name changed hands.
 */
export async function checkPin(pins: Table<Pin>, apex: string, lease: Lease): Promise<void> {
  const pin = await pins.get(apex)
  if (pin !== undefined) {
    const last = parseClaim(fromHex(pin.claim))
    switch (judge(last, lease)) {
      case 'known':
        return
      case 'older':
        throw new P2pnsError('record_older', `A lease of ${apex} from before its last change was offered`)
      case 'conflict':
        throw new P2pnsError(
          'pin_conflict',
          `${apex} was known as ${ownerOf(last)}, and a lease that does not follow says ${ownerOf(lease.claim)}`,
        )
    }
  }
  await pins.put(apex, { claim: toHex(encodeClaim(lease.claim)) })
}

function judge(last: Claim, { claim, auth }: Lease): 'later' | 'known' | 'older' | 'conflict' {
  if (!equalBytes(chainId(claim), chainId(last))) return 'conflict'
  const sameOwner = equalBytes(claim.owner, last.owner)
  if (claim.version <= last.version && sameOwner) return 'known'
  if (claim.version < last.version) return 'older'
  // The owner may prolong it as it is; for everything else it takes the recovery key that the last claim promised.
  const isExplained =
    auth.mode === 1
      ? equalBytes(sha256(auth.key), last.recoveryHash)
      : sameOwner && equalBytes(claim.recoveryHash, last.recoveryHash)
  return claim.version > last.version && isExplained ? 'later' : 'conflict'
}

function ownerOf(claim: Claim): string {
  return isRelease(claim) ? "nobody's" : keyNameOf(claim.owner)
}
