/** Serves what is shared here over the links that peers open, a few of them for each peer. */
import type { Duplex } from 'node:stream'
import { toHex } from '../core/encoding.ts'
import { encodeEntries, hashOfCid } from '../core/manifest.ts'
import { leavesOf, Tree } from '../core/tree.ts'
import { Layout } from './layout.ts'
import { SeedLink, type Served } from './seed-link.ts'
import type { Share } from './share.ts'

/** Links served at a time, and of those, links of one peer. */
const MAX_LINKS = 64
const MAX_LINKS_EACH = 4
/** Milliseconds without a question or a write that went out, after which a link makes room for another. */
const SPARED_TIME = 5_000

export class Seeder {
  readonly #served = new Map<string, Served>()
  /** The peer at the other end of each. */
  readonly #links = new Map<SeedLink, string>()

  add(share: Share): void {
    const { manifest } = share
    const bytes = manifest.list && manifest.entries && encodeEntries(manifest.entries)
    const list = bytes && { bytes, tree: new Tree(leavesOf(bytes)) }
    this.#served.set(toHex(manifest.hash), { share, layout: Layout.of(manifest), list })
  }

  /** `id`: the identifier of the manifest. */
  has(id: string): boolean {
    return this.#served.has(toHex(hashOfCid(id)))
  }

  /** Links that are being served finish what they asked for. */
  remove(id: string): void {
    this.#served.delete(toHex(hashOfCid(id)))
  }

  get shares(): Share[] {
    return [...this.#served.values()].map(({ share }) => share)
  }

  /** Serves a link of `peer` until it ends; the stream is closed then. Never throws. */
  async serve(stream: Duplex, peer: string): Promise<void> {
    const link = new SeedLink(stream, (content) => this.#served.get(toHex(content)))
    if (!this.#hasRoom(peer)) return link.bye('busy')
    this.#links.set(link, peer)
    await link.ended
    this.#links.delete(link)
  }

  /** Makes room if all places are taken and somebody does nothing with theirs. */
  #hasRoom(peer: string): boolean {
    if ([...this.#links.values()].filter((other) => other === peer).length >= MAX_LINKS_EACH) return false
    if (this.#links.size < MAX_LINKS) return true
    const [idlest] = [...this.#links.keys()].sort((a, b) => a.lastActive - b.lastActive)
    if (!idlest || performance.now() - idlest.lastActive < SPARED_TIME) return false
    this.#links.delete(idlest)
    idlest.bye('busy')
    return true
  }
}
