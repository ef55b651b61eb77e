/**
 * Proof that a witness lied: two of its receipts, in one realm and for one name, for different chains whose terms overlap.
 * An honest witness never gives such two (docs/spec/lease.md, "What a witness signs"), and only the holder of its key
 * can, so the proof needs nobody's word (docs/spec/proof.md).
 */
import { type Claim, chainId, claimId, encodeClaim, parseClaim } from './claim.ts'
import { type Bytes, compareBytes, equalBytes, fromCbor, toCbor } from './encoding.ts'
import { P2pnsError } from './errors.ts'
import { CLAIM_WINDOW, encodeReceipt, type Lease, parseReceipt, type Receipt, verifyReceipt } from './lease.ts'
import { parseRealm, type Realm, realmFields, realmId } from './realm.ts'
import { asBytes, asList, asUint } from './shape.ts'

/** What the witness signed. */
export interface Statement {
  claim: Claim
  receipt: Receipt
}

export interface Proof {
  realm: Realm
  /** Position of the witness in the realm's keys. */
  witness: number
  /** The claim with the lower id, so that two finders make the same bytes. */
  first: Statement
  second: Statement
}

/** 16 witnesses, two claims and two receipts of the largest size, and the CBOR around them. */
export const MAX_PROOF_BYTES = 1536
const FORMAT = 1

/** Says of a witness's key whether it is proven to have lied. */
export type IsLiar = (rid: Bytes, witnessKey: Bytes) => boolean

/** The public key of the witness that a proof is about, 32 bytes. */
export function liarOf({ realm, witness }: Proof): Bytes {
  return realm.keys[witness] as Bytes
}

/** True when there is a time at which both hold the name; a term that begins when another ends does not overlap it. */
export function overlap(a: Claim, b: Claim): boolean {
  return a.from < b.until && b.from < a.until
}

/** A proof for each witness that signed both leases, if no honest one could have. Their receipts are not checked here. */
export function findProofs(a: Lease, b: Lease): Proof[] {
  const isLie =
    a.claim.name === b.claim.name &&
    equalBytes(a.claim.rid, b.claim.rid) &&
    !equalBytes(chainId(a.claim), chainId(b.claim)) &&
    overlap(a.claim, b.claim)
  if (!isLie) return []
  const [low, high] = compareBytes(claimId(a.claim), claimId(b.claim)) < 0 ? [a, b] : [b, a]
  return low.receipts.flatMap((receipt) => {
    const other = high.receipts.find(({ index }) => index === receipt.index)
    if (other === undefined) return []
    const first = { claim: low.claim, receipt }
    return [{ realm: low.realm, witness: receipt.index, first, second: { claim: high.claim, receipt: other } }]
  })
}

/** `[1, realm, [claim, receipt], [claim, receipt]]`; claims and receipts as byte strings. */
export function encodeProof({ realm, first, second }: Proof): Bytes {
  const statement = ({ claim, receipt }: Statement) => [encodeClaim(claim), encodeReceipt(receipt)]
  return toCbor([FORMAT, realmFields(realm), statement(first), statement(second)])
}

/** Size and structure; `verifyProof` does the rest. Errors: `too_large`, `malformed`, and those of a claim and a realm. */
export function parseProof(bytes: Bytes): Proof {
  const what = 'A proof'
  const [format, realm, first, second] = asList(fromCbor(bytes, MAX_PROOF_BYTES, what), what, 4)
  if (asUint(format, "A proof's format", 255) !== FORMAT) {
    throw new P2pnsError('malformed', `A proof is not in format ${FORMAT}`)
  }
  const [one, other] = [first, second].map((value) => {
    const [claim, receipt] = asList(value, 'A statement of a proof', 2)
    return { claim: parseClaim(asBytes(claim, 'A claim')), receipt: parseReceipt(asBytes(receipt, 'A receipt')) }
  }) as [Statement, Statement]
  return { realm: parseRealm(realm), witness: one.receipt.index, first: one, second: other }
}

/** Throws unless it shows that the witness lied: `proof_invalid`, `signature_invalid`. Cheap checks first. */
export function verifyProof({ realm, witness, first, second }: Proof): void {
  const refuse = (why: string) => new P2pnsError('proof_invalid', `The proof about "${first.claim.name}" ${why}`)
  const key = realm.keys[witness]
  if (key === undefined || first.receipt.index !== witness || second.receipt.index !== witness) {
    throw refuse('has not two receipts of one witness of its realm')
  }
  const rid = realmId(realm)
  if (![first, second].every(({ claim }) => equalBytes(claim.rid, rid))) throw refuse('has a claim in another realm')
  if (first.claim.name !== second.claim.name) throw refuse('has a claim to another name')
  if (equalBytes(chainId(first.claim), chainId(second.claim))) throw refuse('has two claims of one chain')
  if (!overlap(first.claim, second.claim)) throw refuse('has claims that do not overlap in time')
  if (compareBytes(claimId(first.claim), claimId(second.claim)) >= 0) throw refuse('has its claims in the wrong order')
  for (const { claim, receipt } of [first, second]) {
    if (Math.abs(receipt.time - claim.from) > CLAIM_WINDOW) {
      throw refuse('has a receipt from another time than the start of its claim')
    }
    if (!verifyReceipt(receipt, claimId(claim), key)) {
      throw new P2pnsError('signature_invalid', `A receipt in the proof about "${claim.name}" has a wrong signature`)
    }
  }
}

/** Receipts of a lease by witnesses that are not proven to have lied. */
export function receiptsThatCount({ claim, receipts, realm }: Lease, isLiar: IsLiar): number {
  return receipts.filter(({ index }) => !isLiar(claim.rid, realm.keys[index] as Bytes)).length
}

/** Whether a lease that passed `verifyLease` still has its quorum without the liars. */
export function countsFor(lease: Lease, isLiar: IsLiar): boolean {
  return receiptsThatCount(lease, isLiar) >= lease.realm.quorum
}
