/**
 * What may follow a lease: renewing, handing over, changing keys, giving back. Each is one more claim in the lease's chain
 * (docs/spec/lease.md, "What may follow a claim"), kept on disk from before the first witness sees it until it is done.
 */
import { collectReceipts } from './claims.ts'
import {
  type Auth,
  type Claim,
  chainId,
  checkSuccessor,
  claimId,
  encodeAuth,
  encodeClaim,
  isRelease,
  parseAuth,
  parseClaim,
  signClaim,
} from './core/claim.ts'
import { type Bytes, equalBytes, fromHex, toHex, toZ32 } from './core/encoding.ts'
import { isError, P2pnsError } from './core/errors.ts'
import { type KeyPair, keyPairFromSeed, sha256 } from './core/keys.ts'
import { CLAIM_WINDOW, type Lease, verifyLease } from './core/lease.ts'
import { type Realm, realmId } from './core/realm.ts'
import type { Introducer } from './net/introducers.ts'
import type { Table } from './store.ts'

export type ChangeKind = 'renewal' | 'transfer' | 'rotation' | 'release'

/** A change that was begun, by name (one label); in hex. */
export interface PendingChange {
  kind: ChangeKind
  /**
   * Oldest first, all to the same effect. One that grew too old for some witnesses is kept beside its successor: others
   * may have signed it, and they give their receipts again only for the same bytes.
   */
  attempts: { claim: string; auth: string }[]
}

export interface SuccessionParts {
  /** The lease that the name has now, in force or in its grace. */
  lease: Lease
  /** Who witnesses the next. */
  realm: Realm
  witnesses: readonly Introducer[]
  changes: Table<PendingChange>
  /** Seeds of recovery keys that nobody has seen yet, by the hash of the public key; both in hex. */
  recoveries: Table<string>
  /** Milliseconds since 1970. */
  now: () => number
  random: (bytes: number) => Bytes
  signal?: AbortSignal
}

export interface Succeeded {
  lease: Lease
  /** To be called when the lease is on disk: only then may the change be forgotten. */
  settled: () => Promise<void>
}

/** Seconds: the longest term that a witness signs. */
const TERM = 90 * 86_400
/** Attempts at one change that are kept; each stands for a try that some witnesses may have signed. */
const MAX_ATTEMPTS = 4

/** Prolongs the lease as it is, from its 30th day on. `owner`: the pair that the lease names. */
export function renewName(parts: SuccessionParts, owner: KeyPair): Promise<Succeeded> {
  const { recoveryHash } = parts.lease.claim
  return change(parts, { kind: 'renewal', by: owner, owner: owner.publicKey, promise: async () => recoveryHash })
}

/** Gives the name to another owner, who keeps the recovery key behind `recoveryHash`. Errors: recovery_wrong, change_pending. */
export function transferName(
  parts: SuccessionParts,
  to: { owner: Bytes; recoveryHash: Bytes },
  recoverySeed: Bytes,
): Promise<Succeeded> {
  const by = keyPairFromSeed(recoverySeed)
  return change(parts, { kind: 'transfer', by, owner: to.owner, promise: async () => to.recoveryHash })
}

/**
 * Puts the name on another key of the same person, with a new recovery key: its seed is in `recoveries` until somebody has
 * seen it. Errors: recovery_wrong, change_pending.
 */
export function rotateName(parts: SuccessionParts, owner: Bytes, recoverySeed: Bytes): Promise<Succeeded> {
  const promise = async () => {
    const seed = parts.random(32)
    const hash = sha256(keyPairFromSeed(seed).publicKey)
    await parts.recoveries.put(toHex(hash), toHex(seed))
    return hash
  }
  return change(parts, { kind: 'rotation', by: keyPairFromSeed(recoverySeed), owner, promise })
}

/** Gives the name back: it is free when the term that was witnessed already is over. Errors: recovery_wrong, change_pending. */
export function releaseName(parts: SuccessionParts, recoverySeed: Bytes): Promise<Succeeded> {
  const nobody = new Uint8Array(0)
  return change(parts, {
    kind: 'release',
    by: keyPairFromSeed(recoverySeed),
    owner: nobody,
    promise: async () => nobody,
  })
}

interface Wish {
  kind: ChangeKind
  by: KeyPair
  owner: Bytes
  /** The recovery hash of the next claim; asked for once, before the claim is made. */
  promise: () => Promise<Bytes>
}

interface Attempt {
  claim: Claim
  auth: Auth
}

async function change(parts: SuccessionParts, wish: Wish): Promise<Succeeded> {
  const { lease, changes } = parts
  const row = lease.claim.name
  const stored = await changes.get(row)
  if (stored !== undefined) {
    const attempts = stored.attempts.map(restore)
    const begun = (attempts.at(-1) as Attempt).claim
    const isDone = attempts.some(({ claim }) => equalBytes(claimId(claim), claimId(lease.claim)))
    // A rotation that broke off after its lease was stored now sees another owner than when it began.
    const isSame = stored.kind === wish.kind && (wish.kind === 'rotation' || equalBytes(begun.owner, wish.owner))
    const settled = () => changes.delete(row)
    if (isDone && isSame) return { lease, settled }
    if (!isDone && follows(begun, lease.claim)) {
      if (isSame) {
        const again: Wish = { ...wish, owner: begun.owner, promise: async () => begun.recoveryHash }
        return finish(parts, stored.kind, attempts, () => attempt(parts, again))
      }
      // What is under way comes first: two claims of one version would only share the witnesses between them.
      if (stored.kind === 'renewal') {
        const renewed = await finish(parts, stored.kind, attempts).catch(ifRefused)
        await settled()
        return change({ ...parts, lease: renewed?.lease ?? lease }, wish)
      }
      if (!isOld(parts, begun)) throw pending(stored.kind, begun)
      if (await finish(parts, stored.kind, attempts).catch(ifRefused)) throw pending(stored.kind, begun)
    }
    await settled()
  }
  const first = await attempt(parts, wish)
  return finish(parts, wish.kind, [first], () => attempt(parts, { ...wish, promise: async () => first.claim.recoveryHash }))
}

/** The next claim in the chain, signed. Throws what a witness that knows the lease would refuse with. */
async function attempt({ lease, realm, now }: SuccessionParts, wish: Wish): Promise<Attempt> {
  const last = lease.claim
  const mode = wish.kind === 'renewal' ? 0 : 1
  if (mode === 1 && !equalBytes(sha256(wish.by.publicKey), last.recoveryHash)) {
    throw new P2pnsError('recovery_wrong', `That is not the recovery key that ${last.name}.p2p has now`)
  }
  const from = Math.max(Math.floor(now() / 1000), last.from)
  if (wish.kind === 'release' && from >= last.until) {
    throw new P2pnsError('lease_expired', `The lease of ${last.name}.p2p is over, so there is nothing to release`)
  }
  const claim: Claim = {
    rid: realmId(realm),
    name: last.name,
    chain: chainId(last),
    version: last.version + 1,
    owner: wish.owner,
    recoveryHash: await wish.promise(),
    from,
    until: wish.kind === 'release' ? last.until : from + TERM,
    nonce: new Uint8Array(8),
  }
  const auth = signClaim(claim, mode, wish.by)
  checkSuccessor(last, claim, auth)
  return { claim, auth }
}

/** Receipts for one of the attempts; where all are too old for a witness, `anew` makes another one. */
async function finish(
  parts: SuccessionParts,
  kind: ChangeKind,
  attempts: Attempt[],
  anew?: () => Promise<Attempt>,
): Promise<Succeeded> {
  const row = parts.lease.claim.name
  const settled = () => parts.changes.delete(row)
  await parts.changes.put(row, { kind, attempts: attempts.map(kept) })
  let failure: unknown
  for (const one of attempts) {
    try {
      return { lease: await witnessed(parts, one), settled }
    } catch (error) {
      failure = error
    }
  }
  if (isRefusal(failure)) {
    const newest = attempts.at(-1) as Attempt
    if (anew !== undefined && isOld(parts, newest.claim)) {
      return finish(parts, kind, [...attempts, await anew()].slice(-MAX_ATTEMPTS), anew)
    }
    // The one witness there is has judged: nobody signed it, and nobody will.
    if (parts.realm.keys.length === 1) await settled()
  }
  throw failure
}

async function witnessed({ realm, witnesses, now, signal }: SuccessionParts, { claim, auth }: Attempt): Promise<Lease> {
  const receipts = await collectReceipts({ realm, witnesses, claim, auth, ...(signal ? { signal } : {}) })
  const lease: Lease = { claim, auth, receipts, realm }
  verifyLease(lease, now())
  return lease
}

function follows(next: Claim, last: Claim): boolean {
  return equalBytes(next.chain, chainId(last)) && next.version === last.version + 1
}

/** Whether no witness whose clock is right would sign it any more. */
function isOld({ now }: SuccessionParts, claim: Claim): boolean {
  return Math.abs(Math.floor(now() / 1000) - claim.from) > CLAIM_WINDOW
}

/** Whether a witness has judged, and is not only out of reach. */
function isRefusal(error: unknown): boolean {
  return isError(error) && error.exitCode !== 6 && error.code !== 'interrupted'
}

function ifRefused(error: unknown): undefined {
  if (!isRefusal(error)) throw error
}

function pending(kind: ChangeKind, { name, owner, recoveryHash }: Claim): P2pnsError {
  const to = kind === 'transfer' ? ` to ${addressText(owner, recoveryHash)}` : ''
  return new P2pnsError('change_pending', `The ${kind} of ${name}.p2p${to} is not finished`)
}

function kept({ claim, auth }: Attempt): PendingChange['attempts'][number] {
  return { claim: toHex(encodeClaim(claim)), auth: toHex(encodeAuth(auth)) }
}

function restore({ claim, auth }: PendingChange['attempts'][number]): Attempt {
  return { claim: parseClaim(fromHex(claim)), auth: parseAuth(fromHex(auth)) }
}
