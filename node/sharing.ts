/** What this node shares: hashed in place, kept over restarts, announced, and served over the links that peers open. */
import { randomInt } from 'node:crypto'
import * as fs from 'node:fs/promises'
import * as path from 'node:path'
import type { Duplex } from 'node:stream'
import { setTimeout } from 'node:timers/promises'
import { CID } from 'multiformats/cid'
import { Announcer } from './announcer.ts'
import type { Job, Shared, Status } from './contract.ts'
import { equalBytes } from './core/encoding.ts'
import type { KeyPair } from './core/keys.ts'
import type { Limiter } from './core/limiter.ts'
import { manifestDhtKey } from './core/manifest.ts'
import { type KeptShare, KeptShares } from './files/kept-shares.ts'
import { PROBE_SIZES, ProbeSource, probeManifest } from './files/probe-source.ts'
import { Seeder } from './files/seed.ts'
import { type Share, sameContent, sharePath } from './files/share.ts'
import { shareSource } from './files/share-source.ts'
import type { Source } from './files/source.ts'
import type { Host } from './net/host.ts'
import { isLoopback } from './net/listen.ts'
import type { Publisher } from './publisher.ts'
import type { Table } from './store.ts'

export interface SharingParts {
  host: Host
  key: KeyPair
  publisher: Publisher
  table: Table<KeptShare>
  /** Where the leaf hashes are kept. */
  leaves: string
  /** Of what is sent. */
  limiter: Limiter
  now: () => number
}

export class Sharing {
  readonly #parts: SharingParts
  readonly #seeder: Seeder
  readonly #kept: KeptShares
  /** By manifest id. */
  readonly #shares = new Map<string, Share>()
  /** Manifest ids of what is served besides: probes, and what is being fetched. */
  readonly #others = new Set<string>()
  readonly #announcer: Announcer
  readonly #stopped = new AbortController()

  constructor(parts: SharingParts) {
    this.#parts = parts
    this.#kept = new KeptShares(parts.table, parts.leaves)
    this.#announcer = new Announcer({
      provide: (id, signal) => parts.host.dht.provide(CID.parse(id), signal ? { signal } : {}),
      isServed: (id) => this.#shares.has(id) || this.#others.has(id),
      pause: (ms) => setTimeout(ms, undefined, { signal: this.#stopped.signal, ref: false }),
      stopped: this.#stopped.signal,
    })
    this.#seeder = new Seeder({
      limiter: parts.limiter,
      now: () => performance.now(),
      random: (end) => randomInt(end),
      addressesOf: (peer) => addressesOf(parts.host, peer),
    })
  }

  /** Called when a peer wants a content of which something is here. */
  set onWanted(wanted: (id: string, peer: string) => void) {
    this.#seeder.onWanted = wanted
  }

  /** What was shared before, and what a probe asks for. */
  async open(): Promise<void> {
    for await (const share of this.#kept.all()) {
      if (await isThere(share.path)) this.#add(share)
      // Perhaps its disk is away: it is served again when it is back.
      else await stopProviding(this.#parts.host, share.manifest.id)
    }
    await this.#kept.sweep()
    for (const size of PROBE_SIZES) {
      const manifest = probeManifest(this.#parts.key, size)
      this.#others.add(manifest.id)
      this.#seeder.add(manifest.id, new ProbeSource(manifest, size))
    }
  }

  /** Serves a link until it ends. */
  serve(stream: Duplex, peer: string): Promise<void> {
    return this.#seeder.serve(stream, peer)
  }

  /** Tells the network what is here, one content after the other. */
  announce(): void {
    const all = async () => {
      for (const id of Array.from(this.#shares.keys())) {
        // One that was ended meanwhile is not announced again.
        if (this.#shares.has(id)) await this.#announcer.tell(id, this.#stopped.signal).catch(() => undefined)
      }
    }
    void all()
  }

  /** Hashes, seeds and announces what is at `target`, and then forgets what was shared from there before. */
  async share(target: string, { signal, onProgress }: Job = {}): Promise<Shared> {
    const { key, publisher, now } = this.#parts
    const real = await fs.realpath(target).catch(() => target)
    const previous = this.shared.find((share) => share.path === real && this.#isOurs(share))?.manifest
    const share = await sharePath(target, {
      pair: key,
      created: Math.floor(now() / 1000),
      leaves: this.#parts.leaves,
      ...(previous ? { previous } : {}),
      ...(signal ? { signal } : {}),
      ...(onProgress ? { onProgress } : {}),
    })
    await this.#keep(share)
    onProgress?.({ phase: 'publishing', done: 0, total: 0 })
    const { manifest, bytes, files, skipped } = share
    await Promise.all([
      publisher.publish(manifestDhtKey(manifest.id), manifest.stored, signal),
      this.#announcer.tell(manifest.id, signal),
    ])
    await this.#supersede(share)
    return { cid: manifest.id, bytes, files: files.size, skipped, link: this.link(manifest.id) }
  }

  /** Ends the sharing of a CID, or of whatever was shared from a path; false when nothing was. */
  async unshare(cidOrPath: string): Promise<boolean> {
    const real = await fs.realpath(cidOrPath).catch(() => path.resolve(cidOrPath))
    const ids: string[] = []
    for await (const share of this.#kept.all()) {
      if (share.manifest.id === cidOrPath || share.path === real) ids.push(share.manifest.id)
    }
    for (const id of ids) await this.#forget(id)
    return ids.length > 0
  }

  shares(): Status['shares'] {
    return this.shared.map(({ manifest, path, bytes, files }) => ({
      cid: manifest.id,
      path,
      bytes,
      files: files.size,
    }))
  }

  get shared(): Share[] {
    return [...this.#shares.values()]
  }

  /** What is shared here under this manifest. */
  shareOf(id: string): Share | undefined {
    return this.#shares.get(id)
  }

  /** What can be given to somebody out of band: the content, its name, and one address of this peer. */
  link(id: string, name?: string): string {
    const address = this.#parts.host.libp2p
      .getMultiaddrs()
      .map(String)
      .find((text) => !isLoopback(text))
    const query = new URLSearchParams({ ...(name ? { name } : {}), ...(address ? { peer: address } : {}) })
    return query.size === 0 ? `p2pns:${id}` : `p2pns:${id}?${query.toString()}`
  }

  /** What is being fetched is served as far as it came, and announced. */
  offer(id: string, source: Source, got: (peer: string) => number, limiter: Limiter): () => void {
    // All of it lies elsewhere here, or somebody else fetches it to another place.
    if (this.#seeder.has(id) || this.#stopped.signal.aborted) return () => undefined
    this.#others.add(id)
    this.#seeder.add(id, source, { got, limiter })
    void this.#announcer.tell(id, this.#stopped.signal).catch(() => {})
    return () => {
      this.#others.delete(id)
      if (!this.#shares.has(id)) this.#seeder.remove(id)
    }
  }

  /** Nothing is announced or served any more, and no file stays open. */
  stop(): void {
    this.#stopped.abort()
    for (const id of [...this.#shares.keys(), ...this.#others]) this.#seeder.remove(id)
  }

  #isOurs({ manifest }: Share): boolean {
    return equalBytes(manifest.publisher, this.#parts.key.publicKey)
  }

  /** What stood at the path of `share` before stands there no more; what somebody else shared may, as `share` itself. */
  async #supersede(share: Share): Promise<void> {
    const { id, entries = [] } = share.manifest
    for (const other of this.shared) {
      if (other.path !== share.path || other.manifest.id === id) continue
      if (this.#isOurs(other) || !sameContent(entries, other.manifest.entries ?? []))
        await this.#forget(other.manifest.id)
    }
  }

  /** Not served, announced, published or kept any more. */
  async #forget(id: string): Promise<void> {
    this.#shares.delete(id)
    this.#seeder.remove(id)
    await this.#kept.forget(id)
    await this.#parts.publisher.withdraw(manifestDhtKey(id))
    await stopProviding(this.#parts.host, id)
  }

  async #keep(share: Share): Promise<void> {
    await this.#kept.keep(share)
    this.#add(share)
  }

  #add(share: Share): void {
    this.#shares.set(share.manifest.id, share)
    // One that was being hashed when it stopped is served after the next start.
    if (!this.#stopped.signal.aborted) this.#seeder.add(share.manifest.id, shareSource(share))
  }

  /** What was fetched is worth serving; the person does not wait for the network to hear of it. */
  async seed(share: Share): Promise<void> {
    await this.#keep(share)
    await this.#supersede(share)
    void this.#announcer.tell(share.manifest.id, this.#stopped.signal).catch(() => {})
  }
}

/** The network forgets by itself what it was told. */
async function stopProviding({ libp2p }: Host, id: string): Promise<void> {
  await libp2p.contentRouting.cancelReprovide(CID.parse(id))
}

function isThere(file: string): Promise<boolean> {
  return fs.access(file).then(
    () => true,
    () => false,
  )
}

/** Where others may reach a peer that we are connected to. */
async function addressesOf({ libp2p }: Host, peer: string): Promise<string[]> {
  const known = libp2p.getPeers().find((id) => id.toString() === peer)
  if (!known) return []
  const stored = await libp2p.peerStore.get(known).catch(() => undefined)
  return (stored?.addresses ?? []).map(({ multiaddr }) => `${multiaddr.toString()}/p2p/${peer}`)
}
