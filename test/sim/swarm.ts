/**
 * A swarm without wires: the real Download with its Picker and Meter, Choker and UploadOrder, in a world of peers with
 * bandwidth and latency only. Time jumps from event to event, one seed decides everything, and nothing waits for anything
 * real. What is modelled is what lies between: the queue of an upload, an uplink whose links take turns chunk by chunk,
 * and a downlink.
 */
import { CHUNK_SIZE } from '../../node/core/tree.ts'
import { CHOKE_ROUND, Choker } from '../../node/files/choker.ts'
import { Download } from '../../node/files/download.ts'
import type { Layout, Run } from '../../node/files/layout.ts'
import type { Work } from '../../node/files/link-threads.ts'
import { Meter } from '../../node/files/meter.ts'
import type { PeerLink } from '../../node/files/peer-link.ts'
import { UploadOrder } from '../../node/files/upload-order.ts'
import { Random } from './random.ts'

/** As seed.ts, seed-link.ts, peer-link.ts and find-peers.ts have them. */
const MAX_SERVED = 64
const MAX_FETCHING = 32
const WORTHWHILE = 512 * 1024
const MIN_SLOTS = 8
const HAVE_EVERY = 30
const LOOK_EVERY = 4_000
const FAIR_RATE = 64 * 1024
/** Milliseconds until a peer that was lost is replaced. */
const REDIAL = 2_000

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

export interface SwarmPlan {
  seed: number
  chunks: number
  peers: readonly PeerPlan[]
  /** Links that each opens at most. */
  links?: number
  /** Milliseconds after which it is over, whoever is not done. */
  limit?: number
}

export interface Outcome {
  /** Milliseconds until each had everything; undefined: it never had. */
  done: (number | undefined)[]
  /** Chunks that each gave. */
  given: number[]
  /** Chunks that came and were of no use. */
  wasted: number
  /** When the peers that had something from the start had given each chunk once, and how many chunks they had given then. */
  firstCopy: { at: number; given: number }
  /** A digest of all that happened. */
  course: number
  events: number
}

interface Event {
  at: number
  order: number
  work: () => void
}

/** What happens when, in that order; at the same time in the order in which it was planned. */
class Agenda {
  now = 0
  #heap: Event[] = []
  #planned = 0

  after(ms: number, work: () => void): void {
    const heap = this.#heap
    const entry: Event = { at: this.now + ms, order: this.#planned++, work }
    let at = heap.length
    for (; at > 0; at = (at - 1) >> 1) {
      const parent = heap[(at - 1) >> 1] as Event
      if (parent.at <= entry.at) break
      heap[at] = parent
    }
    heap[at] = entry
  }

  /** Whether anything was left to happen. */
  step(): boolean {
    const heap = this.#heap
    const [first] = heap
    const last = heap.pop()
    if (!first || !last) return false
    if (first !== last) this.#sink(last)
    this.now = first.at
    first.work()
    return true
  }

  /** Into the place of the first, and down to where it belongs. */
  #sink(entry: Event): void {
    const heap = this.#heap
    for (let at = 0; ; ) {
      let child = 2 * at + 1
      if (child + 1 < heap.length && isBefore(heap[child + 1] as Event, heap[child] as Event)) child++
      const next = heap[child]
      if (!next || isBefore(entry, next)) {
        heap[at] = entry
        return
      }
      heap[at] = next
      at = child
    }
  }
}

function isBefore(a: Event, b: Event): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order)
}

class Peer {
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

/** What Download needs of a PeerLink, and what its server knows of it. */
class Link {
  readonly client: Peer
  readonly server: Peer
  readonly meter = new Meter()
  readonly bits: Uint8Array | undefined
  readonly #swarm: SwarmWorld
  bytes = 0
  expecting = false
  closed = false
  /** Asked for, and not cancelled. */
  readonly awaited = new Set<number>()
  received = 0
  seen = 0
  slowLooks = 0
  /** What is to be sent, and the chunk that is on its way out. */
  queue: Run[] = []
  taken: number | undefined
  choked = false
  given = 0
  givenThen = 0
  gotThen = 0

  constructor(swarm: SwarmWorld, client: Peer, server: Peer) {
    this.#swarm = swarm
    this.client = client
    this.server = server
    if (server.hasAll) return
    this.bits = new Uint8Array(Math.ceil(server.have.length / 8))
    for (const [chunk, there] of server.have.entries()) if (there) this.#gain(chunk)
  }

  get pipeline(): number | undefined {
    return this.meter.pipeline(this.bits === undefined)
  }

  ask(run: Run, idle: boolean): void {
    if (idle) this.meter.asked()
    for (let chunk = run.first; chunk < run.first + run.count; chunk++) this.awaited.add(chunk)
    this.#swarm.tell(this, () => this.#swarm.request(this, { ...run }))
  }

  cancel(run: Run): void {
    for (let chunk = run.first; chunk < run.first + run.count; chunk++) this.awaited.delete(chunk)
    this.#swarm.tell(this, () => this.drop(run))
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

export class SwarmWorld {
  readonly #plan: SwarmPlan
  readonly #random: Random
  readonly #agenda = new Agenda()
  readonly #peers: Peer[]
  readonly #outcome: Outcome
  /** Chunks that no peer which had them from the start has given. */
  readonly #ungiven: Set<number>
  #course = 0
  #working = 0
  #events = 0

  constructor(plan: SwarmPlan) {
    this.#plan = plan
    this.#random = new Random(plan.seed)
    this.#peers = plan.peers.map((peer, index) => new Peer(index, peer, plan.chunks, this.#random))
    this.#ungiven = new Set(Array(plan.chunks).keys())
    this.#outcome = {
      done: plan.peers.map(() => undefined),
      given: [],
      wasted: 0,
      firstCopy: { at: Number.POSITIVE_INFINITY, given: 0 },
      course: 0,
      events: 0,
    }
  }

  run(): Outcome {
    const { limit = 3_600_000 } = this.#plan
    const agenda = this.#agenda
    performance.now = () => agenda.now
    try {
      for (const peer of this.#peers) this.#begin(peer)
      while (this.#working > 0 && agenda.now < limit && agenda.step()) this.#events++
    } finally {
      Reflect.deleteProperty(performance, 'now')
    }
    return {
      ...this.#outcome,
      given: this.#peers.map(({ given }) => given),
      course: this.#course >>> 0,
      events: this.#events,
    }
  }

  /** To the other end of a link. */
  tell(link: Link, work: () => void): void {
    this.#agenda.after(link.server.latency, () => {
      if (!link.closed) work()
    })
  }

  #note(...what: number[]): void {
    for (const part of [Math.round(this.#agenda.now * 1000), ...what]) {
      this.#course = Math.imul(this.#course ^ part, 0x01000193)
      this.#course ^= this.#course >>> 15
    }
  }

  #begin(peer: Peer): void {
    const { leaves } = peer.plan
    if (leaves !== undefined) this.#agenda.after(leaves, () => this.#leave(peer))
    this.#every(CHOKE_ROUND, peer, () => this.#judge(peer))
    if (peer.hasAll) return
    const { chunks } = this.#plan
    const wanted: Run[] = []
    for (const [chunk, there] of peer.have.entries()) if (!there) wanted.push({ first: chunk, count: 1 })
    peer.download = new Download({
      layout: { end: chunks, lengthOf: () => CHUNK_SIZE } as unknown as Layout,
      work: { onFailure: () => undefined } as unknown as Work,
      wanted,
      random: (end) => this.#random.between(0, end - 1),
      onChunk: (_, chunk) => this.#keep(peer, chunk),
    })
    this.#working++
    this.#every(LOOK_EVERY, peer, () => this.#look(peer))
    this.#agenda.after(this.#random.between(0, 2_000), () => this.#dial(peer))
  }

  #every(ms: number, peer: Peer, work: () => void): void {
    const again = (): void => {
      if (peer.gone) return
      work()
      this.#agenda.after(ms, again)
    }
    this.#agenda.after(this.#random.between(1, ms), again)
  }

  #dial(peer: Peer): void {
    const { links = MAX_FETCHING } = this.#plan
    if (peer.gone) return
    for (const server of this.#random.shuffled(this.#peers)) {
      if (peer.sources.size >= links) return
      if (server === peer || server.gone || server.plan.gives === false || peer.sources.has(server)) continue
      if (server.served.size < MAX_SERVED) this.#open(peer, server)
    }
  }

  #open(client: Peer, server: Peer): void {
    const link = new Link(this, client, server)
    client.sources.set(server, link)
    server.served.add(link)
    link.choked = !server.choker.add(link)
    const { choked } = link
    this.tell(link, () => {
      this.#joined(link)
      if (choked) client.download?.frame(asPeer(link), { type: 'choke' })
    })
  }

  #joined(link: Link): void {
    link.client.download?.joined(asPeer(link))
  }

  #close(link: Link): void {
    const { client, server } = link
    if (link.closed) return
    link.closed = true
    client.sources.delete(server)
    server.served.delete(link)
    server.choker.remove(link)
    if (client.gone || client.hasAll) return
    client.download?.left(asPeer(link))
    this.#agenda.after(REDIAL, () => this.#dial(client))
  }

  #leave(peer: Peer): void {
    if (peer.gone) return
    peer.gone = true
    this.#note(1, peer.index)
    if (!peer.hasAll) this.#working--
    for (const link of [...peer.sources.values(), ...peer.served]) this.#close(link)
  }

  // The side that gives.

  request(link: Link, run: Run): void {
    if (link.choked) return
    link.queue.push(run)
    if (link.taken === undefined) this.#take(link)
  }

  #take(link: Link): void {
    link.taken = undefined
    if (link.queue.length === 0 || link.closed) return
    const { order, served, line } = link.server
    link.taken = served.size > 1 ? order.pick(link.queue) : (link.queue[0]?.first as number)
    order.sent(link.taken)
    link.drop({ first: link.taken, count: 1 })
    line.push(link)
    this.#send(link.server)
  }

  /** The link whose turn it is has the uplink for itself until its chunk is out. */
  #send(server: Peer): void {
    if (server.sending || server.gone) return
    const link = server.line.shift()
    if (!link) return
    server.sending = true
    this.#agenda.after((CHUNK_SIZE / server.plan.up) * 1000, () => {
      server.sending = false
      this.#sent(link, link.taken as number)
      this.#send(server)
    })
  }

  #sent(link: Link, chunk: number): void {
    const { client, server } = link
    if (link.closed) return
    server.given++
    link.given += CHUNK_SIZE
    this.#note(2, server.index, client.index, chunk)
    const begins = Math.max(this.#agenda.now + server.latency, client.full)
    client.full = begins + (CHUNK_SIZE / client.plan.down) * 1000
    this.#agenda.after(client.full - this.#agenda.now, () => this.#arrived(link, chunk))
    // A client that is slower than its share of the uplink keeps its link waiting, and nobody else.
    this.#agenda.after(begins - server.latency - this.#agenda.now, () => this.#take(link))
    this.#countFirst(server, chunk)
  }

  #countFirst(server: Peer, chunk: number): void {
    const { has, leavesHaving } = server.plan
    if (has && chunk >= has.first && chunk < has.first + has.count && this.#ungiven.delete(chunk)) {
      if (this.#ungiven.size === 0) {
        const given = this.#peers.reduce((sum, { plan, given }) => sum + (plan.has ? given : 0), 0)
        this.#outcome.firstCopy = { at: this.#agenda.now, given }
      }
    }
    if (!leavesHaving) return
    for (let i = 0; i < leavesHaving.count; i++) if (this.#ungiven.has(leavesHaving.first + i)) return
    this.#agenda.after(server.latency, () => this.#leave(server))
  }

  #judge(peer: Peer): void {
    const { unchoke, choke } = peer.choker.round(
      (link) => {
        const got = peer.sources.get(link.client)?.bytes ?? 0
        const dealings = {
          given: link.given - link.givenThen,
          got: got - link.gotThen,
          interested: link.choked || link.queue.length > 0 || link.taken !== undefined || link.given === 0,
        }
        link.givenThen = link.given
        link.gotThen = got
        return dealings
      },
      peer.download !== undefined && !peer.hasAll,
    )
    for (const link of choke) {
      link.choked = true
      link.queue = []
      this.tell(link, () => {
        link.awaited.clear()
        link.client.download?.frame(asPeer(link), { type: 'choke' })
      })
    }
    for (const link of unchoke) {
      link.choked = false
      this.tell(link, () => link.client.download?.frame(asPeer(link), { type: 'unchoke' }))
    }
  }

  // The side that fetches.

  #arrived(link: Link, chunk: number): void {
    if (link.closed) return
    link.received += CHUNK_SIZE
    link.meter.received(link.received)
    if (!link.awaited.delete(chunk)) {
      this.#outcome.wasted++
      return
    }
    const { client } = link
    client.download?.kept(asPeer(link), [chunk])
    if (!client.hasAll || this.#outcome.done[client.index] !== undefined) return
    this.#outcome.done[client.index] = this.#agenda.now
    this.#working--
    for (const source of client.sources.values()) this.#close(source)
  }

  #keep(peer: Peer, chunk: number): void {
    if (peer.have[chunk] === 1) throw new Error(`peer ${peer.index} keeps chunk ${chunk} twice`)
    peer.have[chunk] = 1
    if (peer.news.push(chunk) > 1) return
    this.#agenda.after(HAVE_EVERY + peer.latency, () => {
      const news = peer.news
      peer.news = []
      for (const link of peer.served) {
        for (const chunk of news) {
          link.gained({ first: chunk, count: 1 })
          link.client.download?.frame(asPeer(link), { type: 'have', first: chunk, count: 1 })
        }
      }
    })
  }

  #look(peer: Peer): void {
    for (const link of peer.sources.values()) {
      const rate = ((link.received - link.seen) / LOOK_EVERY) * 1000
      link.seen = link.received
      const wasSlow = link.slowLooks > 0
      const slow = link.expecting && rate < FAIR_RATE
      link.slowLooks = slow ? link.slowLooks + 1 : 0
      if (slow || wasSlow) peer.download?.slow(asPeer(link), slow)
    }
  }
}

function asPeer(link: Link): PeerLink {
  return link as unknown as PeerLink
}
