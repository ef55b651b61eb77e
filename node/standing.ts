/** Where a short name stands: the lease that counts, put together from all who may know it, and who witnesses the next. */
import { chainId, claimId } from './core/claim.ts'
import { equalBytes, toHex } from './core/encoding.ts'
import { P2pnsError } from './core/errors.ts'
import { compareLeases, type Lease, leaseDhtKey, parseNamed, verifyLease } from './core/lease.ts'
import { type Realm, realmId } from './core/realm.ts'
import type { Introducer } from './net/introducers.ts'
import type { RecordNetwork } from './net/record-network.ts'
import type { Witnesses } from './witnesses.ts'

export interface StandingParts {
  network: RecordNetwork
  /** Where claims can be witnessed, and why nowhere else: as `Witnesses` says. */
  realms: Witnesses['realms']
  now: () => number
}

export interface Standing {
  lease: Lease
  /** Where the next claim is to be witnessed: the realm of the lease, or the one that took its place. */
  realm: Realm
  /** The introducers that may sign for it. */
  witnesses: readonly Introducer[]
}

/**
 * `held`: the lease that this home has of the name; only its chain counts then. Errors: no_introducer, or why the only one
 * said nothing; name_not_found when nobody knows a lease.
 */
export async function standingOf(
  parts: StandingParts,
  short: string,
  held: Lease | undefined,
  signal?: AbortSignal,
): Promise<Standing> {
  const { served, failure } = await parts.realms(signal)
  const [first] = served
  if (first === undefined) {
    throw failure instanceof Error ? failure : new P2pnsError('no_introducer', `Nobody can witness ${short}.p2p`)
  }
  const known = await Promise.all(served.map((one) => leaseIn(parts, short, one.realm, one.witnesses, signal)))
  if (held !== undefined) known.push(held, await leaseIn(parts, short, held.realm, [], signal))
  const lease = newest(parts, known, held)
  if (lease === undefined) throw new P2pnsError('name_not_found', `Nobody knows a lease of ${short}.p2p`)
  const next =
    served.find(({ realm }) => isSame(realm, lease.realm)) ??
    served.find(({ realm }) => realm.keys.some((key) => lease.realm.keys.some((other) => equalBytes(key, other)))) ??
    first
  return { lease, realm: next.realm, witnesses: next.witnesses }
}

function isSame(a: Realm, b: Realm): boolean {
  return equalBytes(realmId(a), realmId(b))
}

/** What the network holds, and what the witnesses signed even if nobody published it. */
async function leaseIn(
  parts: StandingParts,
  short: string,
  realm: Realm,
  witnesses: readonly Introducer[],
  signal?: AbortSignal,
): Promise<Lease | undefined> {
  const key = leaseDhtKey(realmId(realm), short)
  const answers = await Promise.allSettled([
    parts.network
      .get(key, { wait: 'best', ...(signal ? { signal } : {}) })
      .then((found) => found && parseNamed(found.value).lease),
    ...witnesses.map((witness) => witness.lease(short, signal)),
  ])
  signal?.throwIfAborted()
  const leases = answers.flatMap((answer) => (answer.status === 'fulfilled' && answer.value ? [answer.value] : []))
  return newest(
    parts,
    joined(leases.filter((lease) => lease.claim.name === short && isSame(lease.realm, realm))),
    undefined,
  )
}

/** One lease per claim, with the receipts that several witnesses gave of it. */
function joined(leases: readonly Lease[]): Lease[] {
  const byClaim = new Map<string, Lease>()
  for (const lease of leases) {
    const id = toHex(claimId(lease.claim))
    const other = byClaim.get(id)
    const receipts = new Map([...(other?.receipts ?? []), ...lease.receipts].map((receipt) => [receipt.index, receipt]))
    byClaim.set(id, { ...lease, receipts: [...receipts.values()].sort((a, b) => a.index - b.index) })
  }
  return [...byClaim.values()]
}

/** The one that counts of those that are good; with `held` only of its chain. */
function newest(parts: StandingParts, leases: readonly (Lease | undefined)[], held?: Lease): Lease | undefined {
  const good = leases.filter((lease) => lease !== undefined).filter((lease) => isGood(lease, held))
  return good.sort((a, b) => compareLeases(b, a, parts.now()))[0]
}

function isGood(lease: Lease, held: Lease | undefined): boolean {
  try {
    // Not whether it is in force: in its grace it can still be renewed.
    verifyLease(lease)
  } catch {
    return false
  }
  return held === undefined || equalBytes(chainId(lease.claim), chainId(held.claim))
}
