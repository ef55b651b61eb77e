/**
 * The kinds of record that live in the DHT: each binds its key to its content, has a size limit and a total order.
 * A storing node, a reader and an introducer all judge by this one table, and none believes another.
 */

import { claimId, isRelease } from './claim.ts'
import { type Bytes, compareBytes, equalBytes, utf8 } from './encoding.ts'
import { isError, P2pnsError } from './errors.ts'
import { compareLeases, leaseDhtKey, MAX_NAMED_BYTES, parseNamed, verifyLease } from './lease.ts'
import { MAX_DHT_MANIFEST, manifestDhtKey, parseManifest } from './manifest.ts'
import { realmId } from './realm.ts'
import { MAX_ZONE_BYTES, newerZone, parseZone, zoneDhtKey } from './zone.ts'

interface RecordKind {
  /** Bytes. */
  maxBytes: number
  /** Throws unless `value` is whole, signed, and belongs under `key`. `now` in ms. */
  check(key: Bytes, value: Bytes, now: number): void
  /** Positive when `a` replaces `b`, 0 when they are the same. Both have passed `check` at some time. */
  compare(a: Bytes, b: Bytes, now: number): number
}

function belongs(key: Bytes, expected: Bytes, what: string): void {
  if (!equalBytes(key, expected)) throw new P2pnsError('key_mismatch', `A ${what} was found under another's key`)
}

/** By namespace, the second part of a DHT key such as `/p2pns-z/<key>`. */
export const RECORD_KINDS: Record<'p2pns-z' | 'p2pns-n' | 'p2pns-m', RecordKind> = {
  'p2pns-z': {
    maxBytes: MAX_ZONE_BYTES,
    check(key, value, now) {
      belongs(key, zoneDhtKey(value.subarray(0, 32)), 'zone record')
      parseZone(value, { now })
    },
    compare: (a, b) => newerZone(parseZone(a, {}), parseZone(b, {})),
  },
  'p2pns-n': {
    maxBytes: MAX_NAMED_BYTES,
    check(key, value, now) {
      const { lease, zoneBytes } = parseNamed(value)
      belongs(key, leaseDhtKey(realmId(lease.realm), lease.claim.name), 'lease')
      verifyLease(lease, now)
      if (!isRelease(lease.claim)) parseZone(zoneBytes, { key: lease.claim.owner, now })
    },
    compare(a, b, now) {
      const [left, right] = [parseNamed(a), parseNamed(b)]
      // One claim with other receipts is the same lease: then the zone counts first, or whoever collects more receipts
      // could bring back an old zone with them.
      if (equalBytes(claimId(left.lease.claim), claimId(right.lease.claim)) && !isRelease(left.lease.claim)) {
        const order = newerZone(parseZone(left.zoneBytes, {}), parseZone(right.zoneBytes, {}))
        if (order !== 0) return order
      }
      return compareLeases(left.lease, right.lease, now)
    },
  },
  'p2pns-m': {
    maxBytes: MAX_DHT_MANIFEST,
    check(key, value) {
      belongs(key, manifestDhtKey(parseManifest(value).id), 'manifest')
    },
    compare: (a, b) => compareBytes(a, b),
  },
}

/** The kind that a DHT key belongs to; the key is compared as bytes, since its end is binary. */
export function kindOf(key: Bytes): RecordKind {
  for (const [namespace, kind] of Object.entries(RECORD_KINDS)) {
    const head = utf8(`/${namespace}/`)
    if (key.length === head.length + 32 && equalBytes(key.subarray(0, head.length), head)) return kind
  }
  throw new P2pnsError('key_mismatch', 'A record was offered under a key that is not of p2pns')
}

/** Throws unless `value` may stand under `key`. Size first: nothing is parsed that is too large. */
export function checkRecord(key: Bytes, value: Bytes, now: number): void {
  const kind = kindOf(key)
  if (value.length > kind.maxBytes) {
    throw new P2pnsError('too_large', `A record has ${value.length} bytes, the limit is ${kind.maxBytes}`)
  }
  kind.check(key, value, now)
}

/** Whether a record was refused by this machine's clock alone: whoever keeps it has another time. */
export function isUntimely(error: unknown): error is P2pnsError {
  return isError(error, 'seq_in_future', 'clock_wrong', 'lease_expired')
}

/** Positive when `a` replaces `b` under `key`. */
export function compareRecords(key: Bytes, a: Bytes, b: Bytes, now: number): number {
  return equalBytes(a, b) ? 0 : kindOf(key).compare(a, b, now)
}
