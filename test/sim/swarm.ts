/**
 * A swarm without wires: the real Download with its Picker and Meter, Choker and UploadOrder, in a world of peers with
 * bandwidth and latency only. Time jumps from event to event, one seed decides everything, and nothing waits for anything
 * real. What is modelled is what lies between: the queue of an upload, an uplink whose links take turns chunk by chunk,
 * and a downlink.
 */
import { CHUNK_SIZE } from '../../node/core/tree.ts'
import { CHOKE_ROUND } from '../../node/files/choker.ts'
import { Download } from '../../node/files/download.ts'
import type { Layout, Run } from '../../node/files/layout.ts'
import type { Work } from '../../node/files/link-threads.ts'
import { Random } from './random.ts'
import { Agenda } from './swarm-agenda.ts'
import { type Outcome, SwarmLedger } from './swarm-ledger.ts'
import { asPeer, Link, LOOK_EVERY, Peer, type PeerPlan } from './swarm-peers.ts'

/** As seed.ts, seed-link.ts, swarm.ts and find-peers.ts have them. */
const MAX_SERVED = 64
const SPARED_TIME = 5_000
const MAX_FETCHING = 32
const MAX_SILENCES = 2
const HAVE_EVERY = 30
/** Milliseconds until a peer that was lost is replaced. */
const REDIAL = 2_000
/** Milliseconds in which what was sent arrives. */
const LAST_WAY = 250

export interface SwarmPlan {
  seed: number
  chunks: number
  peers: readonly PeerPlan[]
  /** Links that each opens at most. */
  links?: number
  /** Milliseconds after which it is over, whoever is not done. */
  limit?: number
}

export class SwarmWorld {
  readonly #plan: SwarmPlan
  readonly #random: Random
  readonly #agenda = new Agenda()
  readonly #peers: Peer[]
  readonly #ledger: SwarmLedger
  #working = 0

  constructor(plan: SwarmPlan) {
    this.#plan = plan
    this.#random = new Random(plan.seed)
    this.#peers = plan.peers.map((peer, index) => new Peer(index, peer, plan.chunks, this.#random))
    this.#ledger = new SwarmLedger(this.#peers, plan.chunks)
  }

  run(): Outcome {
    const { limit = 3_600_000 } = this.#plan
    const agenda = this.#agenda
    performance.now = () => agenda.now
    try {
      for (const peer of this.#peers) this.#begin(peer)
      while (this.#working > 0 && agenda.now < limit && agenda.step()) this.#ledger.outcome.events++
    } finally {
      Reflect.deleteProperty(performance, 'now')
    }
    return this.#ledger.close()
  }

  get now(): number {
    return this.#agenda.now
  }

  /** To the other end of a link. */
  tell(link: Link, work: () => void): void {
    this.#agenda.after(link.server.latency, () => {
      if (!link.closed) work()
    })
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
      if ((peer.silences.get(server) ?? 0) >= MAX_SILENCES) continue
      if (this.#hasRoom(server)) this.#open(peer, server)
    }
  }

  /** Whoever does nothing with a place gives it up. */
  #hasRoom({ served }: Peer): boolean {
    if (served.size < MAX_SERVED) return true
    const [idlest] = [...served].sort((a, b) => a.lastActive - b.lastActive)
    if (!idlest || this.now - idlest.lastActive < SPARED_TIME) return false
    this.#close(idlest)
    return true
  }

  #open(client: Peer, server: Peer): void {
    const link = new Link(this, client, server)
    client.sources.set(server, link)
    server.served.add(link)
    link.choked = !server.choker.add(link)
    const { choked } = link
    this.tell(link, () => {
      client.download?.joined(asPeer(link))
      if (choked) this.#hearChoke(link)
    })
  }

  #hearChoke(link: Link): void {
    link.isBusy = true
    link.client.download?.frame(asPeer(link), { type: 'choke' })
  }

  #close(link: Link): void {
    const { client, server } = link
    if (link.closed) return
    link.closed = true
    client.sources.delete(server)
    server.served.delete(link)
    server.choker.remove(link)
    const next = server.gone ? undefined : server.choker.fill()
    if (next) this.#unchoke(next)
    if (client.gone || client.hasAll) return
    client.download?.left(asPeer(link))
    this.#agenda.after(REDIAL, () => this.#dial(client))
  }

  #leave(peer: Peer): void {
    if (peer.gone) return
    peer.gone = true
    this.#ledger.note(this.now, 1, peer.index)
    if (!peer.hasAll) this.#working--
    for (const link of [...peer.sources.values(), ...peer.served]) this.#close(link)
  }

  // The side that gives.

  request(link: Link, run: Run): void {
    link.lastActive = this.now
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
    link.lastActive = this.now
    this.#ledger.note(this.now, 2, server.index, client.index, chunk)
    const begins = Math.max(this.#agenda.now + server.latency, client.full)
    client.full = begins + (CHUNK_SIZE / client.plan.down) * 1000
    this.#agenda.after(client.full - this.#agenda.now, () => this.#arrived(link, chunk))
    // A client that is slower than its share of the uplink keeps its link waiting, and nobody else.
    this.#agenda.after(begins - server.latency - this.#agenda.now, () => this.#take(link))
    this.#ledger.gave(this.now, server, chunk)
    if (this.#ledger.hasGiven(server.plan.leavesHaving)) this.#agenda.after(LAST_WAY, () => this.#leave(server))
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
        this.#hearChoke(link)
      })
    }
    for (const link of unchoke) this.#unchoke(link)
  }

  #unchoke(link: Link): void {
    link.choked = false
    this.tell(link, () => link.client.download?.frame(asPeer(link), { type: 'unchoke' }))
  }

  // The side that fetches.

  #arrived(link: Link, chunk: number): void {
    if (link.closed) return
    link.received += CHUNK_SIZE
    link.meter.received(link.received)
    if (!link.awaited.delete(chunk)) {
      this.#ledger.outcome.wasted++
      return
    }
    const { client } = link
    link.isBusy = false
    client.download?.kept(asPeer(link), [chunk])
    if (!client.hasAll || this.#ledger.outcome.done[client.index] !== undefined) return
    this.#ledger.outcome.done[client.index] = this.#agenda.now
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
      const news = link.look()
      if (news === 'silent') {
        this.#giveUp(link)
        continue
      }
      if (!news) continue
      peer.download?.slow(asPeer(link), news === 'slow')
      if (link.isTooSlow && [...peer.sources.values()].some(({ slow }) => !slow)) this.#giveUp(link)
    }
  }

  #giveUp(link: Link): void {
    const { client, server } = link
    if (!link.isBusy) client.silences.set(server, (client.silences.get(server) ?? 0) + 1)
    this.#close(link)
  }
}
