/** Who takes part in a swarm without wires, and what lies between two of them. */
import { Choker } from '../../node/files/choker.ts'
import type { Download } from '../../node/files/download.ts'
import type { Run } from '../../node/files/layout.ts'
import { Meter } from '../../node/files/meter.ts'
import type { PeerLink } from '../../node/files/peer-link.ts'
import { UploadOrder } from '../../node/files/upload-order.ts'
import type { Random } from './random.ts'

export interface PeerPlan {
  /** Bytes a second. */
  up: number
  down: number
  /** Chunks it has from the start. Default: none. */
  has?: Run
  /** Default: true. Nobody finds one that does not. */
  gives?: boolean
  /** Peers that it gives to at a time. Default: as many as its uplink is worth. */
  slots?: number
  /** It goes after so many milliseconds. */
  leaves?: number
  /** It goes when it has given each of these once. */
  leavesHaving?: Run
}

const WORTHWHILE = 512 * 1024
const MIN_SLOTS = 8
/** As peer-link.ts and fetch.ts have them. */
export const LOOK_EVERY = 500
const STALL = 20_000
const MIN_RATE = 2 * 1024
const FAIR_RATE = 64 * 1024

export class Peer {
  readonly index: number
  readonly plan: PeerPlan
  /** Milliseconds from it, and to it. */
  readonly latency: number
  readonly have: Uint8Array
  readonly choker: Choker<Link>
  readonly order: UploadOrder
  /** Whom it fetches from, and whom it serves. */
  readonly sources = new Map<Peer, Link>()
  readonly served = new Set<Link>()
  /** Links that have a chunk to send, in turn; the first is being served. */
  readonly line: Link[] = []
  download: Download | undefined
  sending = false
  gone = false
  /** Until when its downlink is full. */
  full = 0
  given = 0
  news: number[] = []
  /** How often each peer was given up for its silence. */
  readonly silences = new Map<Peer, number>()

  constructor(index: number, plan: PeerPlan, chunks: number, random: Random) {
    this.index = index
    this.plan = plan
    this.latency = random.between(5, 50)
    this.have = new Uint8Array(chunks).fill(1, plan.has?.first ?? 0, plan.has ? plan.has.first + plan.has.count : 0)
    const slots = plan.slots ?? Math.max(MIN_SLOTS, Math.floor(plan.up / WORTHWHILE))
    this.choker = new Choker({ slots: () => slots, random: (end) => random.between(0, end - 1) })
    this.order = new UploadOrder(chunks)
  }

  get hasAll(): boolean {
    return !this.have.includes(0)
  }
}

/** What lies between two peers. */
export interface Wires {
  readonly now: number
  tell(link: Link, work: () => void): void
  request(link: Link, run: Run): void
}

/** What Download needs of a PeerLink, and what its server knows of it. */
export class Link {
  readonly client: Peer
  readonly server: Peer
  readonly meter = new Meter()
  readonly bits: Uint8Array | undefined
  readonly #wires: Wires
  bytes = 0
  #expecting = false
  closed = false
  /** Asked for, and not cancelled. */
  readonly awaited = new Set<number>()
  received = 0
  #seen = 0
  #lookedAt: number
  #patience = STALL
  slowFor = 0
  /** It choked, and has brought nothing since. */
  isBusy = false
  /** What is to be sent, and the chunk that is on its way out. */
  queue: Run[] = []
  taken: number | undefined
  choked = false
  lastActive: number
  given = 0
  givenThen = 0
  gotThen = 0

  constructor(wires: Wires, client: Peer, server: Peer) {
    this.#wires = wires
    this.#lookedAt = wires.now
    this.lastActive = wires.now
    this.client = client
    this.server = server
    if (server.hasAll) return
    this.bits = new Uint8Array(Math.ceil(server.have.length / 8))
    for (const [chunk, there] of server.have.entries()) if (there) this.#gain(chunk)
  }

  get rate(): number {
    return this.meter.rate
  }

  get pipeline(): number | undefined {
    return this.meter.pipeline(this.bits === undefined)
  }

  get expecting(): boolean {
    return this.#expecting
  }

  set expecting(owes: boolean) {
    if (owes && !this.#expecting) {
      this.#seen = this.received
      this.#lookedAt = this.#wires.now
      this.#patience = STALL
    }
    this.#expecting = owes
  }

  get slow(): boolean {
    return this.slowFor > 0
  }

  get isTooSlow(): boolean {
    return this.slowFor >= STALL
  }

  /** Whether that is news, or that it is lost. */
  look(): 'slow' | 'swift' | 'silent' | undefined {
    const interval = this.#wires.now - this.#lookedAt
    if (interval < LOOK_EVERY) return undefined
    const rate = ((this.received - this.#seen) / interval) * 1000
    this.#seen = this.received
    this.#lookedAt = this.#wires.now
    const left = this.#expecting ? this.#patience + interval * (rate / MIN_RATE - 1) : STALL
    this.#patience = Math.min(STALL, left)
    if (this.#patience <= 0) return 'silent'
    const slow = this.#expecting && rate < FAIR_RATE
    if (!slow && !this.slow) return undefined
    this.slowFor = slow ? this.slowFor + interval : 0
    return slow ? 'slow' : 'swift'
  }

  ask(run: Run, idle: boolean): void {
    if (idle) this.meter.asked()
    for (let chunk = run.first; chunk < run.first + run.count; chunk++) this.awaited.add(chunk)
    this.#wires.tell(this, () => this.#wires.request(this, { ...run }))
  }

  cancel(run: Run): void {
    for (let chunk = run.first; chunk < run.first + run.count; chunk++) this.awaited.delete(chunk)
    this.#wires.tell(this, () => this.drop(run))
  }

  gained(run: Run): void {
    for (let chunk = run.first; chunk < run.first + run.count; chunk++) this.#gain(chunk)
  }

  #gain(chunk: number): void {
    if (this.bits) this.bits[chunk >> 3] = (this.bits[chunk >> 3] as number) | (0x80 >> (chunk & 7))
  }

  /** Out of what is to be sent. */
  drop({ first, count }: Run): void {
    const end = first + count
    this.queue = this.queue.flatMap((run) => [
      ...(run.first < first ? [{ first: run.first, count: Math.min(run.first + run.count, first) - run.first }] : []),
      ...(run.first + run.count > end
        ? [{ first: Math.max(run.first, end), count: run.first + run.count - Math.max(run.first, end) }]
        : []),
    ])
  }
}

export function asPeer(link: Link): PeerLink {
  return link as unknown as PeerLink
}
