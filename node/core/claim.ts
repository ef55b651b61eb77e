/** A claim to a short name: what its owner signs, what may follow it, and the work that a first one costs. */
import { type Bytes, type CborValue, equalBytes, fromCbor, toCbor, utf8 } from './encoding.ts'
import { P2pnsError } from './errors.ts'
import { type KeyPair, sha256, verify } from './keys.ts'
import { parseName, SUFFIX } from './name.ts'
import { asBytes, asList, asText, asUint } from './shape.ts'

/** All times in seconds since 1970. */
export interface Claim {
  /** The realm that is asked to witness it, 32 bytes. */
  rid: Bytes
  /** One label, without the suffix: `alice`. */
  name: string
  /** Empty in a first claim (version 0); in every later one the id of the first. */
  chain: Bytes
  version: number
  /** The public key that the name stands for, 32 bytes; empty in a release. */
  owner: Bytes
  /** SHA-256 of the public recovery key, 32 bytes; empty in a release. */
  recoveryHash: Bytes
  from: number
  until: number
  /** 8 bytes, free to choose: turned until a first claim shows enough work. */
  nonce: Bytes
}

/** Who says so. Mode 0, the owner: claim and renew. Mode 1, the recovery key, revealed by this: transfer, rotate, release. */
export interface Auth {
  mode: 0 | 1
  /** 32 bytes. */
  key: Bytes
  /** 64 bytes, over `"p2pns/claim/v1\0" | claim`. */
  signature: Bytes
}

const DAY = 86_400
/** Seconds: the longest that one claim may hold a name. */
export const MAX_TERM = 90 * DAY
/** Seconds from the start of a claim to the first renewal. */
const RENEW_AFTER = 30 * DAY
/** Seconds after the end of a claim in which only its own chain may go on; none after a release. */
const GRACE = 30 * DAY
/** Seconds after which no witness signs a claim any more, so that it may be made anew; and no sooner, since each costs a write. */
const REMAKE_AFTER = 300
const MAX_CLAIM_BYTES = 320
const MAX_AUTH_BYTES = 128
/** Seconds; some 35,000 years, far below what a double holds exactly. */
export const MAX_TIME = 2 ** 40
const MAX_VERSION = 2 ** 32 - 1
const FORMAT = 1

export function isRelease(claim: Claim): boolean {
  return claim.owner.length === 0
}

/** From when on (seconds) the name is free for another chain, if nothing follows `claim`. */
export function freeFrom(claim: Claim): number {
  return isRelease(claim) ? claim.until : claim.until + GRACE
}

export function claimFields(claim: Claim): CborValue {
  const { rid, name, chain, version, owner, recoveryHash, from, until, nonce } = claim
  return [FORMAT, rid, name, chain, version, owner, recoveryHash, from, until, nonce]
}

export function encodeClaim(claim: Claim): Bytes {
  return toCbor(claimFields(claim))
}

/** SHA-256 of the claim's bytes. */
export function claimId(claim: Claim): Bytes {
  return sha256(encodeClaim(claim))
}

/** What all claims of one holding of a name share: the id of the first. */
export function chainId(claim: Claim): Bytes {
  return claim.version === 0 ? claimId(claim) : claim.chain
}

export function parseClaim(bytes: Bytes): Claim {
  return readClaim(fromCbor(bytes, MAX_CLAIM_BYTES, 'A claim'))
}

/** Checks all that a claim shows by itself. Throws `malformed`, `name_invalid` or `lease_invalid`. */
export function readClaim(value: CborValue | undefined): Claim {
  const fields = asList(value, 'A claim', 10)
  if (asUint(fields[0], 'A claim format', 255) !== FORMAT) {
    throw new P2pnsError('malformed', `A claim is not in format ${FORMAT}`)
  }
  const version = asUint(fields[4], 'A claim version', MAX_VERSION)
  const owner = asBytes(fields[5], 'An owner key', 0, 32)
  const claim: Claim = {
    rid: asBytes(fields[1], 'A realm id', 32),
    name: shortName(asText(fields[2], 'A name')),
    chain: asBytes(fields[3], 'A chain id', version === 0 ? 0 : 32),
    version,
    owner,
    recoveryHash: asBytes(fields[6], 'A recovery hash', owner.length),
    from: asUint(fields[7], 'A start', MAX_TIME),
    until: asUint(fields[8], 'An end', MAX_TIME),
    nonce: asBytes(fields[9], 'A nonce', 8),
  }
  if (claim.until <= claim.from || claim.until - claim.from > MAX_TERM) {
    throw new P2pnsError('lease_invalid', `The claim to "${claim.name}" is not for a term of up to 90 days`)
  }
  if (version === 0 && isRelease(claim)) {
    throw new P2pnsError('lease_invalid', `The first claim to "${claim.name}" has no owner`)
  }
  return claim
}

function shortName(text: string): string {
  const name = parseName(`${text}.${SUFFIX}`)
  if (name.kind !== 'short' || name.short !== text) {
    throw new P2pnsError('name_invalid', `"${text.slice(0, 80)}" is not one lower-case label that can be claimed`)
  }
  return text
}

function signedText(claim: Claim): Bytes {
  return Buffer.concat([utf8('p2pns/claim/v1\0'), encodeClaim(claim)])
}

/** `pair` is the owner's with mode 0; with mode 1 the one whose public key the claim before it promised by hash. */
export function signClaim(claim: Claim, mode: 0 | 1, pair: KeyPair): Auth {
  return { mode, key: pair.publicKey, signature: pair.sign(signedText(claim)) }
}

export function authFields(auth: Auth): CborValue {
  return [auth.mode, auth.key, auth.signature]
}

export function encodeAuth(auth: Auth): Bytes {
  return toCbor(authFields(auth))
}

export function parseAuth(bytes: Bytes): Auth {
  return readAuth(fromCbor(bytes, MAX_AUTH_BYTES, 'An authorization'))
}

export function readAuth(value: CborValue | undefined): Auth {
  const [mode, key, signature] = asList(value, 'An authorization', 3)
  return {
    mode: asUint(mode, 'A mode', 1) as 0 | 1,
    key: asBytes(key, 'A signing key', 32),
    signature: asBytes(signature, 'A signature', 64),
  }
}

/**
 * Throws unless `auth` may sign `claim` as far as the two show by themselves: the mode fits and the signature is good.
 * Whether a recovery key is the promised one only the claim before it can tell: `checkSuccessor`.
 */
export function checkAuth(claim: Claim, auth: Auth): void {
  if (auth.mode === 0 && !equalBytes(auth.key, claim.owner)) {
    throw new P2pnsError('lease_invalid', `The claim to "${claim.name}" is not signed by the owner it names`)
  }
  if (auth.mode === 1 && claim.version === 0) {
    throw new P2pnsError('lease_invalid', `The first claim to "${claim.name}" is signed by a recovery key`)
  }
  if (!verify(auth.key, signedText(claim), auth.signature)) {
    throw new P2pnsError('signature_invalid', `The claim to "${claim.name}" has a wrong signature`)
  }
}

/**
 * Throws unless `next` may follow `previous` directly in one chain, signed as `auth` says (its signature is not checked
 * here): `record_older`, `name_not_yours` or `lease_invalid`. The realm may change, the name may not.
 */
export function checkSuccessor(previous: Claim, next: Claim, auth: Auth): void {
  const refuse = (why: string) => new P2pnsError('lease_invalid', `The claim to "${next.name}" ${why}`)
  if (next.name !== previous.name || !equalBytes(next.chain, chainId(previous))) throw refuse('is of another chain')
  if (isRelease(previous)) throw refuse('follows a release')
  if (next.version <= previous.version) {
    throw new P2pnsError('record_older', `Version ${next.version} of "${next.name}" comes after ${previous.version}`)
  }
  if (next.version !== previous.version + 1) throw refuse(`skips from version ${previous.version} to ${next.version}`)
  // A later claim that ended sooner would, once over, give the name back to an earlier one.
  if (next.from < previous.from || next.until < previous.until) throw refuse('begins or ends before the one it follows')

  if (auth.mode === 0) {
    if (!equalBytes(auth.key, previous.owner)) throw notYours(next)
    if (!equalBytes(next.owner, previous.owner) || !equalBytes(next.recoveryHash, previous.recoveryHash)) {
      throw refuse('changes owner or recovery key without the recovery key')
    }
    if (next.from < previous.from + RENEW_AFTER) throw refuse('renews it before the 30th day')
    return
  }
  if (!equalBytes(sha256(auth.key), previous.recoveryHash)) throw notYours(next)
  if (isRelease(next) && next.until !== previous.until) throw refuse('releases it for another day than it ends')
  if (equalBytes(next.recoveryHash, previous.recoveryHash)) throw refuse('keeps a recovery key that is now revealed')
}

/** A claim and who signed it, as a lease has them. */
export interface Signed {
  claim: Claim
  auth: Auth
}

/**
 * Whether `next` may take the place of `last`, of the same version (signatures are not checked here): the same made anew, when the
 * first has grown too old for some witnesses; or what the recovery key signs instead of a renewal, since the owner key may
 * be stolen, and a thief who renews must not be in its way.
 */
export function mayReplace(last: Signed, next: Signed): boolean {
  const [old, now] = [last.claim, next.claim]
  const sameChain = now.name === old.name && now.version === old.version && equalBytes(now.chain, old.chain)
  if (!sameChain || old.version === 0 || now.from < old.from || now.until < old.until) return false
  if (isRelease(now) && now.until !== old.until) return false
  const sameRecovery = equalBytes(now.recoveryHash, old.recoveryHash)
  if (last.auth.mode === 0 && next.auth.mode === 1) {
    return equalBytes(sha256(next.auth.key), old.recoveryHash) && !sameRecovery
  }
  const sameKey = next.auth.mode === last.auth.mode && equalBytes(next.auth.key, last.auth.key)
  return sameKey && sameRecovery && equalBytes(now.owner, old.owner) && now.from >= old.from + REMAKE_AFTER
}

function notYours(claim: Claim): P2pnsError {
  return new P2pnsError('name_not_yours', `The claim to "${claim.name}" is signed by a key that does not hold it`)
}

/** Leading zero bits of `hash`. */
function zeroBits(hash: Bytes): number {
  const first = hash.findIndex((byte) => byte !== 0)
  return first < 0 ? hash.length * 8 : first * 8 + Math.clz32(hash[first] as number) - 24
}

/** Throws `work_missing` unless a first claim shows `bits` of work; a later claim needs none. */
export function checkWork(claim: Claim, bits: number): void {
  if (claim.version === 0) checkShownWork(claim, bits)
}

/** Throws `work_missing` unless the claim shows `bits` of work, whatever its version. */
export function checkShownWork(claim: Claim, bits: number): void {
  if (zeroBits(claimId(claim)) < bits) {
    throw new P2pnsError('work_missing', `The claim to "${claim.name}" shows less than ${bits} bits of work`)
  }
}

/**
 * The first claim from `startNonce` (8 bytes) on that shows `bits` of work: about 2^bits hashes, of some 1 µs each, without
 * a pause.
 */
export function mine(claim: Claim, bits: number, startNonce: Bytes): Claim {
  const bytes = Uint8Array.from(encodeClaim({ ...claim, nonce: startNonce }))
  // The nonce is the last field, so its bytes are the last ones.
  const nonce = new DataView(bytes.buffer, bytes.length - 8)
  while (zeroBits(sha256(bytes)) < bits) nonce.setBigUint64(0, nonce.getBigUint64(0) + 1n)
  return { ...claim, nonce: bytes.slice(-8) }
}
