/** What a decoded CBOR value may be. Every reader here returns the value in its exact type or throws `malformed`. */
import type { Bytes, CborValue } from './encoding.ts'
import { P2pnsError } from './errors.ts'

/** An array of `min` to `max` values (`max` defaults to `min`: exactly that many). */
export function asList(value: CborValue | undefined, what: string, min: number, max = min): readonly CborValue[] {
  if (!Array.isArray(value) || value.length < min || value.length > max) {
    throw new P2pnsError('malformed', `${what} is not an array of ${min === max ? min : `${min} to ${max}`}`)
  }
  return value as readonly CborValue[]
}

/** A byte string of one of the `lengths`; of any length if none is given. */
export function asBytes(value: CborValue | undefined, what: string, ...lengths: number[]): Bytes {
  if (!(value instanceof Uint8Array) || (lengths.length > 0 && !lengths.includes(value.length))) {
    throw new P2pnsError('malformed', `${what} is not a byte string of the right length`)
  }
  return value
}

/** An unsigned integer from 0 to `max`, which is at most 2^53 - 1. */
export function asUint(value: CborValue | undefined, what: string, max: number): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value > max) {
    throw new P2pnsError('malformed', `${what} is not an integer from 0 to ${max}`)
  }
  return value
}

export function asText(value: CborValue | undefined, what: string): string {
  if (typeof value !== 'string') throw new P2pnsError('malformed', `${what} is not text`)
  return value
}
