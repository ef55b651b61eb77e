/**
 * Who owns a short name, as this machine saw it first. It changes only as the last lease that was seen explains, or as the
 * person decides: another owner is a conflict, kept for them and never believed by itself (docs/trust.md).
 */
import { LRUCache } from 'lru-cache'
import { type Claim, chainId, isRelease, mayReplace } from './core/claim.ts'
import { equalBytes, fromHex, toHex } from './core/encoding.ts'
import { P2pnsError } from './core/errors.ts'
import { sha256 } from './core/keys.ts'
import { encodeLease, type Lease, parseLease } from './core/lease.ts'
import { keyNameOf } from './core/name.ts'
import { countsFor, overlap, receiptsThatCount } from './core/proof.ts'
import type { Proofs } from './proofs.ts'
import type { Table } from './store.ts'

/** As it is stored, by apex; leases in hex. */
export interface Pin {
  lease: string
  since: number
  conflict?: { lease: string; since: number; settled: boolean }
}

export interface Pinned {
  /** The last lease that was seen of the owner; it may have ended since, or be a release. */
  lease: Lease
  /** When this owner was seen first, ms since 1970. */
  since: number
  /** A lease that does not follow; `settled` when the person has decided against it. */
  conflict?: { lease: Lease; since: number; settled: boolean }
}

export class Pins {
  readonly #table: Table<Pin>
  readonly #proofs: Proofs
  readonly #now: () => number
  readonly #pins = new LRUCache<string, Pinned>({ max: 10_000 })

  constructor(table: Table<Pin>, proofs: Proofs, now: () => number) {
    this.#table = table
    this.#proofs = proofs
    this.#now = now
  }

  async get(apex: string): Promise<Pinned | undefined> {
    const known = this.#pins.get(apex)
    if (known !== undefined) return known
    const row = await this.#table.get(apex)
    if (row === undefined) return undefined
    const pinned = restore(row)
    this.#pins.set(apex, pinned)
    return pinned
  }

  async *entries(): AsyncIterable<[string, Pinned]> {
    for await (const [apex, row] of this.#table.entries()) yield [apex, restore(row)]
  }

  /**
   * The judgement of a lease of `apex` that has passed `verifyLease`: the lease that counts for this machine, which is the
   * known one where the offered one is its prolongation by too few honest witnesses. Errors: pin_conflict for one that the
   * last one does not explain; record_older for one from before the name changed hands; lease_invalid for one that has
   * no quorum without the witnesses that are proven to have lied.
   */
  async judge(apex: string, lease: Lease): Promise<Lease> {
    const pinned = await this.get(apex)
    await this.#look(pinned, lease)
    if (pinned === undefined) {
      this.#needQuorum(lease)
      await this.#put(apex, { lease, since: this.#now() })
      return lease
    }
    const last = pinned.lease
    const verdict = compare(last, lease)
    if (verdict === 'older') {
      throw new P2pnsError('record_older', `A lease of ${apex} from before its last change was offered`)
    }
    if (verdict === 'conflict') {
      await this.#keepConflict(apex, pinned, lease)
      throw conflictError(apex, last.claim, lease.claim)
    }
    // What was known before a lie came out needs no witness any more; what is new needs a quorum that did not lie.
    const prolongs = lease.claim.until > last.claim.until
    const sameOwner = equalBytes(lease.claim.owner, last.claim.owner)
    if ((verdict === 'later' || prolongs) && !this.#counts(lease)) {
      if (sameOwner && this.#now() < last.claim.until * 1000) return last
      this.#needQuorum(lease)
    }
    if (verdict === 'later') {
      await this.#put(apex, { ...pinned, lease, since: sameOwner ? pinned.since : this.#now() })
    }
    return lease
  }

  /**
   * The person's decision: the owner whose key name it is, or else the one of the conflict. The other one stays known, as
   * settled, so that it is not reported again. Errors: not_known.
   */
  async choose(apex: string, keyName?: string): Promise<Pinned> {
    const pinned = await this.get(apex)
    if (pinned === undefined) throw new P2pnsError('not_known', `This machine has seen no owner of ${apex} yet`)
    const { lease, since, conflict } = pinned
    if (keyName === undefined && (conflict === undefined || conflict.settled)) {
      throw new P2pnsError('not_known', `There is no open conflict about ${apex}`)
    }
    let chosen: Pinned
    if (keyName !== undefined && keyName === ownerOf(lease.claim)) {
      chosen = conflict === undefined ? pinned : { lease, since, conflict: { ...conflict, settled: true } }
    } else if (conflict !== undefined && (keyName === undefined || keyName === ownerOf(conflict.lease.claim))) {
      chosen = { lease: conflict.lease, since: conflict.since, conflict: { lease, since, settled: true } }
    } else {
      throw new P2pnsError('not_known', `No lease of ${apex} that this machine has seen is of ${keyName}`)
    }
    await this.#put(apex, chosen)
    return chosen
  }

  /** The next owner that is seen counts as the first. Errors: not_known. */
  async forget(apex: string): Promise<void> {
    if ((await this.#table.get(apex)) === undefined) {
      throw new P2pnsError('not_known', `This machine has seen no owner of ${apex} yet`)
    }
    this.#pins.delete(apex)
    await this.#table.delete(apex)
  }

  /** Two leases of the name that are seen, at any time, may prove a lie. */
  async #look(pinned: Pinned | undefined, lease: Lease): Promise<void> {
    const known = pinned === undefined ? [] : [pinned.lease, pinned.conflict?.lease].filter((one) => one !== undefined)
    for (const seen of [...known, lease]) await this.#proofs.look(seen)
  }

  /** One at a time: the first stays until it is decided or over, so that nobody can hide it behind others. */
  async #keepConflict(apex: string, pinned: Pinned, lease: Lease): Promise<void> {
    const { conflict } = pinned
    if (conflict !== undefined) {
      const sameChain = equalBytes(chainId(conflict.lease.claim), chainId(lease.claim))
      if (sameChain && lease.claim.version <= conflict.lease.claim.version) return
      if (sameChain && compare(conflict.lease, lease) === 'later') {
        return this.#put(apex, { ...pinned, conflict: { ...conflict, lease } })
      }
      if (!conflict.settled && this.#now() < conflict.lease.claim.until * 1000) return
    }
    await this.#put(apex, { ...pinned, conflict: { lease, since: this.#now(), settled: false } })
  }

  #counts(lease: Lease): boolean {
    return countsFor(lease, this.#proofs.dropped)
  }

  #needQuorum(lease: Lease): void {
    if (this.#counts(lease)) return
    const { claim, realm } = lease
    throw new P2pnsError(
      'lease_invalid',
      `The lease of ${claim.name}.p2p has ${receiptsThatCount(lease, this.#proofs.dropped)} of the ${realm.quorum} receipts that it needs, without those of witnesses that are proven to have lied`,
    )
  }

  async #put(apex: string, pinned: Pinned): Promise<void> {
    const { lease, since, conflict } = pinned
    await this.#table.put(apex, {
      lease: toHex(encodeLease(lease)),
      since,
      ...(conflict ? { conflict: { ...conflict, lease: toHex(encodeLease(conflict.lease)) } } : {}),
    })
    this.#pins.set(apex, pinned)
  }
}

function restore({ lease, since, conflict }: Pin): Pinned {
  return {
    lease: parseLease(fromHex(lease)),
    since,
    ...(conflict ? { conflict: { ...conflict, lease: parseLease(fromHex(conflict.lease)) } } : {}),
  }
}

function compare(known: Lease, lease: Lease): 'later' | 'known' | 'older' | 'conflict' {
  const last = known.claim
  const { claim, auth } = lease
  if (!equalBytes(chainId(claim), chainId(last))) return 'conflict'
  if (mayReplace(known, lease)) return 'later'
  const sameOwner = equalBytes(claim.owner, last.owner)
  if (claim.version <= last.version && sameOwner) return 'known'
  if (claim.version < last.version || mayReplace(lease, known)) return 'older'
  // The owner may prolong it as it is; for everything else it takes the recovery key that the last claim promised.
  const isExplained =
    auth.mode === 1
      ? equalBytes(sha256(auth.key), last.recoveryHash)
      : sameOwner && equalBytes(claim.recoveryHash, last.recoveryHash)
  return claim.version > last.version && isExplained ? 'later' : 'conflict'
}

/** The key name of who holds it; undefined when the owner gave it up. */
export function ownerOf(claim: Claim): string | undefined {
  return isRelease(claim) ? undefined : keyNameOf(claim.owner)
}

/**
 * Why a lease does not go with the one that is known. `lie`: two chains of one realm at a time, which takes lying witnesses.
 * `unexplained`: a change that the promised recovery key did not sign. `ended`: somebody else had it after the known lease had
 * ended. `other_realm`: other witnesses, another owner.
 */
export type ConflictKind = 'lie' | 'unexplained' | 'ended' | 'other_realm'

export function conflictKind(known: Claim, other: Claim): ConflictKind {
  if (equalBytes(chainId(known), chainId(other))) return 'unexplained'
  if (!equalBytes(known.rid, other.rid)) return 'other_realm'
  return overlap(known, other) ? 'lie' : 'ended'
}

const SAYS: Record<ConflictKind, string> = {
  lie: 'a lease of another chain for the same time says',
  unexplained: 'a lease that does not follow says',
  ended: 'a lease from after that one had ended says',
  other_realm: 'a lease of another realm says',
}

function conflictError(apex: string, known: Claim, other: Claim): P2pnsError {
  const [before, after] = [known, other].map((claim) => ownerOf(claim) ?? "nobody's")
  return new P2pnsError(
    'pin_conflict',
    `${apex} was known as ${before}, and ${SAYS[conflictKind(known, other)]} ${after}`,
  )
}
