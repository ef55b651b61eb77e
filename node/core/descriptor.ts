/**
 * A realm's descriptor: who its witnesses are and where, signed by a quorum of the witnesses in it, so that being
 * pointed at any one of them pins them all. `[[1, [quorum, keys, bits], display name, addresses, issued], signatures]`;
 * `issued` in seconds, a signature is `[witness index, signature]` (docs/spec/introducer.md).
 */
import { MAX_TIME } from './claim.ts'
import { type Bytes, concat, fromCbor, toCbor, utf8 } from './encoding.ts'
import { P2pnsError } from './errors.ts'
import { type KeyPair, verify } from './keys.ts'
import { parseRealm, type Realm, realmFields } from './realm.ts'
import { asBytes, asList, asText, asUint } from './shape.ts'

export interface Descriptor {
  realm: Realm
  displayName: string
  /** Multiaddrs of the witnesses, each with its peer id. */
  addresses: string[]
  /** Seconds since 1970. */
  issued: number
}

export const MAX_DESCRIPTOR_BYTES = 8192
const MAX_DISPLAY_NAME = 64
const MAX_ADDRESSES = 128
const DOMAIN = utf8('p2pns/realm-descriptor/v1\0')

/** The part of a descriptor that is signed. */
export function encodeBody({ realm, displayName, addresses, issued }: Descriptor): Bytes {
  return toCbor([1, realmFields(realm), displayName, addresses, issued])
}

/** 64 bytes, over `"p2pns/realm-descriptor/v1\0" | body`. */
export function signBody(body: Bytes, pair: KeyPair): Bytes {
  return pair.sign(concat(DOMAIN, body))
}

/** Whether the witness whose public key is `key` signed `body`. */
function isSignedBody(body: Bytes, key: Bytes, signature: Bytes): boolean {
  return verify(key, concat(DOMAIN, body), signature)
}

/** A body with the signatures of witnesses, by their place in the realm's keys. */
export function encodeDescriptor(body: Bytes, signatures: ReadonlyMap<number, Bytes>): Bytes {
  return toCbor([body, [...signatures].sort(([a], [b]) => a - b)])
}

/** Errors: malformed, too_large, signature_invalid. */
export function parseDescriptor(bytes: Bytes): Descriptor {
  const what = 'A realm descriptor'
  const [bodyItem, signatures] = asList(fromCbor(bytes, MAX_DESCRIPTOR_BYTES, what), what, 2)
  if (!(bodyItem instanceof Uint8Array)) throw malformed('its body is not a byte string')
  const body: Bytes = bodyItem
  const descriptor = parseBody(body)
  const { keys, quorum } = descriptor.realm
  const signers = new Set<number>()
  for (const item of asList(signatures, what, 1, keys.length)) {
    const [indexItem, signature] = asList(item, what, 2)
    const index = asUint(indexItem, what, keys.length - 1)
    if (!isSignedBody(body, keys[index] as Bytes, asBytes(signature, what, 64))) {
      throw new P2pnsError('signature_invalid', 'A realm descriptor carries a signature that is not of its witness')
    }
    signers.add(index)
  }
  if (signers.size < quorum) throw new P2pnsError('signature_invalid', 'A realm descriptor is not signed by its quorum')
  return descriptor
}

/** Errors: malformed, too_large, lease_invalid. */
export function parseBody(body: Bytes): Descriptor {
  const what = 'A realm descriptor'
  const [version, realm, displayName, addresses, issued] = asList(fromCbor(body, MAX_DESCRIPTOR_BYTES, what), what, 5)
  asUint(version, what, 1)
  const name = asText(displayName, what)
  if (version !== 1 || name.length > MAX_DISPLAY_NAME) throw malformed('its version is not 1, or its name is too long')
  return {
    realm: parseRealm(realm),
    displayName: name,
    addresses: asList(addresses, what, 0, MAX_ADDRESSES).map((address) => asText(address, what)),
    issued: asUint(issued, what, MAX_TIME),
  }
}

function malformed(why: string): P2pnsError {
  return new P2pnsError('malformed', `A realm descriptor is malformed: ${why}`)
}
