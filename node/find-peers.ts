/** record -> peers: ways to everybody who may have a content, as they are found. */
import { setTimeout } from 'node:timers/promises'
import type { PeerId } from '@libp2p/interface'
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr'
import type { PeerWay } from './files/peer-link.ts'
import type { ProviderPeer } from './net/dht.ts'
import { peerIdOf } from './net/host.ts'
import type { Way } from './net/race.ts'
import type { Reached } from './net/reach.ts'

/** Dials and open links at a time; more sources would not make a fetch faster. */
const MAX_AT_ONCE = 32
/** Anybody may say that they have the content: dials of one search, and peers that wait to be dialled. */
const MAX_DIALS = 200
const MAX_WAITING = 1000
const MAX_ADDRESSES = 16
/** Milliseconds between two searches: at first, and at most. */
const FIRST_PAUSE = 2_000
const MAX_PAUSE = 60_000

/** Addresses that lead to this machine, or to wherever a name in the DNS says. */
const NOT_FOR_STRANGERS = /^\/ip4\/(127|0)\.|^\/ip6\/::(1|ffff:[^/]*)?\/|^\/(?!ip[46]\/)/

export interface PeerSource {
  self: PeerId
  /** Who announced the content. */
  providers(signal: AbortSignal): AsyncIterable<ProviderPeer>
  /** Addresses that are known of a peer from earlier. */
  remembered(peer: PeerId): Promise<Multiaddr[]>
  /** Whether peers that we talk to are on this machine: then others may be too. */
  isLocal(): boolean
  reach(peer: PeerId, addresses: readonly Multiaddr[], signal: AbortSignal): Promise<Reached>
  /** A whole number from 0 to `end - 1`. */
  random: (end: number) => number
  /** Milliseconds of a clock that only goes on. */
  now(): number
}

interface Candidate {
  peer: PeerId
  /** None: the network is asked where it is. */
  addresses: Multiaddr[]
}

export interface SearchOptions {
  /** Peers that the name or link gives: multiaddrs with peer ids. */
  hints: readonly Multiaddr[]
  /** Milliseconds to go on searching while nobody is there; undefined: for ever, once anybody had it. */
  patience?: number
  signal: AbortSignal
}

/**
 * Dials the peers that the name or link gives, then, in no order that a stranger could choose, those that the DHT and other
 * peers name, and searches again while the fetch runs. A peer that cannot be reached is left out until the next search.
 */
export class PeerSearch {
  readonly #source: PeerSource
  readonly #options: SearchOptions
  readonly #left = new AbortController()
  readonly #stop: AbortSignal
  readonly #hinted: Candidate[]
  readonly #waiting: Candidate[] = []
  /** Peers that are dialled or reached, or of no use, and where else they may be found if that fails. */
  readonly #engaged = new Map<string, Candidate | undefined>()
  /** Those of them that are dialled or reached. */
  readonly #engagements = new Map<string, Engagement>()
  readonly #arrived: PeerWay[] = []
  #dials = 0
  #searching = false
  #hadPeers = false
  #aloneSince: number
  #change = Promise.withResolvers<void>()

  constructor(source: PeerSource, options: SearchOptions) {
    this.#source = source
    this.#options = options
    this.#stop = AbortSignal.any([options.signal, this.#left.signal])
    this.#hinted = byPeer(options.hints)
    this.#engaged.set(source.self.toString(), undefined)
    this.#aloneSince = source.now()
  }

  /** Called once, when the search is over. */
  onStop: () => void = () => undefined

  stop(): void {
    this.#left.abort()
    this.onStop()
    this.onStop = () => undefined
  }

  /** A peer told of others, or one came to us. */
  heard(addresses: readonly string[]): void {
    for (const { peer, addresses: all } of byPeer(readable(addresses))) this.#addUseful(peer, all)
  }

  /** Ends when nobody is left to try and waiting is of no use; the links that were not taken are forgotten. */
  async *ways(): AsyncGenerator<PeerWay> {
    this.#stop.addEventListener('abort', () => this.#wake())
    void this.#keepSearching()
    try {
      while (!this.#stop.aborted) {
        for (let candidate = this.#next(); candidate; candidate = this.#next()) void this.#dial(candidate)
        const way = this.#arrived.shift()
        if (way !== undefined) {
          yield way
          continue
        }
        if (this.#isOver()) return
        await this.#change.promise
        this.#change = Promise.withResolvers()
      }
    } finally {
      this.#left.abort()
      for (const { way } of this.#arrived) discard(way)
    }
  }

  #wake(): void {
    this.#change.resolve()
  }

  #isOver(): boolean {
    const more = this.#waiting.length > 0 && this.#dials < MAX_DIALS
    if (this.#searching || this.#engagements.size > 0 || more) return false
    const patience = this.#options.patience ?? (this.#hadPeers ? Number.POSITIVE_INFINITY : 0)
    return this.#source.now() - this.#aloneSince >= patience
  }

  async #keepSearching(): Promise<void> {
    for (let pause = FIRST_PAUSE; !this.#stop.aborted; pause = Math.min(2 * pause, MAX_PAUSE)) {
      this.#searching = true
      this.#dials = 0
      try {
        for await (const { id: peer, addresses: all } of this.#source.providers(this.#stop)) {
          this.#addUseful(peer, all)
        }
      } catch {
        // The next search may do better.
      }
      this.#searching = false
      this.#wake()
      const jitter = this.#source.random(Math.floor(pause / 4))
      await setTimeout(pause + jitter, undefined, { signal: this.#stop }).catch(() => undefined)
      // Whoever could not be reached may be back.
      if (this.#engagements.size === 0) this.#hinted.push(...byPeer(this.#options.hints))
    }
  }

  #addUseful(peer: PeerId, all: Multiaddr[]): void {
    const addresses = all.filter((address) => isForUs(address, this.#source))
    if (addresses.length > 0 || all.length === 0) this.#add({ peer, addresses })
  }

  #add(candidate: Candidate): void {
    const { random } = this.#source
    const at = this.#waiting.length < MAX_WAITING ? this.#waiting.length : random(MAX_WAITING)
    this.#waiting[at] = candidate
    this.#wake()
  }

  #next(): Candidate | undefined {
    if (this.#dials >= MAX_DIALS || this.#engagements.size >= MAX_AT_ONCE) return undefined
    const { random } = this.#source
    while (this.#hinted.length + this.#waiting.length > 0) {
      const candidate = this.#hinted.shift() ?? this.#waiting.splice(random(this.#waiting.length), 1)[0]
      if (candidate === undefined) return undefined
      if (!this.#engaged.has(candidate.peer.toString())) return candidate
      this.#engaged.set(candidate.peer.toString(), candidate)
    }
    return undefined
  }

  #dial(candidate: Candidate): Promise<void> {
    const id = candidate.peer.toString()
    this.#engaged.set(id, undefined)
    const engagement: Engagement = { candidate, dials: 0, links: 0, served: false, useless: false }
    this.#engagements.set(id, engagement)
    return this.#reach(engagement)
  }

  /** Resolves when no more ways come of it. */
  async #reach(engagement: Engagement): Promise<void> {
    const { peer, addresses } = engagement.candidate
    this.#dials++
    engagement.dials++
    try {
      const reached = await reach(this.#source, peer, addresses, this.#stop)
      for await (const way of reached.ways) {
        if (this.#left.signal.aborted) {
          discard(way)
          continue
        }
        engagement.links++
        this.#arrived.push(this.#way(engagement, reached.peer, way))
        this.#wake()
      }
    } catch {
      // It is away, or says nothing.
    }
    engagement.dials--
    this.#settle(engagement)
  }

  #way(engagement: Engagement, peer: string, way: Way): PeerWay {
    return {
      peer,
      way,
      again: () => this.#reach(engagement),
      ended: ({ served, useless, over = false }) => {
        engagement.links--
        engagement.served ||= served && !over
        engagement.useless ||= useless
        this.#settle(engagement)
      },
    }
  }

  /** When the last link to a peer has ended, what is known of it besides is tried, and one that served once more. */
  #settle(engagement: Engagement): void {
    const { candidate, dials, links, served, useless } = engagement
    const id = candidate.peer.toString()
    if (dials > 0 || links > 0 || this.#engagements.get(id) !== engagement) return
    this.#engagements.delete(id)
    this.#hadPeers ||= served
    if (!useless) {
      const other = this.#engaged.get(id) ?? (served ? candidate : undefined)
      this.#engaged.delete(id)
      if (other) this.#waiting.push(other)
    }
    if (this.#engagements.size === 0) this.#aloneSince = this.#source.now()
    this.#wake()
  }
}

/** A peer that is dialled or reached: how often at the moment, and over how many links. */
interface Engagement {
  candidate: Candidate
  dials: number
  links: number
  served: boolean
  useless: boolean
}

function discard(way: Way): void {
  if ('stream' in way) way.stream.destroy()
}

/** A few addresses, those that were just heard of first; a stranger may have told the others, too. */
async function reach(source: PeerSource, peer: PeerId, heard: Multiaddr[], signal: AbortSignal): Promise<Reached> {
  const known = (await source.remembered(peer)).filter((address) => isForUs(address, source))
  const addresses = [...heard, ...known].map((address) =>
    peerIdOf(address)?.equals(peer) ? address : address.encapsulate(`/p2p/${peer.toString()}`),
  )
  return source.reach(peer, addresses.slice(0, MAX_ADDRESSES), signal)
}

/** Nobody may send us to the services of our own machine, unless the network is on this machine. */
function isForUs(address: Multiaddr, source: PeerSource): boolean {
  return source.isLocal() || !NOT_FOR_STRANGERS.test(address.toString())
}

function readable(addresses: readonly string[]): Multiaddr[] {
  return addresses.flatMap((text) => {
    try {
      return [multiaddr(text)]
    } catch {
      return []
    }
  })
}

/** Addresses of one peer belong to one dial. */
function byPeer(hints: readonly Multiaddr[]): Candidate[] {
  const peers = new Map<string, Candidate>()
  for (const hint of hints) {
    const peer = peerIdOf(hint)
    if (peer === undefined) continue
    const known = peers.get(peer.toString()) ?? { peer, addresses: [] }
    // A bare /p2p/<id> has no address.
    if (hint.getComponents().length > 1) known.addresses.push(hint)
    peers.set(peer.toString(), known)
  }
  return [...peers.values()]
}
