/** Bytes to text and back, each in exactly one form: z-base-32, hex, canonical CBOR. */
import { decode as cborDecode, encode as cborEncode, type EncodeOptions } from 'cborg'
import { base32z } from 'multiformats/bases/base32'
import { P2pnsError } from './errors.ts'

export type Bytes = Uint8Array

/** z-base-32 (Zooko O'Whielacronx, 2002) of `bytes`, lower-case, without the multibase prefix. */
export function toZ32(bytes: Bytes): string {
  return base32z.baseEncode(bytes)
}

/**
 * Strict z-base-32: any case is read, but the spare bits must be zero, so that one key has one spelling
 * (32 bytes leave 4 spare bits: 16 strings would decode to the same key).
 */
export function fromZ32(text: string): Bytes {
  // Only ASCII: U+212A, the Kelvin sign, would become a "k".
  const lower = /^[0-9a-zA-Z]*$/.test(text) ? text.toLowerCase() : ''
  let bytes: Bytes
  try {
    bytes = base32z.baseDecode(lower)
  } catch (cause) {
    throw new P2pnsError('malformed', `"${text.slice(0, 60)}" is not z-base-32`, { cause })
  }
  if (toZ32(bytes) !== lower || lower.length !== text.length)
    throw new P2pnsError('malformed', `"${text.slice(0, 60)}" is not canonical z-base-32`)
  return bytes
}

export function toHex(bytes: Bytes): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex')
}

/** Of text that this program wrote: Buffer would cut short what is not hex, so that is an error of ours. */
export function fromHex(text: string): Bytes {
  const bytes = Buffer.from(text, 'hex')
  if (bytes.length * 2 !== text.length) throw new RangeError('not hex')
  return bytes
}

export function equalBytes(a: Bytes, b: Bytes): boolean {
  return a.length === b.length && Buffer.compare(a, b) === 0
}

/** Byte order, as a sort function. */
export function compareBytes(a: Bytes, b: Bytes): number {
  return Buffer.compare(a, b)
}

export function concat(...parts: Bytes[]): Bytes {
  return Buffer.concat(parts)
}

export function utf8(text: string): Bytes {
  return Buffer.from(text, 'utf8')
}

/** A value that our CBOR formats use: RFC 8949, arrays, byte and text strings, unsigned integers; no maps, floats or tags. */
export type CborValue = number | bigint | string | Bytes | readonly CborValue[]

const encodeOptions: EncodeOptions = { float64: true }

/** Canonical CBOR (RFC 8949 section 4.2.1): shortest integers, definite lengths. */
export function toCbor(value: CborValue): Bytes {
  return cborEncode(value, encodeOptions)
}

/**
 * Reads canonical CBOR of at most `limit` bytes; anything that does not re-encode to the same bytes is refused, because
 * decoders in "strict" mode still accept some of it.
 */
export function fromCbor(bytes: Bytes, limit: number, what: string): CborValue {
  if (bytes.length > limit)
    throw new P2pnsError('too_large', `${what} has ${bytes.length} bytes, the limit is ${limit}`)
  let value: CborValue
  let again: Bytes
  try {
    value = cborDecode(bytes, {
      strict: true,
      allowIndefinite: false,
      allowUndefined: false,
      allowNaN: false,
      allowInfinity: false,
      allowBigInt: true,
      rejectDuplicateMapKeys: true,
    }) as CborValue
    again = toCbor(value)
  } catch (cause) {
    throw new P2pnsError('malformed', `${what} is not CBOR`, { cause })
  }
  if (!equalBytes(bytes, again)) throw new P2pnsError('malformed', `${what} is not canonical CBOR`)
  return value
}
