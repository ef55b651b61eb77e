/** What a witness may sign, given what it signed last (docs/spec/lease.md, "What a witness signs"). Pure. */
import {
  type Auth,
  type Claim,
  chainId,
  checkAuth,
  checkShownWork,
  checkSuccessor,
  freeFrom,
  mayReplace,
} from '../node/core/claim.ts'
import { type Bytes, equalBytes, toHex } from '../node/core/encoding.ts'
import { isError, P2pnsError } from '../node/core/errors.ts'
import { votesByChain } from '../node/core/gather.ts'
import { CLAIM_WINDOW, isReceiptFor, type Lease, verifyLease } from '../node/core/lease.ts'
import type { Realm } from '../node/core/realm.ts'

export interface Facts {
  realm: Realm
  rid: Bytes
  /** The place of this witness in the realm. */
  index: number
  /** Seconds since 1970, by this witness's clock. */
  time: number
  /** When the receipt would be given, if the claim is held first. */
  signedAt: number
  /** Before it this witness does not know all that it has signed; 0 when it does. */
  lostUntil: number
}

interface Asked {
  claim: Claim
  auth: Auth
  previous: Lease | undefined
}

/**
 * Throws unless `claim` may be signed by a witness that signed `last` before: at once, or after others had the time to come with claims
 * of their own (`hold`), where this witness knows of nobody who has the name.
 */
export function judge(asked: Asked, last: Lease | undefined, facts: Facts): 'sign' | 'hold' {
  const { claim, auth } = asked
  checkWindow(claim, facts.time)
  // The claim's own start counts too: terms of two chains must not overlap by the minutes that clocks may differ.
  const at = Math.min(facts.time, claim.from)
  if (last !== undefined && at < freeFrom(last.claim)) {
    checkHolder(asked, last, facts)
    checkAuth(claim, auth)
    return 'sign'
  }
  if (claim.version > 0 && checkNewcomer(asked, last, at, facts)) {
    checkAuth(claim, auth)
    return 'sign'
  }
  if (at < facts.lostUntil) {
    throw new P2pnsError(
      'peer_unreachable',
      `This witness has lost its records and witnesses no new names before ${utcDay(facts.lostUntil)}`,
    )
  }
  checkWindow(claim, facts.signedAt)
  checkShownWork(claim, facts.realm.bits)
  checkAuth(claim, auth)
  return 'hold'
}

/**
 * Throws when others have signed for another holder: so many that this claim cannot reach its quorum any more. Fewer do not count, or
 * one liar could keep any name from being claimed.
 */
export function checkRivals(claim: Claim, leases: readonly Lease[], { realm, time }: Facts): void {
  const at = Math.min(time, claim.from)
  const held = leases.filter((lease) => at < freeFrom(lease.claim))
  const votes = votesByChain(held)
  // The claim's own chain counts by its id, which with version 0 is its own.
  votes.delete(toHex(chainId(claim)))
  if (Math.max(0, ...votes.values()) > realm.keys.length - realm.quorum) {
    throw new P2pnsError('name_taken', `Other witnesses have signed for another holder of "${claim.name}"`)
  }
}

function checkWindow(claim: Claim, time: number): void {
  if (Math.abs(claim.from - time) <= CLAIM_WINDOW) return
  throw new P2pnsError(
    'clock_wrong',
    `The claim to "${claim.name}" does not begin within 5 minutes of the witness's clock`,
  )
}

/** Throws unless the claim goes on with the chain that has the name here. */
function checkHolder({ claim, auth, previous }: Asked, last: Lease, facts: Facts): void {
  const until = utcDay(freeFrom(last.claim))
  if (claim.version === 0) throw new P2pnsError('name_taken', `"${claim.name}" belongs to somebody until ${until}`)
  if (!equalBytes(claim.chain, chainId(last.claim))) {
    throw new P2pnsError('name_taken', `"${claim.name}" belongs to somebody else until ${until}`)
  }
  const base = previous !== undefined && isLater(previous, last, facts) ? previous : last
  if (!mayReplace(base, { claim, auth })) checkSuccessor(base.claim, claim, auth)
  // Also of what was skipped: a receipt for a longer term is in the world.
  if (claim.from < last.claim.from || claim.until < last.claim.until) {
    throw new P2pnsError('lease_invalid', `The claim to "${claim.name}" begins or ends before one that was signed`)
  }
}

/** Whether `previous` shows what became of the chain after `last` while this witness was away. */
function isLater(previous: Lease, last: Lease, facts: Facts): boolean {
  if (!equalBytes(chainId(previous.claim), chainId(last.claim))) return false
  if (previous.claim.version < last.claim.version) return false
  if (isWholeHere(previous, facts)) return true
  return passes(() => {
    if (!mayReplace(last, previous)) checkSuccessor(last.claim, previous.claim, previous.auth)
    checkAuth(previous.claim, previous.auth)
  })
}

/**
 * Of a later claim to a name that nobody has here: throws unless it follows the lease that came with it. True when a quorum of this
 * realm signed that one, so that nobody else can have the name; else the chain has to win it like a newcomer.
 */
function checkNewcomer({ claim, auth, previous }: Asked, last: Lease | undefined, at: number, facts: Facts): boolean {
  if (previous === undefined) {
    if (last !== undefined && equalBytes(claim.chain, chainId(last.claim))) throw tooLate(last.claim)
    throw new P2pnsError(
      'lease_invalid',
      `This witness knows no claim that version ${claim.version} of "${claim.name}" could follow`,
    )
  }
  checkSuccessor(previous.claim, claim, auth)
  if (at >= freeFrom(previous.claim)) throw tooLate(previous.claim)
  if (isWholeHere(previous, facts)) return at >= facts.lostUntil || isOwnTerm(previous, at, facts)
  // A claim that has not reached its quorum may go on, a lease of another realm may move in. Either costs what a first claim costs.
  if (equalBytes(previous.claim.rid, facts.rid)) checkAuth(previous.claim, previous.auth)
  else verifyLease(previous)
  return false
}

/** Whether this witness itself signed the lease, whose term is not over: then it has signed for nobody else in it. */
function isOwnTerm({ claim, receipts }: Lease, at: number, { realm, index }: Facts): boolean {
  const own = receipts.find((receipt) => receipt.index === index)
  return own !== undefined && at < claim.until && isReceiptFor(claim, own, realm)
}

function isWholeHere(lease: Lease, { rid }: Facts): boolean {
  return equalBytes(lease.claim.rid, rid) && passes(() => verifyLease(lease))
}

function tooLate(last: Claim): P2pnsError {
  return new P2pnsError('lease_expired', `The time to renew "${last.name}" ended on ${utcDay(freeFrom(last))}`)
}

function passes(check: () => void): boolean {
  try {
    check()
    return true
  } catch (error) {
    if (isError(error)) return false
    throw error
  }
}

function utcDay(seconds: number): string {
  return new Date(seconds * 1000).toISOString().slice(0, 10)
}
