/** A lease: a claim with the receipts of a quorum of witnesses. Anyone can check it whole, with no configuration. */
import {
  type Auth,
  authFields,
  type Claim,
  chainId,
  checkAuth,
  checkWork,
  claimFields,
  claimId,
  MAX_TIME,
  readAuth,
  readClaim,
} from './claim.ts'
import { type Bytes, type CborValue, compareBytes, concat, equalBytes, fromCbor, toCbor, utf8 } from './encoding.ts'
import { P2pnsError } from './errors.ts'
import { type KeyPair, sha256, verify } from './keys.ts'
import { parseRealm, type Realm, realmFields, realmId } from './realm.ts'
import { asBytes, asList, asUint } from './shape.ts'

/** "I, witness `index` of the realm, saw this claim at `time`, and no other that holds the name then." */
export interface Receipt {
  /** Position of the witness in the realm's keys. */
  index: number
  /** Seconds since 1970. */
  time: number
  /** 64 bytes, over `"p2pns/receipt/v1\0" | SHA256(claim) | CBOR(time)`. */
  signature: Bytes
}

export interface Lease {
  claim: Claim
  auth: Auth
  /** By ascending index, one per witness. */
  receipts: readonly Receipt[]
  realm: Realm
}

export const MAX_LEASE_BYTES = 2048
/** A lease, a zone record of up to 8192 bytes, and the CBOR around them. */
export const MAX_NAMED_BYTES = MAX_LEASE_BYTES + 8192 + 16
/** Seconds that a witness lets a claim's start be off its own clock; so its receipt's time is that near, too. */
export const CLAIM_WINDOW = 300
/** A lease from further ahead, in seconds, can only mean that this machine's clock is wrong. */
const MAX_AHEAD = 86_400
const MAX_RECEIPT_BYTES = 96

function signedText(claimHash: Bytes, time: number): Bytes {
  return concat(utf8('p2pns/receipt/v1\0'), claimHash, toCbor(time))
}

/** `time` in seconds. */
export function signReceipt(index: number, time: number, claimBytes: Bytes, pair: KeyPair): Receipt {
  return { index, time, signature: pair.sign(signedText(sha256(claimBytes), time)) }
}

/** Whether the witness whose key this is signed the receipt, for the claim of this id. */
export function verifyReceipt({ time, signature }: Receipt, claimHash: Bytes, witnessKey: Bytes): boolean {
  return verify(witnessKey, signedText(claimHash, time), signature)
}

/** Whether a witness of `realm` gave `receipt` for `claim`, near its start. */
export function isReceiptFor(claim: Claim, receipt: Receipt, realm: Realm): boolean {
  const key = realm.keys[receipt.index]
  if (key === undefined || Math.abs(receipt.time - claim.from) > CLAIM_WINDOW) return false
  return verifyReceipt(receipt, claimId(claim), key)
}

function receiptFields(receipt: Receipt): CborValue {
  return [receipt.index, receipt.time, receipt.signature]
}

function readReceipt(value: CborValue): Receipt {
  const [index, time, signature] = asList(value, 'A receipt', 3)
  return {
    index: asUint(index, 'A witness index', 255),
    time: asUint(time, "A receipt's time", MAX_TIME),
    signature: asBytes(signature, "A receipt's signature", 64),
  }
}

export function encodeReceipt(receipt: Receipt): Bytes {
  return toCbor(receiptFields(receipt))
}

export function parseReceipt(bytes: Bytes): Receipt {
  return readReceipt(fromCbor(bytes, MAX_RECEIPT_BYTES, 'A receipt'))
}

/** `[claim, auth, receipts, realm]`. */
export function encodeLease(lease: Lease): Bytes {
  return toCbor([
    claimFields(lease.claim),
    authFields(lease.auth),
    lease.receipts.map(receiptFields),
    realmFields(lease.realm),
  ])
}

/** Size, structure and the rules that need no hash and no clock; `verifyLease` does the rest. */
export function parseLease(bytes: Bytes): Lease {
  const [claim, auth, receipts, realmField] = asList(fromCbor(bytes, MAX_LEASE_BYTES, 'A lease'), 'A lease', 4)
  const realm = parseRealm(realmField)
  return {
    claim: readClaim(claim),
    auth: readAuth(auth),
    receipts: asList(receipts, 'The receipts of a lease', 1, realm.keys.length).map(readReceipt),
    realm,
  }
}

/**
 * Throws unless the lease is what it says and, where `now` (ms) is given, in force: `lease_invalid`, `work_missing`,
 * `lease_expired`, `clock_wrong`, `signature_invalid`. Cheap checks first. A release in force passes: see `isRelease`.
 */
export function verifyLease(lease: Lease, now?: number): void {
  const { claim, auth, receipts, realm } = lease
  const refuse = (why: string) => new P2pnsError('lease_invalid', `The lease of "${claim.name}" ${why}`)
  if (!equalBytes(claim.rid, realmId(realm))) throw refuse('carries another realm than the one that it was claimed in')
  if (receipts.length < realm.quorum) throw refuse(`has ${receipts.length} receipts of the ${realm.quorum} it needs`)
  receipts.forEach(({ index, time }, i) => {
    if (index >= realm.keys.length) throw refuse('has a receipt of no witness')
    if (i > 0 && index <= (receipts[i - 1] as Receipt).index) throw refuse('has receipts twice or out of order')
    if (Math.abs(time - claim.from) > CLAIM_WINDOW) throw refuse('has a receipt from another time than its start')
  })
  checkWork(claim, realm.bits)
  if (now !== undefined) {
    if (!isInForce(lease, now)) throw new P2pnsError('lease_expired', `The lease of "${claim.name}" has ended`)
    if (claim.from > now / 1000 + MAX_AHEAD) {
      throw new P2pnsError('clock_wrong', `The lease of "${claim.name}" begins more than a day from now`)
    }
  }
  checkAuth(claim, auth)
  const hash = claimId(claim)
  for (const receipt of receipts) {
    if (!verifyReceipt(receipt, hash, realm.keys[receipt.index] as Bytes)) {
      throw new P2pnsError(
        'signature_invalid',
        `Receipt ${receipt.index} of the lease of "${claim.name}" has a wrong signature`,
      )
    }
  }
}

/** `now` in ms. */
function isInForce(lease: Lease, now: number): boolean {
  return now < lease.claim.until * 1000
}

/**
 * Which of two leases of one name counts: positive when it is `a`, negative when it is `b`, 0 only for the same bytes. Both must have
 * passed `verifyLease`, except that either may have ended since. `now` in ms. A total order for every `now`.
 */
export function compareLeases(a: Lease, b: Lease, now: number): number {
  const inForce = Number(isInForce(a, now)) - Number(isInForce(b, now))
  if (inForce !== 0) return inForce
  // Two chains in force at once: a witness lied. Any rule will do, as long as everybody has the same.
  const chain = compareBytes(chainId(b.claim), chainId(a.claim))
  if (chain !== 0) return chain
  return (
    a.claim.version - b.claim.version ||
    // A thief of the owner key can renew; the recovery key's word of the same version comes first (`mayReplace`).
    a.auth.mode - b.auth.mode ||
    a.claim.until - b.claim.until ||
    compareBytes(claimId(b.claim), claimId(a.claim)) ||
    a.receipts.length - b.receipts.length ||
    compareBytes(encodeLease(b), encodeLease(a))
  )
}

/** `/p2pns-n/` and `SHA256("p2pns/name/v1\0" | realm id | name)`; `name` is one label without the suffix. */
export function leaseDhtKey(rid: Bytes, name: string): Bytes {
  return concat(utf8('/p2pns-n/'), sha256(utf8('p2pns/name/v1\0'), rid, utf8(name)))
}

/** What the DHT holds of a short name: `[lease, zone record]`, both as byte strings; no zone record with a release. */
export function encodeNamed(lease: Lease, zoneBytes: Bytes): Bytes {
  return toCbor([encodeLease(lease), zoneBytes])
}

/** Reads the lease (`verifyLease` is still to be asked) and sees that the zone record names the same owner. */
export function parseNamed(bytes: Bytes): { lease: Lease; zoneBytes: Bytes } {
  const [leaseField, zoneField] = asList(fromCbor(bytes, MAX_NAMED_BYTES, 'A named record'), 'A named record', 2)
  const lease = parseLease(asBytes(leaseField, 'A lease'))
  const zoneBytes = asBytes(zoneField, 'A zone record')
  // In a release both are empty.
  if (!equalBytes(zoneBytes.subarray(0, 32), lease.claim.owner)) {
    throw new P2pnsError('key_mismatch', `The zone record with the lease of "${lease.claim.name}" is of another key`)
  }
  return { lease, zoneBytes }
}
