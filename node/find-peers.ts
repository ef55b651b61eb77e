/** record -> peers: links to everybody who may have a content, as they come. */
import type { PeerId } from '@libp2p/interface'
import type { Multiaddr } from '@multiformats/multiaddr'
import type { ProviderPeer } from './net/dht.ts'
import { peerIdOf } from './net/host.ts'
import type { Link } from './net/paths.ts'

/** Dials and open links at a time; more sources would not make a fetch faster. */
const MAX_AT_ONCE = 16
/** Anybody may say that they have the content: dials of one fetch, and peers that wait to be dialled. */
const MAX_DIALS = 200
const MAX_WAITING = 1000
const MAX_ADDRESSES = 16

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
  connect(to: PeerId | Multiaddr[], signal: AbortSignal): Promise<Link>
  /** A whole number from 0 to `end - 1`. */
  random(end: number): number
}

interface Candidate {
  peer: PeerId
  /** None: the network is asked where it is. */
  addresses: Multiaddr[]
}

/**
 * Dials the peers that the name or link gives, then, in no order that a stranger could choose, those that the DHT names.
 * Ends when nobody is left to try; a peer that cannot be reached is left out.
 */
export async function* linksTo(
  source: PeerSource,
  hints: readonly Multiaddr[],
  signal: AbortSignal,
): AsyncGenerator<Link> {
  const left = new AbortController()
  const stop = AbortSignal.any([signal, left.signal])
  const hinted = byPeer(hints)
  const waiting: Candidate[] = []
  /** Peers that are dialled or were reached, and where else they may be found if that fails. */
  const engaged = new Map<string, Candidate | undefined>([[source.self.toString(), undefined]])
  const arrived: Link[] = []
  let [dials, dialling, open] = [0, 0, 0]
  let searching = true
  let { promise: change, resolve: wake } = Promise.withResolvers<void>()
  stop.addEventListener('abort', () => wake())

  const search = async () => {
    for await (const { id: peer, addresses: all } of source.providers(stop)) {
      const addresses = all.filter((address) => isForUs(address, source))
      if (addresses.length === 0 && all.length > 0) continue
      const at = waiting.length < MAX_WAITING ? waiting.length : source.random(MAX_WAITING)
      waiting[at] = { peer, addresses }
      wake()
    }
  }
  const next = (): Candidate | undefined => {
    if (dials >= MAX_DIALS || dialling + open >= MAX_AT_ONCE) return undefined
    while (hinted.length + waiting.length > 0) {
      const candidate = hinted.shift() ?? waiting.splice(source.random(waiting.length), 1)[0]
      if (candidate === undefined) return undefined
      if (!engaged.has(candidate.peer.toString())) return candidate
      engaged.set(candidate.peer.toString(), candidate)
    }
    return undefined
  }
  const dial = async ({ peer, addresses }: Candidate) => {
    const id = peer.toString()
    engaged.set(id, undefined)
    dials++
    dialling++
    try {
      const link = await connect(source, peer, addresses, stop)
      open++
      link.stream.once('close', () => {
        open--
        wake()
      })
      if (stop.aborted) link.stream.destroy()
      else arrived.push(link)
    } catch {
      const other = engaged.get(id)
      engaged.delete(id)
      if (other) waiting.push(other)
    }
    dialling--
    wake()
  }
  void search()
    .catch(() => {})
    .finally(() => {
      searching = false
      wake()
    })
  try {
    while (!stop.aborted) {
      for (let candidate = next(); candidate; candidate = next()) void dial(candidate)
      const link = arrived.shift()
      if (link !== undefined) {
        yield link
        continue
      }
      const more = dials < MAX_DIALS && (searching || waiting.length > 0)
      if (dialling === 0 && !more) return
      await change
      ;({ promise: change, resolve: wake } = Promise.withResolvers<void>())
    }
  } finally {
    left.abort()
    for (const link of arrived) link.stream.destroy()
  }
}

/** A few addresses, those that were just heard of first; a stranger may have told the others, too. */
async function connect(source: PeerSource, peer: PeerId, heard: Multiaddr[], signal: AbortSignal): Promise<Link> {
  const known = (await source.remembered(peer)).filter((address) => isForUs(address, source))
  const addresses = [...heard, ...known].map((address) =>
    peerIdOf(address)?.equals(peer) ? address : address.encapsulate(`/p2p/${peer.toString()}`),
  )
  return source.connect(addresses.length > 0 ? addresses.slice(0, MAX_ADDRESSES) : peer, signal)
}

/** Nobody may send us to the services of our own machine, unless the network is on this machine. */
function isForUs(address: Multiaddr, source: PeerSource): boolean {
  return source.isLocal() || !NOT_FOR_STRANGERS.test(address.toString())
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
