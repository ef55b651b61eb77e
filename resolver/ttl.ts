/** How long an answer may be kept, for caches that do not read DNS (RFC 8484 section 5.1). */
import { HEADER_BYTES } from '../node/core/dns.ts'
import { TYPE } from '../node/core/rdata.ts'
import { skipName } from './wire-walk.ts'

/** Seconds: the lowest TTL of the records of a message, 0 where there are none. */
export function lowestTtl(message: Buffer): number {
  let lowest = Number.POSITIVE_INFINITY
  let at = HEADER_BYTES
  for (let left = message.readUInt16BE(4); left > 0; left--) at = skipName(message, at) + 4
  for (let left = message.readUInt16BE(6) + message.readUInt16BE(8); left > 0; left--) {
    at = skipName(message, at)
    if (at + 10 > message.length) break
    if (message.readUInt16BE(at) !== TYPE.OPT) lowest = Math.min(lowest, message.readUInt32BE(at + 4))
    at += 10 + message.readUInt16BE(at + 8)
  }
  return Number.isFinite(lowest) ? lowest : 0
}
