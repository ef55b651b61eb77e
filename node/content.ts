/** Content of this node: sharing it, seeding it over restarts, fetching by name or CID, seeding what was fetched. */
import { randomBytes, randomInt } from 'node:crypto'
import * as fs from 'node:fs/promises'
import * as path from 'node:path'
import { duplexPair } from 'node:stream'
import type { Multiaddr } from '@multiformats/multiaddr'
import { CID } from 'multiformats/cid'
import type { Fetched, Job, Shared, Status } from './contract.ts'
import { equalBytes } from './core/encoding.ts'
import type { KeyPair } from './core/keys.ts'
import { manifestDhtKey, parseManifest, type SignedManifest } from './core/manifest.ts'
import { fetchContent } from './files/fetch.ts'
import { type KeptShare, KeptShares } from './files/kept-shares.ts'
import { Seeder } from './files/seed.ts'
import { type Share, sameContent, sharePath } from './files/share.ts'
import { findContent, isCid } from './find-content.ts'
import { linksTo, type PeerSource } from './find-peers.ts'
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
      for await (const share of kept.all()) {
        if (await isThere(share.path)) seeder.add(share)
        // Perhaps its disk is away: it is served again when it is back.
        else await stopProviding(parts.host, share.manifest.id)
      }
      const ports = parts.store.table<number>('ports')
      const onLink = ({ stream, peer }: Link) => void seeder.serve(stream, peer)
      const open = (port: number) => paths.listen({ port, now: parts.now, random: randomBytes, onLink })
      await ports.put('links', await onKeptPort(ports, 'links', open))
    }
    return new Content(parts, paths, seeder, kept)
  }

  /** Tells the network what is here, one content after the other. */
  announce(): void {
    const all = async () => {
      for (const { manifest } of this.#seeder.shares) {
        // One that was ended meanwhile is not announced again.
        if (this.#seeder.has(manifest.id)) await this.#provide(manifest.id, this.#stopped.signal)
      }
    }
    void all().catch(() => {})
  }

  /** Hashes, seeds and announces what is at `target`, and then forgets what was shared from there before. */
  async share(target: string, { signal, onProgress }: Job = {}): Promise<Shared> {
    const { key, publisher, now } = this.#parts
    const real = await fs.realpath(target).catch(() => target)
    const previous = this.#seeder.shares.find((share) => share.path === real && this.#isOurs(share))?.manifest
    const share = await sharePath(target, {
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
    await this.#supersede(share)
    return { cid: manifest.id, bytes, files: files.size, skipped, link: this.link(manifest.id) }
  }

  /** A CID as it is, or the CID of a path that is shared first. */
  async given(text: string, job: Job): Promise<{ cid: string }> {
    return isCid(text) ? { cid: text } : this.share(text, job)
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
      const self = host.libp2p.peerId.toString()
      void this.#seeder.serve(far, self)
      yield { peer: self, path: 'local', stream: near }
    }
    yield* linksTo(this.#peersWith(id), hints, signal)
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
      connect: (to, signal) => this.#paths.connect(to, signal),
      random: (end) => randomInt(end),
    }
  }

  #isOurs({ manifest }: Share): boolean {
    return equalBytes(manifest.publisher, this.#parts.key.publicKey)
  }

  /** What stood at the path of `share` before stands there no more; what somebody else shared may, as `share` itself. */
  async #supersede(share: Share): Promise<void> {
    const { id, entries = [] } = share.manifest
    for (const other of this.#seeder.shares) {
      if (other.path !== share.path || other.manifest.id === id) continue
      if (this.#isOurs(other) || !sameContent(entries, other.manifest.entries ?? []))
        await this.#forget(other.manifest.id)
    }
  }

  /** Not served, announced, published or kept any more. */
  async #forget(id: string): Promise<void> {
    this.#seeder.remove(id)
    await this.#kept.forget(id)
    await this.#parts.publisher.withdraw(manifestDhtKey(id))
    await stopProviding(this.#parts.host, id)
  }

  async #keep(share: Share): Promise<void> {
    await this.#kept.keep(share)
    this.#seeder.add(share)
  }

  /** What was fetched is worth serving; the person does not wait for the network to hear of it. */
  async #seed(share: Share): Promise<void> {
    await this.#keep(share)
    await this.#supersede(share)
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
