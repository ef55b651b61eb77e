/**
 * What may follow a lease: renewing, handing over, changing keys, giving back. Each is one more claim in the lease's chain
 * (docs/spec/lease.md, "What may follow a claim"), kept on disk from before the first witness sees it until it is done.
 */
import {
  type Auth,
  type Claim,
  chainId,
  checkSuccessor,
  encodeAuth,
  encodeClaim,
  isRelease,
  parseAuth,
  parseClaim,
  signClaim,
} from './core/claim.ts'
import { type Bytes, equalBytes, fromHex, toHex } from './core/encoding.ts'
import { ERRORS, isError, P2pnsError } from './core/errors.ts'
import { type KeyPair, keyPairFromSeed, sha256 } from './core/keys.ts'
import { CLAIM_WINDOW, encodeLease, type Lease, parseLease, verifyLease } from './core/lease.ts'
import { type Realm, realmId } from './core/realm.ts'
import type { Introducer } from './net/introducers.ts'
import { collectReceipts } from './receipts.ts'
import { type Address, addressText } from './receive.ts'
import type { Table } from './store.ts'

export type ChangeKind = 'renewal' | 'transfer' | 'rotation' | 'release'

/** A change that was begun, by name (one label): the last claim that was made for it, in hex. */
export interface PendingChange {
  kind: ChangeKind
  claim: string
  auth: string
  /** The lease that the claim follows. */
  base: string
}

/**
 * The lease that a change under way follows: when some witnesses have signed the change and others not yet, neither it nor
 * what it follows has a quorum among them any more.
 */
export async function baseOf(changes: Table<PendingChange>, short: string): Promise<Lease | undefined> {
  const stored = await changes.get(short)
  return stored && parseLease(fromHex(stored.base))
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

/** Prolongs the lease as it is, from its 30th day on. `owner`: the pair that the lease names. */
export function renewName(parts: SuccessionParts, owner: KeyPair): Promise<Succeeded> {
  return change(parts, {
    kind: 'renewal',
    by: owner,
    owner: owner.publicKey,
    promise: async () => parts.lease.claim.recoveryHash,
    isMet: () => true,
  })
}

/** Leaves the name as it is; what had led to that is forgotten. */
export async function keepName({ lease, changes }: SuccessionParts): Promise<Succeeded> {
  const row = lease.claim.name
  const stored = await changes.get(row)
  const isOpen = stored !== undefined && follows(restore(stored).claim, lease.claim)
  return { lease, settled: async () => (isOpen ? undefined : changes.delete(row)) }
}

/** Gives the name to another owner, who keeps the recovery key behind `recoveryHash`. Errors: recovery_wrong, change_pending. */
export function transferName(parts: SuccessionParts, to: Address, recoverySeed: Bytes): Promise<Succeeded> {
  return change(parts, {
    kind: 'transfer',
    by: keyPairFromSeed(recoverySeed),
    owner: to.owner,
    promise: async () => to.recoveryHash,
    isMet: (claim) => equalBytes(claim.owner, to.owner) && equalBytes(claim.recoveryHash, to.recoveryHash),
  })
}

/**
 * Puts the name on the key `owner` with a new recovery key, whose seed is in `recoveries` until somebody has seen it. `isOurs`:
 * whether a key is one that this home has; a rotation to any of them is this one, begun earlier. Errors: recovery_wrong,
 * change_pending.
 */
export function rotateName(
  parts: SuccessionParts,
  owner: Bytes,
  isOurs: (owner: Bytes) => boolean,
  recoverySeed: Bytes,
): Promise<Succeeded> {
  return change(parts, {
    kind: 'rotation',
    by: keyPairFromSeed(recoverySeed),
    owner,
    async promise() {
      const seed = parts.random(32)
      const hash = sha256(keyPairFromSeed(seed).publicKey)
      await parts.recoveries.put(toHex(hash), toHex(seed))
      return hash
    },
    isMet: (claim) => isOurs(claim.owner),
  })
}

/** Gives the name back: it is free when the term that was witnessed already is over. Errors: recovery_wrong, change_pending. */
export function releaseName(parts: SuccessionParts, recoverySeed: Bytes): Promise<Succeeded> {
  const nobody = new Uint8Array(0)
  return change(parts, {
    kind: 'release',
    by: keyPairFromSeed(recoverySeed),
    owner: nobody,
    promise: async () => nobody,
    isMet: isRelease,
  })
}

interface Wish {
  kind: ChangeKind
  by: KeyPair
  owner: Bytes
  /** The recovery hash of the next claim; asked for once. */
  promise: () => Promise<Bytes>
  /** Whether a claim that the same key signed is what is wished for. */
  isMet: (claim: Claim) => boolean
}

interface Attempt {
  claim: Claim
  auth: Auth
}

async function change(parts: SuccessionParts, wish: Wish): Promise<Succeeded> {
  const { lease, changes } = parts
  const row = lease.claim.name
  const settled = () => changes.delete(row)
  if (wish.kind !== 'renewal') {
    // Broken off after the witnesses had signed: the key that it took fits no more, and need not.
    const isDone = lease.auth.mode === 1 && equalBytes(lease.auth.key, wish.by.publicKey) && wish.isMet(lease.claim)
    if (isDone) return { lease, settled }
    if (!equalBytes(sha256(wish.by.publicKey), lease.claim.recoveryHash)) {
      throw new P2pnsError('recovery_wrong', `That is not the recovery key that ${row}.p2p has now`)
    }
  }
  const stored = await changes.get(row)
  const begun = stored && restore(stored)
  if (begun !== undefined && follows(begun.claim, lease.claim)) {
    const { kind } = stored as PendingChange
    const { owner, recoveryHash } = begun.claim
    if (kind === wish.kind && wish.isMet(begun.claim)) {
      return finish(parts, { ...wish, owner, promise: async () => recoveryHash }, begun)
    }
    // What is under way comes first: two claims of one version would only share the witnesses between them.
    if (kind !== 'renewal' && !isOld(parts, begun.claim)) throw pending(kind, begun.claim)
    const finished = await finish(parts, { kind }, begun).catch(ifRefused)
    if (finished !== undefined && kind !== 'renewal') throw pending(kind, begun.claim)
    if (finished !== undefined) return change({ ...parts, lease: finished.lease }, wish)
  }
  const recoveryHash = await wish.promise()
  const again = { ...wish, promise: async () => recoveryHash }
  return finish(parts, again, await attempt(parts, again))
}

/** The next claim in the chain, signed. Throws what a witness that knows the lease would refuse with. */
async function attempt({ lease, realm, now }: SuccessionParts, wish: Wish): Promise<Attempt> {
  const last = lease.claim
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
  const auth = signClaim(claim, wish.kind === 'renewal' ? 0 : 1, wish.by)
  checkSuccessor(last, claim, auth)
  return { claim, auth }
}

/** Receipts for `made`, kept until then; when it grew too old for the witnesses it is made anew, if `wish` says how. */
async function finish(parts: SuccessionParts, wish: Wish | Pick<Wish, 'kind'>, made: Attempt): Promise<Succeeded> {
  const { lease, realm, witnesses, changes, now, signal } = parts
  const { claim, auth } = made
  const row = claim.name
  const settled = () => changes.delete(row)
  await changes.put(row, {
    kind: wish.kind,
    claim: toHex(encodeClaim(claim)),
    auth: toHex(encodeAuth(auth)),
    base: toHex(encodeLease(lease)),
  })
  try {
    const request = { realm, witnesses, claim, auth, previous: lease, ...(signal ? { signal } : {}) }
    const next: Lease = { claim, auth, receipts: await collectReceipts(request), realm }
    verifyLease(next, now())
    return { lease: next, settled }
  } catch (error) {
    if (!isRefusal(error)) throw error
    // So many have refused that it will never have a quorum. Made anew it is to the same effect: the witnesses that did
    // sign take it in place of the one before.
    if ('by' in wish && isOld(parts, claim)) return finish(parts, wish, await attempt(parts, wish))
    if (realm.keys.length === 1) await settled()
    throw error
  }
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
  return isError(error) && error.exitCode >= ERRORS.usage.exit && error.exitCode < ERRORS.network_unreachable.exit
}

function ifRefused(error: unknown): undefined {
  if (!isRefusal(error)) throw error
}

function pending(kind: ChangeKind, { name, owner, recoveryHash }: Claim): P2pnsError {
  const to = kind === 'transfer' ? ` to ${addressText({ owner, recoveryHash })}` : ''
  return new P2pnsError('change_pending', `The ${kind} of ${name}.p2p${to} is not finished`)
}

function restore({ claim, auth }: PendingChange): Attempt {
  return { claim: parseClaim(fromHex(claim)), auth: parseAuth(fromHex(auth)) }
}
