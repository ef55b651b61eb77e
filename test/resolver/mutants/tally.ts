/** What came of mutated packets. */

export interface Failure {
  seed: number
  /** Of the packet, or of the last one before. */
  index: number
  how: string
  why: string
  /** Hex. */
  packet: string
}

export class Tally {
  packets = 0
  /** Packets without an answer that deserved none. */
  silent = 0
  /** Valid queries in between that were answered as they must be. */
  valid = 0
  /** Responses of others that were believed, and that were not. */
  taken = 0
  refused = 0
  readonly rcodes = new Map<number, number>()
  readonly failures: Failure[] = []

  count(rcode: number): void {
    this.rcodes.set(rcode, (this.rcodes.get(rcode) ?? 0) + 1)
  }

  /** `rcode 0: 12, rcode 1: 3`, the lowest first. */
  rcodeText(): string {
    const sorted = [...this.rcodes].sort(([a], [b]) => a - b)
    return sorted.map(([rcode, count]) => `${NAMES[rcode] ?? `rcode ${rcode}`} ${count}`).join(', ')
  }
}

const NAMES: Record<number, string> = {
  0: 'NOERROR',
  1: 'FORMERR',
  2: 'SERVFAIL',
  3: 'NXDOMAIN',
  4: 'NOTIMP',
  5: 'REFUSED',
  16: 'BADVERS',
  23: 'BADCOOKIE',
}
