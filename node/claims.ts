/** Claiming a short name: work, signature, receipts of the witnesses, a lease that anybody can check. */
import { type Auth, type Claim, encodeAuth, encodeClaim, mine, parseAuth, parseClaim, signClaim } from './core/claim.ts'
import { type Bytes, fromHex, toHex } from './core/encoding.ts'
import { isError, P2pnsError } from './core/errors.ts'
import { type KeyPair, keyPairFromSeed, sha256 } from './core/keys.ts'
import { type Lease, parseReceipt, type Receipt, verifyLease } from './core/lease.ts'
import { type Realm, realmId } from './core/realm.ts'
import type { Introducer } from './net/introducers.ts'
import type { Table } from './store.ts'

/**
 * A claim that was made but not yet witnessed by a quorum. It is kept until it is, because a witness that signed it
 * just before a crash here gives its receipt again only for the same bytes. All in hex.
 */
export interface PendingClaim {
  claim: string
  auth: string
  recoverySeed: string
}

export interface Claimed {
  lease: Lease
  /** The seed of the recovery key, to be shown once and kept offline. */
  recoverySeed: Bytes
  /** To be called when the lease is on disk: only then may the claim be forgotten. */
  settled: () => Promise<void>
}

/** Seconds: the longest term that a witness signs. */
const TERM = 90 * 86_400
/** Bits of work, some 20 s of one core: a realm that asks for more could keep this machine busy for years. */
const MAX_WORK = 24

/**
 * Makes `short` the name of `owner` in `realm`. `witnesses` are the introducers that may sign for it.
 * Errors: name_taken, network_unreachable, work_missing, and what a witness refuses with.
 */
export async function claimName(request: {
  short: string
  owner: KeyPair
  realm: Realm
  witnesses: readonly Introducer[]
  pending: Table<PendingClaim>
  now: () => number
  random: (bytes: number) => Bytes
  signal?: AbortSignal
}): Promise<Claimed> {
  const { short, realm, pending, now } = request
  const row = rowOf(realm, short)
  const stored = await pending.get(row)
  const attempt = stored === undefined ? await start(request, row) : restore(stored)
  try {
    const receipts = await collect(request, attempt)
    const lease: Lease = { claim: attempt.claim, auth: attempt.auth, receipts, realm }
    verifyLease(lease, now())
    return { lease, recoverySeed: attempt.recoverySeed, settled: () => pending.delete(row) }
  } catch (error) {
    // The witness has judged: the same claim will never pass. Made a while ago, it may pass when made anew.
    if (isError(error, 'name_taken', 'clock_wrong', 'lease_expired')) await pending.delete(row)
    if (stored !== undefined && isError(error, 'clock_wrong', 'lease_expired')) return claimName(request)
    throw error
  }
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

interface Attempt {
  claim: Claim
  auth: Auth
  recoverySeed: Bytes
}

async function start(request: Parameters<typeof claimName>[0], row: string): Promise<Attempt> {
  const { short, owner, realm, pending, now, random } = request
  if (realm.bits > MAX_WORK) {
    throw new P2pnsError('work_missing', `The realm asks for ${realm.bits} bits of work, and ${MAX_WORK} are too many`)
  }
  const recoverySeed = random(32)
  const from = Math.floor(now() / 1000)
  const claim = mine(
    {
      rid: realmId(realm),
      name: short,
      chain: new Uint8Array(0),
      version: 0,
      owner: owner.publicKey,
      recoveryHash: sha256(keyPairFromSeed(recoverySeed).publicKey),
      from,
      until: from + TERM,
      nonce: new Uint8Array(8),
    },
    realm.bits,
    random(8),
  )
  const auth = signClaim(claim, 0, owner)
  await pending.put(row, {
    claim: toHex(encodeClaim(claim)),
    auth: toHex(encodeAuth(auth)),
    recoverySeed: toHex(recoverySeed),
  })
  return { claim, auth, recoverySeed }
}

function restore({ claim, auth, recoverySeed }: PendingClaim): Attempt {
  return { claim: parseClaim(fromHex(claim)), auth: parseAuth(fromHex(auth)), recoverySeed: fromHex(recoverySeed) }
}

/** Receipts of at least a quorum, in the order of the witnesses. A refusal by one counts before silence of another. */
async function collect(request: Parameters<typeof claimName>[0], { claim, auth }: Attempt): Promise<Receipt[]> {
  const { realm, witnesses, signal } = request
  const [claimBytes, authBytes] = [encodeClaim(claim), encodeAuth(auth)]
  const answers = await Promise.allSettled(
    witnesses.map(async (witness) => parseReceipt(await witness.claim(claimBytes, authBytes, signal))),
  )
  const receipts = new Map<number, Receipt>()
  for (const answer of answers) if (answer.status === 'fulfilled') receipts.set(answer.value.index, answer.value)
  if (receipts.size >= realm.quorum) return [...receipts.values()].sort((a, b) => a.index - b.index)
  const refusals = answers.flatMap((answer) => (answer.status === 'rejected' ? [answer.reason as unknown] : []))
  const refusal = refusals.find((reason) => isError(reason) && reason.exitCode !== 6) ?? refusals[0]
  throw refusal instanceof Error
    ? refusal
    : new P2pnsError('network_unreachable', `Too few witnesses answered for ${request.short}.p2p`)
}
