/**
 * Bounds the addresses that libp2p keeps of a peer: its peer store merges whatever anybody tells, and the DHT hands all
 * of it on. Cut where the peer store writes, since its own filter sees addresses one by one and cannot count them.
 */
import type { Key } from 'interface-datastore'
import { decode, encodingLength } from 'uint8-varint'
import { type Bytes, concat } from '../core/encoding.ts'
import { P2pnsError } from '../core/errors.ts'
import { DatastoreGuard } from './datastore-guard.ts'

const PEERS = '/peers/'
export const MAX_ADDRESSES = 16

/** Fields of the peer store's protobuf: the addresses of a peer; whether one is signed by it; since when it is known, in ms. */
const ADDRESSES = 1
const IS_CERTIFIED = 2
const OBSERVED = 3

export class PeerGuard extends DatastoreGuard {
  override async put(key: Key, value: Bytes): Promise<Key> {
    return this.inner.put(key, key.toString().startsWith(PEERS) ? withFewAddresses(value) : value)
  }
}

/** Those that the peer signed stay first, then those known longest: nobody can push out what was there. */
function withFewAddresses(peer: Bytes): Bytes {
  const all = fieldsOf(peer)
  const addresses = all.filter(({ number }) => number === ADDRESSES)
  if (addresses.length <= MAX_ADDRESSES) return peer
  const order = addresses.map((field) => {
    const inner = fieldsOf(field.body)
    const valueOf = (wanted: number) => inner.find(({ number }) => number === wanted)?.value ?? 0
    return { field, isCertified: valueOf(IS_CERTIFIED), observed: valueOf(OBSERVED) }
  })
  order.sort((a, b) => b.isCertified - a.isCertified || a.observed - b.observed)
  const dropped = new Set(order.slice(MAX_ADDRESSES).map(({ field }) => field))
  return concat(...all.filter((field) => !dropped.has(field)).map(({ whole }) => whole))
}

interface Field {
  number: number
  /** Of a number; 0 otherwise. */
  value: number
  /** Of anything with a length; empty otherwise. */
  body: Bytes
  whole: Bytes
}

/** A protobuf message, one level of it: numbers (wire type 0) and what has a length (2), all that a peer is made of. */
function fieldsOf(message: Bytes): Field[] {
  const fields: Field[] = []
  for (let at = 0; at < message.length; ) {
    const tag = decode(message, at)
    const type = tag & 7
    if (type !== 0 && type !== 2) throw new P2pnsError('malformed', 'The peer store wrote what is no peer')
    const valueAt = at + encodingLength(tag)
    const value = decode(message, valueAt)
    const bodyAt = valueAt + encodingLength(value)
    const end = type === 2 ? bodyAt + value : bodyAt
    fields.push({
      number: tag >>> 3,
      value: type === 0 ? value : 0,
      body: message.subarray(bodyAt, end),
      whole: message.subarray(at, end),
    })
    at = end
  }
  return fields
}
