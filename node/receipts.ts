/** The receipts of a realm's witnesses for one claim. */
import { type Auth, type Claim, encodeAuth, encodeClaim } from './core/claim.ts'
import { type Bytes, equalBytes } from './core/encoding.ts'
import { type ErrorCode, isError, P2pnsError } from './core/errors.ts'
import { isReceiptFor, type Lease, parseReceipt, type Receipt } from './core/lease.ts'
import type { Realm } from './core/realm.ts'
import type { Introducer } from './net/introducers.ts'

export interface ReceiptRequest {
  realm: Realm
  /** The witnesses of the realm, as far as this node knows where they are. */
  witnesses: readonly Introducer[]
  claim: Claim
  auth: Auth
  /** The lease that the claim follows: some witness may not have seen it. */
  previous?: Lease
  signal?: AbortSignal
}

/** What came of asking. */
export interface Asked {
  /** By ascending index, checked. */
  receipts: Receipt[]
  /** Codes of those that judged and refused. */
  refusals: ErrorCode[]
  /** Why there is no quorum; undefined when there is one. */
  failure: Error | undefined
}

interface Unsigned {
  witness: Introducer
  error: unknown
}

/** Once a quorum has signed, the others have this long (ms): more receipts are worth a moment. */
const LATECOMERS_MS = 2_000

/**
 * Receipts of at least a quorum, by ascending index. Errors: what so many witnesses refuse with that no quorum is left, before anything
 * about silence; quorum_missing when too few answer, network_unreachable or timed_out when the only one does not.
 */
export async function collectReceipts(request: ReceiptRequest): Promise<Receipt[]> {
  const { receipts, failure } = await askWitnesses(request)
  if (failure !== undefined) throw failure
  return receipts
}

/** As `collectReceipts`, for whoever has a use for too few receipts, too. */
export async function askWitnesses(request: ReceiptRequest): Promise<Asked> {
  const { realm, signal } = request
  const members = request.witnesses.filter(({ witnessKey }) => realm.keys.some((key) => equalBytes(key, witnessKey)))
  const absent = realm.keys.length > 1 ? await absentOf(members, request.claim.name, signal) : []
  // A claim that only some have signed would keep the name from everybody, its claimant too.
  if (members.length - absent.length < realm.quorum) {
    return { receipts: [], refusals: [], failure: failureOf(request, 0, absent) }
  }
  const receipts = new Map<number, Receipt>()
  const unsigned: Unsigned[] = []
  const enough = Promise.withResolvers<void>()
  const stop = new AbortController()
  let timer: NodeJS.Timeout | undefined
  const ask = async (witness: Introducer) => {
    try {
      const receipt = await receiptOf(witness, request, stop.signal)
      receipts.set(receipt.index, receipt)
      if (receipts.size >= realm.quorum) timer ??= setTimeout(enough.resolve, LATECOMERS_MS)
    } catch (error) {
      unsigned.push({ witness, error })
    }
  }
  await Promise.race([Promise.all(members.map(ask)), enough.promise])
  clearTimeout(timer)
  stop.abort()
  return {
    receipts: [...receipts.values()].sort((a, b) => a.index - b.index),
    refusals: unsigned.flatMap(({ error }) => (isRefusal(error) ? [error.code] : [])),
    failure: receipts.size < realm.quorum ? failureOf(request, receipts.size, unsigned) : undefined,
  }
}

async function absentOf(members: readonly Introducer[], name: string, signal?: AbortSignal): Promise<Unsigned[]> {
  const answers = await Promise.allSettled(members.map((witness) => witness.lease(name, signal)))
  return members.flatMap((witness, i) => {
    const answer = answers[i]
    return answer?.status === 'rejected' && !isRefusal(answer.reason) ? [{ witness, error: answer.reason }] : []
  })
}

async function receiptOf(witness: Introducer, request: ReceiptRequest, stop: AbortSignal): Promise<Receipt> {
  const { realm, claim, auth, previous, signal } = request
  const bytes: Bytes = await witness.claim(encodeClaim(claim), encodeAuth(auth), {
    signal: signal === undefined ? stop : AbortSignal.any([signal, stop]),
    ...(previous ? { previous } : {}),
  })
  const receipt = parseReceipt(bytes)
  const isIts = equalBytes(realm.keys[receipt.index] ?? new Uint8Array(0), witness.witnessKey)
  if (isIts && isReceiptFor(claim, receipt, realm)) return receipt
  throw new P2pnsError('signature_invalid', `The witness ${witness.address} gave a receipt that is not its own`)
}

/** Whether a witness has judged, and is not only out of reach, or not to be asked now. */
function isRefusal(error: unknown): error is P2pnsError {
  return isError(error) && error.exitCode !== 6
}

function failureOf({ realm, claim }: ReceiptRequest, signed: number, unsigned: readonly Unsigned[]): Error {
  const { length } = realm.keys
  const refusals = unsigned.map(({ error }) => error).filter(isRefusal)
  const away = unsigned.filter(({ error }) => !isRefusal(error))
  if (length > 1 && length - refusals.length >= realm.quorum) return quorumMissing(realm, claim.name, signed, away)
  const first = mostCommon(refusals) ?? away[0]?.error
  if (first instanceof Error) return first
  return new P2pnsError('network_unreachable', `No witness of ${claim.name}.p2p can be reached`)
}

function quorumMissing(realm: Realm, name: string, signed: number, away: readonly Unsigned[]): P2pnsError {
  const { length } = realm.keys
  const missing = away.map(
    ({ witness, error }) => `${witness.address} (${isError(error) ? error.what : String(error)})`,
  )
  const count = signed === 0 ? `only ${length - away.length} of them answer` : `only ${signed} of them signed`
  return new P2pnsError(
    'quorum_missing',
    `${name}.p2p needs ${realm.quorum} of the ${length} witnesses of its realm, and ${count}; missing: ${missing.join(', ')}`,
  )
}

function mostCommon(refusals: readonly P2pnsError[]): P2pnsError | undefined {
  const count = (code: ErrorCode) => refusals.filter((other) => other.code === code).length
  return refusals.toSorted((a, b) => count(b.code) - count(a.code))[0]
}
