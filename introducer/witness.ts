/**
 * The witness: it signs that it saw a claim, and never for two chains of one name at a time. What it remembers of a name is the lease
 * of the last claim it signed, with its own receipt; that is on the disk before the receipt leaves, so that a crash
 * between the two can be repaired by asking again. All rules are in docs/spec/lease.md, "What a witness signs".
 */
import {
  type Auth,
  type Claim,
  chainId,
  checkAuth,
  checkSuccessor,
  checkWork,
  claimId,
  freeFrom,
  parseClaim,
} from '../node/core/claim.ts'
import { type Bytes, equalBytes } from '../node/core/encoding.ts'
import { P2pnsError } from '../node/core/errors.ts'
import type { KeyPair } from '../node/core/keys.ts'
import { CLAIM_WINDOW, encodeLease, type Lease, parseLease, type Receipt, signReceipt } from '../node/core/lease.ts'
import { type Realm, realmId } from '../node/core/realm.ts'
import { keyedLocks } from '../node/net/locks.ts'

/** By name, without the suffix. */
export interface WitnessStore {
  get(name: string): Promise<Bytes | undefined>
  /** Resolves when a power cut can no longer undo it. */
  put(name: string, bytes: Bytes): Promise<void>
}

export interface WitnessOptions {
  /** One of the realm's keys. */
  pair: KeyPair
  realm: Realm
  store: WitnessStore
  /** Milliseconds since 1970. */
  now: () => number
}

export interface Witness {
  /**
   * A receipt for the claim, the same one whenever the same bytes come again. Errors: `malformed`, `too_large`, `name_invalid`,
   * `lease_invalid`, `clock_wrong`, `work_missing`, `name_taken`, `name_not_yours`, `record_older`, `lease_expired`,
   * `signature_invalid`, `db_corrupt`, and those of the store.
   */
  claim(claimBytes: Bytes, auth: Auth): Promise<Receipt>
  /** The last lease of a name that it signed, with its own receipt: for an owner whose network has forgotten it. */
  lease(name: string): Promise<Bytes | undefined>
}

export function createWitness({ pair, realm, store, now }: WitnessOptions): Witness {
  const index = realm.keys.findIndex((key) => equalBytes(key, pair.publicKey))
  if (index < 0) throw new RangeError('a witness has one of the keys of its realm')
  const rid = realmId(realm)
  const oneAtATime = keyedLocks()

  return {
    lease: (name) => store.get(name),
    async claim(claimBytes, auth) {
      const claim = parseClaim(claimBytes)
      if (!equalBytes(claim.rid, rid)) {
        throw new P2pnsError('lease_invalid', `The claim to "${claim.name}" is for another realm than this witness's`)
      }
      checkWork(claim, realm.bits)
      return oneAtATime(claim.name, async () => {
        const last = remembered(claim.name, await store.get(claim.name))
        if (last && equalBytes(claimId(last.claim), claimId(claim))) return last.receipts[0] as Receipt
        const time = Math.floor(now() / 1000)
        judge(claim, auth, last?.claim, time)
        const receipt = signReceipt(index, time, claimBytes, pair)
        await store.put(claim.name, encodeLease({ claim, auth, receipts: [receipt], realm }))
        return receipt
      })
    },
  }
}

/** A witness that cannot read what it signed must not sign again. */
function remembered(name: string, bytes: Bytes | undefined): Lease | undefined {
  if (bytes === undefined) return undefined
  try {
    return parseLease(bytes)
  } catch (cause) {
    throw new P2pnsError('db_corrupt', `What this witness remembers of "${name}" is unreadable`, { cause })
  }
}

/** Throws unless `claim` may be signed at `time` (seconds) by a witness that signed `last` before. */
function judge(claim: Claim, auth: Auth, last: Claim | undefined, time: number): void {
  if (Math.abs(claim.from - time) > CLAIM_WINDOW) {
    throw new P2pnsError(
      'clock_wrong',
      `The claim to "${claim.name}" does not begin within 5 minutes of the witness's clock`,
    )
  }
  // The claim's own start counts too: terms of two chains must not overlap by the minutes that clocks may differ.
  const free = last === undefined || Math.min(time, claim.from) >= freeFrom(last)
  if (claim.version === 0) {
    if (!free) throw new P2pnsError('name_taken', `"${claim.name}" belongs to somebody until ${utcDay(freeFrom(last))}`)
  } else if (last === undefined) {
    throw new P2pnsError(
      'lease_invalid',
      `This witness knows no claim that version ${claim.version} of "${claim.name}" could follow`,
    )
  } else if (free) {
    throw new P2pnsError('lease_expired', `The time to renew "${claim.name}" ended on ${utcDay(freeFrom(last))}`)
  } else if (!equalBytes(claim.chain, chainId(last))) {
    throw new P2pnsError('name_taken', `"${claim.name}" belongs to somebody else until ${utcDay(freeFrom(last))}`)
  } else {
    checkSuccessor(last, claim, auth)
  }
  checkAuth(claim, auth)
}

function utcDay(seconds: number): string {
  return new Date(seconds * 1000).toISOString().slice(0, 10)
}
