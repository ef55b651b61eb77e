/** Serves what is here over the links that peers open, a few of them for each peer, and chokes when too many want something. */
import type { Duplex } from 'node:stream'
import { type Bytes, toHex } from '../core/encoding.ts'
import type { Limiter } from '../core/limiter.ts'
import { hashOfCid } from '../core/manifest.ts'
import { CHOKE_ROUND, Choker } from './choker.ts'
import { SeedLink } from './seed-link.ts'
import type { Source } from './source.ts'
import type { Served } from './upload.ts'
import { UploadOrder } from './upload-order.ts'

/** Links served at a time, and of those, links of one peer for one content. */
const MAX_LINKS = 64
const MAX_LINKS_EACH = 4
/** Milliseconds without a question or a write that went out, after which a link makes room for another. */
const SPARED_TIME = 5_000
/** Bytes a second that a peer should get at least: under a limit fewer are given to at a time. */
const WORTHWHILE = 512 * 1024
const MIN_SLOTS = 8
/** Milliseconds between two introductions. */
const INTRODUCE_EVERY = 1_000
/** Peers told of in one introduction. */
const MAX_INTRODUCED = 16

export interface SeederOptions {
  /** Of everything that is served. */
  limiter?: Limiter
  /** Milliseconds of a clock that only goes on. */
  now: () => number
  /** A whole number from 0 to `end - 1`. */
  random: (end: number) => number
  /** Multiaddrs at which others may reach a peer. */
  addressesOf?: (peer: string) => Promise<string[]>
}

export interface ServeOptions {
  limiter?: Limiter
  /** Bytes got of this content from a peer so far; while something is wanted in return. */
  got?: (peer: string) => number
}

/** One content; `source` changes when a download becomes a share. */
class Offer implements Served {
  readonly id: string
  source: Source
  limiter: Limiter | undefined
  got: ((peer: string) => number) | undefined
  order: UploadOrder | undefined
  /** A newcomer has not been introduced yet. */
  stale = false

  constructor(id: string, source: Source, limiter: Limiter | undefined, got: ServeOptions['got']) {
    this.id = id
    this.source = source
    this.limiter = limiter
    this.got = got
  }
}

/** What is known of a link. */
interface Row {
  peer: string
  offer: Offer | undefined
  given: number
  /** At the last judgement. */
  givenThen: number
  gotThen: number
}

export class Seeder {
  /** Called when a peer wants a content of which something is here. */
  onWanted: (id: string, peer: string) => void = () => undefined
  readonly #options: SeederOptions
  readonly #offers = new Map<string, Offer>()
  readonly #links = new Map<SeedLink, Row>()
  readonly #choker: Choker<SeedLink>
  #rounds: NodeJS.Timeout | undefined
  #isIntroducing = false

  constructor(options: SeederOptions) {
    this.#options = options
    const { limiter, random } = options
    const slots = (): number =>
      limiter?.rate === undefined ? MAX_LINKS : Math.max(MIN_SLOTS, Math.floor(limiter.rate / WORTHWHILE))
    this.#choker = new Choker({ slots, random })
  }

  /** `id`: the identifier of the manifest. What is served under it already goes on from `source`. */
  add(id: string, source: Source, { limiter = this.#options.limiter, got }: ServeOptions = {}): void {
    const key = toHex(hashOfCid(id))
    const known = this.#offers.get(key)
    if (!known) {
      this.#offers.set(key, new Offer(id, source, limiter, got))
      return
    }
    known.source.close()
    Object.assign(known, { source, limiter, got })
    for (const [link, { offer }] of this.#links) if (offer === known) link.follow(source)
  }

  has(id: string): boolean {
    return this.#offers.has(toHex(hashOfCid(id)))
  }

  /** Links that are being served finish what they asked for. */
  remove(id: string): void {
    const key = toHex(hashOfCid(id))
    this.#offers.get(key)?.source.close()
    this.#offers.delete(key)
  }

  /** Serves a link of `peer` until it ends; the stream is closed then. Never throws. */
  async serve(stream: Duplex, peer: string): Promise<void> {
    const row: Row = { peer, offer: undefined, given: 0, givenThen: 0, gotThen: 0 }
    const link = new SeedLink(stream, {
      find: (content) => this.#greeted(row, content),
      gave: (bytes) => (row.given += bytes),
    })
    if (!this.#hasRoom(peer)) return link.bye('busy')
    this.#links.set(link, row)
    if (!this.#choker.add(link)) link.choke()
    this.#rounds ??= setInterval(() => this.#judge(), CHOKE_ROUND).unref()
    await link.ended
    this.#links.delete(link)
    this.#choker.remove(link)
    this.#choker.fill()?.unchoke()
    if (row.offer) this.#settleOrder(row.offer)
    if (this.#links.size > 0) return
    clearInterval(this.#rounds)
    this.#rounds = undefined
  }

  #greeted(row: Row, content: Bytes): Offer | undefined {
    const offer = this.#offers.get(toHex(content))
    if (!offer) return undefined
    row.offer = offer
    this.#settleOrder(offer)
    offer.stale = true
    if (!this.#isIntroducing) this.#introduceIn(this.#hasPeers(offer) ? 0 : INTRODUCE_EVERY)
    this.onWanted(offer.id, row.peer)
    return offer
  }

  #peersOf(offer: Offer): Set<string> {
    return new Set([...this.#links.values()].filter((row) => row.offer === offer).map(({ peer }) => peer))
  }

  #hasPeers(offer: Offer): boolean {
    return this.#peersOf(offer).size > 1
  }

  /** Where one peer wants it there is no order but its own. */
  #settleOrder(offer: Offer): void {
    if (!this.#hasPeers(offer)) offer.order = undefined
    else offer.order ??= new UploadOrder(offer.source.layout.end)
  }

  #introduceIn(milliseconds: number): void {
    this.#isIntroducing = true
    setTimeout(() => void this.#introduce(), milliseconds).unref()
  }

  /** Tells the peers of a content of each other, when somebody came; and not at once again, however many come. */
  async #introduce(): Promise<void> {
    if (![...this.#offers.values()].some(({ stale }) => stale)) {
      this.#isIntroducing = false
      return
    }
    for (const offer of this.#offers.values()) {
      if (!offer.stale) continue
      offer.stale = false
      const peers = [...this.#peersOf(offer)]
      const known = new Map<string, string[]>()
      for (const peer of this.#some(peers, MAX_INTRODUCED)) {
        known.set(peer, (await this.#options.addressesOf?.(peer).catch(() => undefined)) ?? [])
      }
      for (const [link, row] of this.#links) {
        if (row.offer !== offer) continue
        const others = [...known].filter(([peer]) => peer !== row.peer)
        link.introduce(
          others.flatMap(([peer, addresses]) => (addresses.length > 0 ? addresses.slice(0, 2) : [`/p2p/${peer}`])),
        )
      }
    }
    this.#introduceIn(INTRODUCE_EVERY)
  }

  #some(peers: string[], count: number): string[] {
    const left = [...peers]
    return Array.from({ length: Math.min(count, left.length) }, () =>
      left.splice(this.#options.random(left.length), 1),
    ).flat()
  }

  #judge(): void {
    const wanting = [...this.#offers.values()].some(({ got }) => got !== undefined)
    const { unchoke, choke } = this.#choker.round((link) => {
      const row = this.#links.get(link)
      if (!row) return { given: 0, got: 0, interested: false }
      const got = row.offer?.got?.(row.peer) ?? 0
      const dealings = {
        given: row.given - row.givenThen,
        got: got - row.gotThen,
        // What is choked cannot ask.
        interested: !this.#choker.isOpen(link) || link.asking || row.given === 0,
      }
      row.givenThen = row.given
      row.gotThen = got
      return dealings
    }, wanting)
    for (const link of choke) link.choke()
    for (const link of unchoke) link.unchoke()
  }

  /** Makes room if all places are taken and somebody does nothing with theirs. */
  /** A peer that comes again may have lost its links without our hearing of it: the one that it used least lately gives way. */
  #hasRoom(peer: string): boolean {
    const links = [...this.#links].sort(([a], [b]) => a.lastActive - b.lastActive)
    const own = links.filter(([, other]) => other.peer === peer)
    const [idlest] = own.length >= MAX_LINKS_EACH ? own : links
    if (own.length < MAX_LINKS_EACH) {
      if (links.length < MAX_LINKS) return true
      if (!idlest || performance.now() - idlest[0].lastActive < SPARED_TIME) return false
    }
    if (!idlest) return false
    this.#links.delete(idlest[0])
    idlest[0].bye('busy')
    return true
  }
}
