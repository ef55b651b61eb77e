/** Claiming a short name: work, signature, receipts of the witnesses, a lease that anybody can check. */
import {
  type Auth,
  type Claim,
  chainId,
  encodeAuth,
  encodeClaim,
  freeFrom,
  MAX_TERM,
  parseAuth,
  parseClaim,
  signClaim,
} from './core/claim.ts'
import { type Bytes, fromHex, toHex } from './core/encoding.ts'
import { isError, P2pnsError } from './core/errors.ts'
import { type KeyPair, keyPairFromSeed, sha256 } from './core/keys.ts'
import { CLAIM_WINDOW, encodeLease, type Lease, parseLease, verifyLease } from './core/lease.ts'
import { type Realm, realmId } from './core/realm.ts'
import { mineAside } from './mining.ts'
import type { Introducer } from './net/introducers.ts'
import { askWitnesses } from './receipts.ts'
import type { Table } from './store.ts'

export { collectReceipts } from './receipts.ts'

/**
 * A claim that was made but not yet witnessed by a quorum. It is kept until it is, because a witness that signed it
 * just before a crash here gives its receipt again only for the same bytes. All in hex.
 */
export interface PendingClaim {
  claim: string
  auth: string
  recoverySeed: string
  /** What it follows: an earlier claim of this home that some witnesses signed, too few, before it grew too old for the others. */
  base?: { lease: string; recoverySeed: string }
}

export interface Claimed {
  lease: Lease
  /** The seed of the recovery key, to be shown once and kept offline. */
  recoverySeed: Bytes
  /** To be called when the lease is on disk: only then may the claim be forgotten. */
  settled: () => Promise<void>
}

/** Bits of work, some 20 s of one core: a realm that asks for more could keep this machine busy for years. */
const MAX_WORK = 24

interface ClaimRequest {
  short: string
  owner: KeyPair
  realm: Realm
  /** Those of the realm's witnesses that can be reached. */
  witnesses: readonly Introducer[]
  pending: Table<PendingClaim>
  now: () => number
  random: (bytes: number) => Bytes
  signal?: AbortSignal
}

/**
 * Makes `short` the name of `owner` in `realm`. Errors: name_taken, network_unreachable, quorum_missing, work_missing, and what the
 * witnesses refuse with.
 */
export async function claimName(request: ClaimRequest): Promise<Claimed> {
  const { short, realm, witnesses, pending, now, signal } = request
  const row = rowOf(realm, short)
  const stored = await pending.get(row)
  const attempt = stored === undefined ? await begin(request) : restore(stored)
  const { claim, auth, base } = attempt
  if (now() >= freeFrom(claim) * 1000) {
    await pending.delete(row)
    return claimName(request)
  }
  const { receipts, refusals, failure } = await askWitnesses({
    realm,
    witnesses,
    claim,
    auth,
    ...(base ? { previous: base.lease } : {}),
    ...(signal ? { signal } : {}),
  })
  const lease: Lease = { claim, auth, receipts, realm }
  if (failure === undefined && now() < claim.until * 1000) {
    verifyLease(lease, now())
    return { lease, recoverySeed: attempt.recoverySeed, settled: () => pending.delete(row) }
  }
  const tooOld = refusals.filter((code) => code === 'clock_wrong' || code === 'lease_expired').length
  if (isOld(claim, now()) && receipts.length + tooOld >= realm.quorum) {
    // Who has not signed it will not any more; who has signed it goes on with nothing but its chain.
    await begin(request, receipts.length > 0 ? { lease, recoverySeed: attempt.recoverySeed } : base)
    return claimName(request)
  }
  // Nobody signed it, and the witnesses have judged: the same claim will never pass.
  const isJudged = isError(failure, 'name_taken', 'clock_wrong', 'lease_expired')
  if (isJudged && receipts.length === 0 && base === undefined) await pending.delete(row)
  throw failure
}

/** What a registration that broke off after its lease was stored left to be done: the recovery seed is still to be shown. */
export async function unsettled(lease: Lease, pending: Table<PendingClaim>): Promise<Claimed | undefined> {
  const row = rowOf(lease.realm, lease.claim.name)
  const stored = await pending.get(row)
  if (stored?.claim !== toHex(encodeClaim(lease.claim))) return undefined
  return { lease, recoverySeed: fromHex(stored.recoverySeed), settled: () => pending.delete(row) }
}

function rowOf(realm: Realm, short: string): string {
  return `${toHex(realmId(realm))}/${short}`
}

/** An earlier claim of this home, with too few receipts, and the seed of the recovery key that it promised. */
interface Base {
  lease: Lease
  recoverySeed: Bytes
}

interface Attempt {
  claim: Claim
  auth: Auth
  recoverySeed: Bytes
  base?: Base
}

/** A claim from now on, kept: the first one, or one that goes on from `base` with a new recovery key. */
async function begin(
  { short, owner, realm, pending, now, random, signal }: ClaimRequest,
  base?: Base,
): Promise<Attempt> {
  if (realm.bits > MAX_WORK) {
    throw new P2pnsError('work_missing', `The realm asks for ${realm.bits} bits of work, and ${MAX_WORK} are too many`)
  }
  const recoverySeed = random(32)
  const last = base?.lease.claim
  // An earlier term was signed already, and none ends before it.
  const from = Math.max(Math.floor(now() / 1000), last?.from ?? 0)
  const draft: Claim = {
    rid: realmId(realm),
    name: short,
    chain: last === undefined ? new Uint8Array(0) : chainId(last),
    version: last === undefined ? 0 : last.version + 1,
    owner: owner.publicKey,
    recoveryHash: sha256(keyPairFromSeed(recoverySeed).publicKey),
    from,
    until: from + MAX_TERM,
    nonce: new Uint8Array(8),
  }
  // Also with a base: for a witness that does not have it this is a first claim.
  const claim = await mineAside({ claim: draft, bits: realm.bits, startNonce: random(8) }, signal)
  const auth = base === undefined ? signClaim(claim, 0, owner) : signClaim(claim, 1, keyPairFromSeed(base.recoverySeed))
  const attempt = { claim, auth, recoverySeed, ...(base ? { base } : {}) }
  await pending.put(rowOf(realm, short), kept(attempt))
  return attempt
}

/** Whether no witness whose clock is right would sign it any more. `now` in ms. */
function isOld(claim: Claim, now: number): boolean {
  return Math.abs(now / 1000 - claim.from) > CLAIM_WINDOW
}

function kept({ claim, auth, recoverySeed, base }: Attempt): PendingClaim {
  return {
    claim: toHex(encodeClaim(claim)),
    auth: toHex(encodeAuth(auth)),
    recoverySeed: toHex(recoverySeed),
    ...(base ? { base: { lease: toHex(encodeLease(base.lease)), recoverySeed: toHex(base.recoverySeed) } } : {}),
  }
}

function restore({ claim, auth, recoverySeed, base }: PendingClaim): Attempt {
  return {
    claim: parseClaim(fromHex(claim)),
    auth: parseAuth(fromHex(auth)),
    recoverySeed: fromHex(recoverySeed),
    ...(base ? { base: { lease: parseLease(fromHex(base.lease)), recoverySeed: fromHex(base.recoverySeed) } } : {}),
  }
}
