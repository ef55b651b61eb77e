/** What the two threads of the UDP side have in common. */
import { CLASS_IN } from '../../node/core/dns.ts'
import type { Query } from '../wire.ts'

/** Numbers that both threads see and write: places in an Int32Array. `watched`: somebody wants to see each question. */
export const SHARED = { stop: 0, misses: 1, watched: 2 } as const
export const SHARED_BYTES = 12
/** RD, and CD. */
const FLAG_RD = 0x01
const FLAG_CD = 0x10

/** Datagrams that may wait for the main thread. */
export const MAX_MISSES = 4096

/**
 * Whether the thread may answer it from what it keeps: the question of a stub resolver (RD, no CD, no DO), for which one answer fits
 * all, and without a cookie, which is made of a secret that only the main thread has.
 */
export function isPlain({ packet, class: klass, edns }: Query): boolean {
  const asks = ((packet[2] as number) & FLAG_RD) !== 0 && ((packet[3] as number) & FLAG_CD) === 0
  return asks && klass === CLASS_IN && (!edns || (edns.version === 0 && !edns.dnssecOk && !edns.cookie))
}
