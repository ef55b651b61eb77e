/**
 * Names that every resolver answers by itself (RFC 6761): loopback and its reverse names, and those that never exist.
 * Asking an upstream for them only tells others what this machine does.
 */
import { nameToWire, type Rr } from '../node/core/dns.ts'
import { clampTtl, TYPE } from '../node/core/rdata.ts'

/** What is known of a name: its zone, whether it exists, and what stands there. */
export interface SpecialName {
  apex: string
  exists: boolean
  rrs: Rr[]
}

/** `localhost` and all below it is this machine (RFC 6761 section 6.3). */
const LOCALHOST = 'localhost'
/** RFC 6761 sections 6.2 and 6.4; RFC 7686; RFC 9476 (what stands below `.p2p.alt` is not for this file). */
const NEVER = ['test', 'invalid', 'onion', 'alt']
/** Reverse zones of loopback (RFC 6303 sections 4.3 and 4.4), each with the one name in it. */
const V6_LOOPBACK = `1.${'0.'.repeat(31)}ip6.arpa`
const REVERSE = [
  ['127.in-addr.arpa', '1.0.0.127.in-addr.arpa'],
  [V6_LOOPBACK, V6_LOOPBACK],
] as const
const TTL = clampTtl(86_400)

/** Undefined when `name` (lower-case) is an ordinary one. */
export function specialName(name: string): SpecialName | undefined {
  if (isIn(name, LOCALHOST)) {
    const v4 = { name, type: TYPE.A, ttl: TTL, rdata: Buffer.from([127, 0, 0, 1]) }
    const v6 = { name, type: TYPE.AAAA, ttl: TTL, rdata: Buffer.concat([Buffer.alloc(15), Buffer.from([1])]) }
    return { apex: LOCALHOST, exists: true, rrs: [v4, v6] }
  }
  for (const [apex, owner] of REVERSE) {
    if (!isIn(name, apex)) continue
    const pointer = { name, type: TYPE.PTR, ttl: TTL, rdata: nameToWire(LOCALHOST) }
    return { apex, exists: isIn(owner, name), rrs: name === owner ? [pointer] : [] }
  }
  const apex = NEVER.find((suffix) => isIn(name, suffix))
  return apex === undefined ? undefined : { apex, exists: false, rrs: [] }
}

function isIn(name: string, apex: string): boolean {
  return name === apex || name.endsWith(`.${apex}`)
}
