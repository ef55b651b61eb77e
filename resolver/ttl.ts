/** How long an answer may be kept by caches that do not read DNS (RFC 8484 section 5.1). */
import { HEADER_BYTES } from '../node/core/dns.ts'
import { TYPE } from '../node/core/rdata.ts'
import { skipName } from './wire-walk.ts'

/** Of a record behind its owner: type, class, TTL, length. */
const RECORD_HEAD = 10

/** Seconds: the lowest TTL of the answer; of an SOA that stands for what is missing its minimum counts too. Else 0. */
export function lowestTtl(message: Buffer): number {
  let lowest = Number.POSITIVE_INFINITY
  let at = HEADER_BYTES
  for (let left = message.readUInt16BE(4); left > 0; left--) at = skipName(message, at) + 4
  const answers = message.readUInt16BE(6)
  for (let i = 0; i < answers + message.readUInt16BE(8); i++) {
    at = skipName(message, at)
    const end = at + RECORD_HEAD
    if (end > message.length) break
    const next = end + message.readUInt16BE(at + 8)
    const negative = i >= answers && message.readUInt16BE(at) === TYPE.SOA && next <= message.length
    if (i < answers || negative) lowest = Math.min(lowest, message.readUInt32BE(at + 4))
    // RFC 2308 section 4: the last of the SOA's fields.
    if (negative && next - end >= 4) lowest = Math.min(lowest, message.readUInt32BE(next - 4))
    at = next
  }
  return Number.isFinite(lowest) ? lowest : 0
}
