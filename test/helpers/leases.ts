/** Claims and leases for tests, with keys that are the same in every run. */

import { type Claim, encodeClaim, mine, signClaim } from '../../node/core/claim.ts'
import { type KeyPair, keyPairFromSeed, sha256 } from '../../node/core/keys.ts'
import { type Lease, signReceipt } from '../../node/core/lease.ts'
import { type Realm, realmId, realmOf } from '../../node/core/realm.ts'

/** Seconds. */
export const DAY = 86_400
/** Seconds since 1970 at which the first claims of tests begin. */
export const START = 1_800_000_000

/** A key pair of 32 equal seed bytes. */
export function pairOf(byte: number): KeyPair {
  return keyPairFromSeed(new Uint8Array(32).fill(byte))
}

export const owner = pairOf(1)
export const recovery = pairOf(2)
export const nextRecovery = pairOf(3)
export const thief = pairOf(4)

/** `count` witnesses, in the order of their realm's keys. */
export function witnessesOf(count: number): KeyPair[] {
  return Array.from({ length: count }, (_, i) => pairOf(100 + i)).sort((a, b) =>
    Buffer.compare(a.publicKey, b.publicKey),
  )
}

export function realmOfWitnesses(count: number, bits = 0): Realm {
  return realmOf(
    witnessesOf(count).map((pair) => pair.publicKey),
    bits,
  )
}

/** A first claim of `owner` to `alice` for 90 days from `START`, with the work that the realm asks for. */
export function firstClaim(realm: Realm, change: Partial<Claim> = {}): Claim {
  const from = change.from ?? START
  const claim = {
    rid: realmId(realm),
    name: 'alice',
    chain: new Uint8Array(0),
    version: 0,
    owner: owner.publicKey,
    recoveryHash: sha256(recovery.publicKey),
    from,
    until: from + 90 * DAY,
    nonce: new Uint8Array(8),
    ...change,
  }
  return mine(claim, realm.bits, claim.nonce)
}

/** The lease of `claim` with a receipt of each witness in `indices` (default: all), given at its start. */
export function leaseOf(
  claim: Claim,
  realm: Realm,
  options: { mode?: 0 | 1; by?: KeyPair; indices?: number[] } = {},
): Lease {
  const witnesses = witnessesOf(realm.keys.length)
  const indices = options.indices ?? realm.keys.map((_, i) => i)
  return {
    claim,
    auth: signClaim(claim, options.mode ?? 0, options.by ?? owner),
    receipts: indices.map((i) => signReceipt(i, claim.from, encodeClaim(claim), witnesses[i] as KeyPair)),
    realm,
  }
}
