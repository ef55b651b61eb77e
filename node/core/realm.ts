/** A realm: the witnesses whose receipts make a short name somebody's. Its id is the hash of what it is. */
import { type Bytes, type CborValue, compareBytes, toCbor, utf8 } from './encoding.ts'
import { P2pnsError } from './errors.ts'
import { sha256 } from './keys.ts'
import { asBytes, asList, asUint } from './shape.ts'

export interface Realm {
  /** Receipts that a lease needs: always `quorumFor(keys.length)`. */
  quorum: number
  /** Public keys of the witnesses, 32 bytes each, in ascending byte order. */
  keys: readonly Bytes[]
  /** Leading zero bits that SHA-256 of a first claim must have. */
  bits: number
}

/** With 16 receipts of 16 witnesses a lease still fits into its 2048 bytes. */
export const MAX_WITNESSES = 16
/** Beyond this nobody could claim a name any more. */
const MAX_BITS = 48

/** Two quorums always share an honest witness: with `n` of 4 or more, while at most a third of them lie. */
export function quorumFor(n: number): number {
  if (n < 4) return n === 3 ? 2 : n
  return n - Math.floor((n - 1) / 3)
}

/** The realm of these witnesses, in any order. */
export function realmOf(keys: readonly Bytes[], bits: number): Realm {
  return parseRealm(realmFields({ quorum: quorumFor(keys.length), keys: [...keys].sort(compareBytes), bits }))
}

/** `SHA256("p2pns/realm/v1\0" | CBOR([quorum, keys, bits]))`, 32 bytes. */
export function realmId(realm: Realm): Bytes {
  return sha256(utf8('p2pns/realm/v1\0'), toCbor(realmFields(realm)))
}

/** `[quorum, keys, bits]`, as a lease carries it. */
export function realmFields(realm: Realm): CborValue {
  return [realm.quorum, realm.keys, realm.bits]
}

/** Throws `malformed` for what is no CBOR of a realm, `lease_invalid` for a realm that breaks a rule. */
export function parseRealm(value: CborValue | undefined): Realm {
  const [quorumField, keysField, bitsField] = asList(value, 'A realm', 3)
  const keys = asList(keysField, "A realm's witnesses", 1, MAX_WITNESSES).map((key) =>
    asBytes(key, 'A witness key', 32),
  )
  const quorum = asUint(quorumField, 'A quorum', MAX_WITNESSES)
  const bits = asUint(bitsField, "A realm's work", MAX_BITS)
  keys.forEach((key, i) => {
    if (i > 0 && compareBytes(keys[i - 1] as Bytes, key) >= 0) {
      throw new P2pnsError('lease_invalid', 'The witnesses of a realm are not in ascending order')
    }
  })
  if (quorum !== quorumFor(keys.length)) {
    throw new P2pnsError(
      'lease_invalid',
      `A realm of ${keys.length} needs a quorum of ${quorumFor(keys.length)}, not ${quorum}`,
    )
  }
  return { quorum, keys, bits }
}
