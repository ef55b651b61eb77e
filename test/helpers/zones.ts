/** Zone records for tests: keys from a number, seqs from a number of ms. */
import { type KeyPair, keyPairFromSeed } from '../../node/core/keys.ts'
import { rrFromText } from '../../node/core/rdata.ts'
import { signZone, type Zone } from '../../node/core/zone.ts'

export function pairOf(number: number): KeyPair {
  return keyPairFromSeed(new Uint8Array(32).fill(number))
}

/** A zone with one A record, signed at `atMs`. */
export function zoneAt(pair: KeyPair, atMs: number, address = '192.0.2.1'): Zone {
  return signZone(pair, BigInt(atMs) * 1000n, [rrFromText({ type: 'A', data: address })])
}
