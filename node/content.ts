/** Content of this node: sharing it, seeding it over restarts, fetching by name or CID, seeding what was fetched. */
import { randomBytes } from 'node:crypto'
import { duplexPair } from 'node:stream'
import type { Multiaddr } from '@multiformats/multiaddr'
import { CID } from 'multiformats/cid'
import type { Fetched, Job, Shared, Status } from './contract.ts'
import type { KeyPair } from './core/keys.ts'
import { manifestDhtKey, parseManifest, type SignedManifest } from './core/manifest.ts'
import { fetchContent } from './files/fetch.ts'
import { type KeptShare, KeptShares } from './files/kept-shares.ts'
import { Seeder } from './files/seed.ts'
import { type Share, sharePath } from './files/share.ts'
import { findContent, isCid } from './find-content.ts'
import { linksTo } from './find-peers.ts'
import type { Names } from './names.ts'
import type { Host } from './net/host.ts'
import { isLoopback, onKeptPort } from './net/listen.ts'
import { type Link, Paths } from './net/paths.ts'
import type { RecordNetwork } from './net/record-network.ts'
import type { Publisher } from './publisher.ts'
import type { Store } from './store.ts'

interface Parts {
  host: Host
  key: KeyPair
  store: Store
  network: RecordNetwork
  publisher: Publisher
  names: Names
  /** A visitor fetches, and seeds nothing. */
  visitor: boolean
  now: () => number
}

export class Content {
  readonly #parts: Parts
  readonly #paths: Paths
  readonly #seeder: Seeder
  readonly #kept: KeptShares
  readonly #stopped = new AbortController()

  private constructor(parts: Parts, paths: Paths, seeder: Seeder, kept: KeptShares) {
    this.#parts = parts
    this.#paths = paths
    this.#seeder = seeder
    this.#kept = kept
  }

  static async open(parts: Parts): Promise<Content> {
    const seeder = new Seeder()
    const kept = new KeptShares(parts.store.table<KeptShare>('shares'))
    const paths = new Paths(parts.host.libp2p)
    if (!parts.visitor) {
      for await (const share of kept.all()) seeder.add(share)
      const ports = parts.store.table<number>('ports')
      const onLink = ({ stream }: Link) => void seeder.serve(stream)
      const open = (port: number) => paths.listen({ port, now: parts.now, random: randomBytes, onLink })
      await ports.put('links', await onKeptPort(ports, 'links', open))
    }
    return new Content(parts, paths, seeder, kept)
  }

  /** Tells the network what is here, one content after the other. */
  announce(): void {
    const all = async () => {
      for (const { manifest } of this.#seeder.shares) await this.#provide(manifest.id, this.#stopped.signal)
    }
    void all().catch(() => {})
  }

  async share(path: string, { signal, onProgress }: Job = {}): Promise<Shared> {
    const { key, publisher, now } = this.#parts
    const previous = this.#seeder.shares.find((share) => share.path === path)?.manifest
    const share = await sharePath(path, {
      pair: key,
      created: Math.floor(now() / 1000),
      ...(previous ? { previous } : {}),
      ...(signal ? { signal } : {}),
      ...(onProgress ? { onProgress } : {}),
    })
    await this.#keep(share)
    onProgress?.({ phase: 'publishing', done: 0, total: 0 })
    const { manifest, bytes, files, skipped } = share
    await Promise.all([
      publisher.publish(manifestDhtKey(manifest.id), manifest.stored, signal),
      this.#provide(manifest.id, signal),
    ])
    return { cid: manifest.id, bytes, files: files.size, skipped, link: this.link(manifest.id) }
  }

  /** A CID as it is, or the CID of a path that is shared first. */
  async given(text: string, job: Job): Promise<{ cid: string }> {
    return isCid(text) ? { cid: text } : this.share(text, job)
  }

  async fetch(target: string, options: Job & { out: string; force?: boolean }): Promise<Fetched> {
    const { names } = this.#parts
    const { out, force = false, onProgress } = options
    const signal = AbortSignal.any([this.#stopped.signal, ...(options.signal ? [options.signal] : [])])
    onProgress?.({ phase: 'resolving', done: 0, total: 0 })
    const { id, entry, peers } = await findContent(names, target, signal)
    const manifest = await this.#manifest(id, signal)
    const ended = new AbortController()
    const links = this.#links(id, peers, AbortSignal.any([signal, ended.signal]))
    const { share, ...fetched } = await fetchContent({
      id,
      links,
      out,
      entry,
      force,
      signal,
      ...(manifest ? { manifest } : {}),
      ...(onProgress ? { onProgress } : {}),
    }).finally(() => ended.abort())
    if (share !== undefined && !this.#parts.visitor) await this.#seed(share)
    const { path, bytes, seconds, resumed } = fetched
    return { cid: id, path, bytes, seconds, resumed, peers: fetched.peers }
  }

  shares(): Status['shares'] {
    return this.#seeder.shares.map(({ manifest, path, bytes, files }) => ({
      cid: manifest.id,
      path,
      bytes,
      files: files.size,
    }))
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

  async stop(): Promise<void> {
    this.#stopped.abort()
    await this.#paths.stop()
  }

  /** What is shared here is served from here; everything else by peers. */
  async *#links(id: string, hints: Multiaddr[], signal: AbortSignal): AsyncGenerator<Link> {
    const { host } = this.#parts
    if (this.#seeder.has(id)) {
      const [near, far] = duplexPair()
      void this.#seeder.serve(far)
      yield { peer: host.libp2p.peerId.toString(), path: 'local', stream: near }
    }
    yield* linksTo({ host, paths: this.#paths }, id, hints, signal)
  }

  async #keep(share: Share): Promise<void> {
    await this.#kept.keep(share)
    this.#seeder.add(share)
  }

  /** What was fetched is worth serving; the person does not wait for the network to hear of it. */
  async #seed(share: Share): Promise<void> {
    await this.#keep(share)
    void this.#provide(share.manifest.id, this.#stopped.signal).catch(() => {})
  }

  async #provide(id: string, signal?: AbortSignal): Promise<void> {
    await this.#parts.host.dht.provide(CID.parse(id), signal ? { signal } : {})
  }

  /** From the network; undefined where only peers that hold the content may have it. */
  async #manifest(id: string, signal: AbortSignal): Promise<SignedManifest | undefined> {
    const found = await this.#parts.network.get(manifestDhtKey(id), { signal }).catch(() => undefined)
    signal.throwIfAborted()
    return found && parseManifest(found.value, { id })
  }
}
