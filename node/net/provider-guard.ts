/**
 * Bounds the provider records that kad-dht writes: it takes as many as anybody announces, for any content. When there is
 * no room the oldest goes; those of this node itself are not counted and never go.
 */
import type { PeerId } from '@libp2p/interface'
import { type Datastore, Key } from 'interface-datastore'
import { decode } from 'uint8-varint'
import type { Bytes } from '../core/encoding.ts'
import { P2pnsError } from '../core/errors.ts'
import { DatastoreGuard } from './datastore-guard.ts'

/** kad-dht keeps `<this>/<multihash in base32>/<peer id>` with the time in ms as a varint. */
const PROVIDERS = '/dht/provider'
/** The multihash of a SHA-256, `0x12 0x20` and 32 bytes: no content of ours has another. */
const PROVIDER_KEY = /^\/dht\/provider\/(?<content>ciq[a-z2-7]{52})\/(?<peer>[^/]+)$/

/** Records in all, for one content and by one peer. */
export const PROVIDER_LIMITS = { total: 100_000, content: 100, peer: 1_000 }

export class ProviderGuard extends DatastoreGuard {
  readonly #self: string
  readonly #limits: typeof PROVIDER_LIMITS
  /** Keys by what bounds them (all, a content, a peer), oldest first. */
  readonly #groups = new Map<string, Set<string>>()

  /** `self`: this node. */
  constructor(inner: Datastore, self: PeerId, limits = PROVIDER_LIMITS) {
    super(inner)
    this.#self = self.toString()
    this.#limits = limits
  }

  /** Counts what is there from before; run at the start. */
  async load(): Promise<void> {
    const found: { key: Key; at: number }[] = []
    for await (const { key, value } of this.inner.query({ prefix: PROVIDERS })) {
      try {
        this.#boundsOf(key)
        found.push({ key, at: decode(value) })
      } catch {
        await this.inner.delete(key)
      }
    }
    found.sort((a, b) => a.at - b.at)
    for (const { key } of found) await this.#count(key)
  }

  override async put(key: Key, value: Bytes): Promise<Key> {
    if (!isProvider(key)) return this.inner.put(key, value)
    this.#boundsOf(key)
    await this.inner.put(key, value)
    await this.#count(key)
    return key
  }

  override async delete(key: Key): Promise<void> {
    if (isProvider(key)) this.#forget(key)
    await this.inner.delete(key)
  }

  /** Counts `key` as the newest and drops what is then too much. */
  async #count(key: Key): Promise<void> {
    const text = key.toString()
    for (const { group, limit } of this.#boundsOf(key)) {
      const keys = this.#groups.get(group) ?? new Set()
      this.#groups.set(group, keys)
      keys.delete(text)
      keys.add(text)
      const [oldest = text] = keys
      if (keys.size > limit) await this.delete(new Key(oldest, false))
    }
  }

  #forget(key: Key): void {
    for (const { group } of this.#boundsOf(key)) {
      const keys = this.#groups.get(group)
      keys?.delete(key.toString())
      if (keys?.size === 0) this.#groups.delete(group)
    }
  }

  #boundsOf(key: Key): { group: string; limit: number }[] {
    const { content, peer } = PROVIDER_KEY.exec(key.toString())?.groups ?? {}
    if (content === undefined || peer === undefined) {
      throw new P2pnsError('key_mismatch', 'A provider was announced for what is no content of p2pns')
    }
    if (peer === this.#self) return []
    const { total, content: perContent, peer: perPeer } = this.#limits
    return [
      { group: content, limit: perContent },
      { group: peer, limit: perPeer },
      { group: PROVIDERS, limit: total },
    ]
  }
}

function isProvider(key: Key): boolean {
  return key.toString().startsWith(`${PROVIDERS}/`)
}
