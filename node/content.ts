/** Content of this node: sharing it, seeding it over restarts, fetching by name or CID, seeding what was fetched. */
import { randomInt } from 'node:crypto'
import * as path from 'node:path'
import { duplexPair } from 'node:stream'
import type { PeerId } from '@libp2p/interface'
import type { Multiaddr } from '@multiformats/multiaddr'
import { CID } from 'multiformats/cid'
import type { Fetched, FetchRequest, Job, Limits } from './contract.ts'
import type { KeyPair } from './core/keys.ts'
import { Limiter } from './core/limiter.ts'
import { manifestDhtKey, parseManifest, type SignedManifest } from './core/manifest.ts'
import { type FetchView, fetchContent } from './files/fetch.ts'
import type { KeptShare } from './files/kept-shares.ts'
import type { PeerWay } from './files/peer-link.ts'
import type { Source } from './files/source.ts'
import { type ContentRef, findContent, isCid } from './find-content.ts'
import { PeerSearch, type PeerSource } from './find-peers.ts'
import type { Names } from './names.ts'
import type { Host } from './net/host.ts'
import { isLoopback } from './net/listen.ts'
import type { Link } from './net/paths.ts'
import type { Reach, Reached } from './net/reach.ts'
import type { RecordNetwork } from './net/record-network.ts'
import type { Publisher } from './publisher.ts'
import { Sharing } from './sharing.ts'
import type { Store } from './store.ts'

interface Parts {
  host: Host
  key: KeyPair
  store: Store
  network: RecordNetwork
  publisher: Publisher
  names: Names
  /** The folder of this node. */
  home: string
  /** A visitor fetches, and seeds nothing. */
  visitor: boolean
  limits: Limits
  now: () => number
  /** Ways to other peers. */
  reach: () => Reach
}

/** A fetch with what only its caller in this process can use. */
export interface FetchJob extends Job, FetchRequest {
  onView?: (view: FetchView) => void
}

export class Content {
  readonly #parts: Parts
  readonly sharing: Sharing
  /** Searches that run, by manifest id. */
  readonly #searches = new Map<string, Set<PeerSearch>>()
  readonly #limiters: { up: Limiter; down: Limiter }
  readonly #stopped = new AbortController()
  readonly #serving = new Set<{ peer: string; path: string; use: 'serving' }>()
  /** Of the fetches that run. */
  readonly #views = new Set<FetchView>()

  private constructor(parts: Parts) {
    this.#parts = parts
    const now = () => performance.now()
    this.#limiters = { up: new Limiter(parts.limits.up, now), down: new Limiter(parts.limits.down, now) }
    const { host, key, publisher, store, now: clock } = parts
    const table = store.table<KeptShare>('shares')
    const leaves = leavesFolder(parts.home)
    this.sharing = new Sharing({ host, key, publisher, table, leaves, limiter: this.#limiters.up, now: clock })
    // Whoever wants what we are fetching may have some of it already.
    this.sharing.onWanted = (id, peer) => {
      for (const search of this.#searches.get(id) ?? []) search.heard([`/p2p/${peer}`])
    }
  }

  static async open(parts: Parts): Promise<Content> {
    const content = new Content(parts)
    if (!parts.visitor) await content.sharing.open()
    return content
  }

  /** A CID as it is, or the CID of a path that is shared first. */
  async given(text: string, job: Job): Promise<{ cid: string }> {
    return isCid(text) ? { cid: text } : this.sharing.share(text, job)
  }

  /** What a person points at. Errors: those of a lookup, content_not_found. */
  find(target: string, signal?: AbortSignal): Promise<ContentRef> {
    return findContent(this.#parts.names, target, signal)
  }

  /** Errors: peer_unreachable, timed_out, interrupted. */
  reach(peer: PeerId, addresses: readonly Multiaddr[], signal: AbortSignal): Promise<Reached> {
    return this.#parts.reach().to(peer, addresses, signal)
  }

  async fetch(target: string, options: FetchJob): Promise<Fetched> {
    const { visitor, home } = this.#parts
    const { out, force = false, only = [], limits = {}, wait, onProgress, onView } = options
    const signal = AbortSignal.any([this.#stopped.signal, ...(options.signal ? [options.signal] : [])])
    onProgress?.({ phase: 'resolving', done: 0, total: 0 })
    const { id, entry, peers } = await this.find(target, signal)
    const manifest = await this.manifest(id, signal)
    const search = this.search(id, peers, signal, wait)
    const upload = new Limiter(limits.up, () => performance.now(), this.#limiters.up)
    let view: FetchView | undefined
    const { share, ...fetched } = await fetchContent({
      id,
      links: this.ways(id, search),
      out,
      entry,
      only,
      force,
      signal,
      previous: this.sharing.shared,
      limiter: new Limiter(limits.down, () => performance.now(), this.#limiters.down),
      random: (end) => randomInt(end),
      onPeers: (addresses) => search.heard(addresses),
      ...(visitor ? {} : { leaves: leavesFolder(home) }),
      ...(visitor ? {} : { onSource: (source: Source, got) => this.sharing.offer(id, source, got, upload) }),
      ...(manifest ? { manifest } : {}),
      ...(onProgress ? { onProgress } : {}),
      onView: (running) => {
        view = running
        this.#views.add(running)
        onView?.(running)
      },
    }).finally(() => {
      search.stop()
      if (view) this.#views.delete(view)
    })
    if (share !== undefined && !visitor) await this.sharing.seed(share)
    const { path, bytes, seconds, resumed } = fetched
    return { cid: id, path, bytes, seconds, resumed, peers: fetched.peers }
  }

  /** Serves a link that a peer opened, until it ends. */
  async serve({ peer, path, stream }: Link): Promise<void> {
    const row = { peer, path, use: 'serving' as const }
    this.#serving.add(row)
    await this.sharing.serve(stream, peer)
    this.#serving.delete(row)
  }

  /** Those that are open. */
  links(): { peer: string; path: string; rtt?: number; use: 'fetching' | 'serving' }[] {
    const fetching = [...this.#views].flatMap(({ peers }) =>
      peers.map(({ peer, path, rtt }) => ({ peer, path, rtt, use: 'fetching' as const })),
    )
    return [...fetching, ...this.#serving]
  }

  /** Of the whole node, from now on. */
  setLimits(limits: Limits): Limits {
    this.#limiters.up.set(limits.up)
    this.#limiters.down.set(limits.down)
    return limits
  }

  /** Looks for peers that have a content, until it is stopped. `wait`: seconds with nobody there. */
  search(id: string, hints: readonly Multiaddr[], signal: AbortSignal, wait?: number): PeerSearch {
    const searches = this.#searches.get(id) ?? new Set()
    const search = new PeerSearch(this.#peersWith(id), {
      hints,
      signal: AbortSignal.any([signal, this.#stopped.signal]),
      ...(wait === undefined ? {} : { patience: wait * 1000 }),
    })
    this.#searches.set(id, searches.add(search))
    search.onStop = () => {
      searches.delete(search)
      if (searches.size === 0) this.#searches.delete(id)
    }
    return search
  }

  /** From the network; undefined where only peers that hold the content may have it. */
  async manifest(id: string, signal: AbortSignal): Promise<SignedManifest | undefined> {
    const here = this.sharing.shareOf(id)
    if (here) return here.manifest
    const found = await this.#parts.network.get(manifestDhtKey(id), { signal }).catch(() => undefined)
    signal.throwIfAborted()
    return found && parseManifest(found.value, { id })
  }

  async stop(): Promise<void> {
    this.#stopped.abort()
    this.sharing.stop()
  }

  /** What is shared here is served from here; everything else by peers. */
  async *ways(id: string, search: PeerSearch): AsyncGenerator<PeerWay> {
    if (this.sharing.shareOf(id)) {
      const [near, far] = duplexPair()
      const self = this.#parts.host.libp2p.peerId.toString()
      void this.sharing.serve(far, self)
      yield { peer: self, way: { path: 'local', stream: near } }
    }
    yield* search.ways()
  }

  #peersWith(id: string): PeerSource {
    const { libp2p, dht } = this.#parts.host
    return {
      self: libp2p.peerId,
      providers: (signal) => dht.providers(CID.parse(id), { signal }),
      remembered: async (peer) => {
        const known = await libp2p.peerStore.get(peer).catch(() => undefined)
        return known?.addresses.map(({ multiaddr }) => multiaddr) ?? []
      },
      isLocal: () => libp2p.getConnections().some(({ remoteAddr }) => isLoopback(remoteAddr.toString())),
      reach: (to, addresses, signal) => this.reach(to, addresses, signal),
      random: (end) => randomInt(end),
      now: () => performance.now(),
    }
  }
}

function leavesFolder(home: string): string {
  return path.join(home, 'leaves')
}
