/**
 * name -> record. Order of asking: own zones and petnames; what was learnt before; then introducers and DHT raced, where
 * the first valid answer wins and a newer one that comes later replaces it. Nothing older ever replaces a newer one.
 */
import { LRUCache } from 'lru-cache'
import type { Known, Policy } from './contract.ts'
import { chainId, isRelease } from './core/claim.ts'
import { type Bytes, equalBytes, fromHex, toHex } from './core/encoding.ts'
import { isError, P2pnsError } from './core/errors.ts'
import { type Lease, leaseDhtKey, parseNamed, verifyLease } from './core/lease.ts'
import { keyNameOf, type Name, parseName } from './core/name.ts'
import { clampTtl, DEFAULT_TTL, MIN_TTL } from './core/rdata.ts'
import { realmId } from './core/realm.ts'
import { newerZone, parseZone, type Zone, zoneDhtKey } from './core/zone.ts'
import type { RecordNetwork } from './net/record-network.ts'
import type { OwnZones } from './own-zones.ts'
import type { Realms } from './realms.ts'
import type { Table } from './store.ts'

export interface ZoneAnswer {
  zone: Zone
  /** Milliseconds since 1970: from then on it is looked up again. */
  expiresAt: number
  stale: boolean
  known: Known
}

/** What was learnt of an apex; bytes in hex, `fetchedAt` in ms. */
export interface Learnt {
  record: string
  isNamed: boolean
  fetchedAt: number
  source: 'introducer' | 'dht'
}

/** The owner of a short name, as first seen: it changes only along its lease chain. Hex. */
export interface Pin {
  chain: string
  owner: string
}

interface Entry {
  zone: Zone
  lease: Lease | undefined
  fetchedAt: number
  source: 'introducer' | 'dht'
}

/** Zone records are signed daily: one this old (ms) was not renewed, and one older by far is of no use. */
const STALE_AFTER_MS = 48 * 3600_000
const USELESS_AFTER_MS = STALE_AFTER_MS + 7 * 86_400_000
/** A name that was not there is not asked for again for this long (ms). */
const NEGATIVE_TTL_MS = 30_000
const LOOKUP_TIMEOUT_MS = 12_000

export class Names {
  readonly #network: RecordNetwork
  readonly #own: OwnZones
  readonly #realms: Realms
  readonly #cache: Table<Learnt>
  readonly #pins: Table<Pin>
  readonly #petnames: Table<string>
  readonly #now: () => number
  readonly #entries = new LRUCache<string, Entry>({ max: 10_000 })
  readonly #missing = new LRUCache<string, number>({ max: 10_000 })
  readonly #running = new Map<string, Promise<Entry | undefined>>()

  constructor(parts: {
    network: RecordNetwork
    own: OwnZones
    realms: Realms
    cache: Table<Learnt>
    pins: Table<Pin>
    petnames: Table<string>
    now: () => number
  }) {
    this.#network = parts.network
    this.#own = parts.own
    this.#realms = parts.realms
    this.#cache = parts.cache
    this.#pins = parts.pins
    this.#petnames = parts.petnames
    this.#now = parts.now
  }

  /** The zone that a name stands in. Errors: name_not_found, network_unreachable, pin_conflict. */
  async lookup(name: Name, options: { policy?: Policy; signal?: AbortSignal } = {}): Promise<ZoneAnswer> {
    if (name.kind === 'pet') {
      const keyName = await this.#petnames.get(name.pet)
      if (keyName === undefined) throw notFound(name.apex, 'this machine gave nobody that petname')
      const answer = await this.lookup(parseName(keyName), options)
      return { ...answer, known: { ...answer.known, kind: 'petname' } }
    }
    const own = this.#ownZone(name)
    if (own !== undefined) return this.#answer(own)
    const policy = options.policy ?? 'cache-first'
    const cached = await this.#cached(name)
    if (policy !== 'network' && cached !== undefined && this.#now() < expiry(cached))
      return this.#learnt(name, cached, 'cache')
    if (policy === 'cache-only') {
      if (cached === undefined) throw notFound(name.apex, 'it is not in the cache')
      return this.#learnt(name, cached, 'unconfirmed')
    }
    if (policy === 'cache-first' && (this.#missing.get(name.apex) ?? 0) > this.#now()) {
      throw notFound(name.apex, 'nobody had it a moment ago')
    }
    return this.#ask(name, cached, options.signal)
  }

  async setPetname(pet: string, keyName: string): Promise<void> {
    await this.#petnames.put(pet, keyName)
  }

  async clearCache(): Promise<void> {
    this.#entries.clear()
    this.#missing.clear()
    await this.#cache.clear()
  }

  async #ask(name: Name, cached: Entry | undefined, signal?: AbortSignal): Promise<ZoneAnswer> {
    try {
      const entry = await this.#fetch(name, signal)
      if (entry !== undefined) return this.#learnt(name, entry, 'fetched')
    } catch (error) {
      // Offline, what was right yesterday is better than nothing (RFC 8767).
      const usable = cached !== undefined && this.#now() - signedAt(cached.zone) < USELESS_AFTER_MS
      if (usable && isError(error, 'network_unreachable', 'timed_out')) return this.#learnt(name, cached, 'unconfirmed')
      throw error
    }
    this.#missing.set(name.apex, this.#now() + NEGATIVE_TTL_MS)
    throw notFound(name.apex, 'nobody who answered has it')
  }

  /** One question per apex at a time, whoever asks; the asker who leaves does not end it for the others. */
  async #fetch(name: Name, signal?: AbortSignal): Promise<Entry | undefined> {
    let running = this.#running.get(name.apex)
    if (running === undefined) {
      running = this.#fetchOnce(name, AbortSignal.timeout(LOOKUP_TIMEOUT_MS)).finally(() =>
        this.#running.delete(name.apex),
      )
      this.#running.set(name.apex, running)
    }
    if (signal === undefined) return running
    signal.throwIfAborted()
    const aborted = new Promise<never>((_, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true })
    })
    return Promise.race([running, aborted])
  }

  async #fetchOnce(name: Name, signal: AbortSignal): Promise<Entry | undefined> {
    const keys = this.#keysOf(name)
    const answers = await Promise.allSettled(
      keys.map(async (key) => {
        const accept = (value: Bytes, source: 'introducer' | 'dht') => this.#accept(name, value, source)
        const found = await this.#network.get(key, {
          signal,
          onNewer: ({ value, source }) => void accept(value, source).catch(() => {}),
        })
        return found && accept(found.value, found.source)
      }),
    )
    for (const answer of answers) if (answer.status === 'fulfilled' && answer.value !== undefined) return answer.value
    for (const answer of answers) if (answer.status === 'rejected') throw answer.reason
    return undefined
  }

  /** DHT keys that may hold the zone: one for a key name, one per trusted realm for a short name. */
  #keysOf(name: Name): Bytes[] {
    if (name.kind === 'key') return [zoneDhtKey(name.key)]
    if (name.kind !== 'short') return []
    const realms = this.#realms.all()
    if (realms.length === 0) {
      throw new P2pnsError('no_introducer', `${name.apex} is a short name, and this node trusts no witnesses of such`)
    }
    return realms.map((realm) => leaseDhtKey(realmId(realm), name.short))
  }

  /** Keeps a record that passed its checks, unless what is held already is newer or the pin says another owner. */
  async #accept(name: Name, value: Bytes, source: 'introducer' | 'dht'): Promise<Entry> {
    const entry = read(name, value, this.#now(), source)
    if (entry.lease !== undefined) await this.#checkPin(name, entry.lease)
    const held = await this.#cached(name)
    const isOlder =
      held !== undefined && equalBytes(held.zone.key, entry.zone.key) && newerZone(held.zone, entry.zone) > 0
    const kept = isOlder ? { ...held, fetchedAt: this.#now() } : entry
    this.#entries.set(name.apex, kept)
    this.#missing.delete(name.apex)
    if (!isOlder) {
      await this.#cache.put(name.apex, {
        record: toHex(value),
        isNamed: entry.lease !== undefined,
        fetchedAt: entry.fetchedAt,
        source,
      })
    }
    return kept
  }

  /** Errors: pin_conflict when another chain than the one first seen claims the name. */
  async #checkPin(name: Name, lease: Lease): Promise<void> {
    const chain = toHex(chainId(lease.claim))
    const pin = await this.#pins.get(name.apex)
    if (pin !== undefined && pin.chain !== chain) {
      throw new P2pnsError(
        'pin_conflict',
        `${name.apex} was ${keyNameOf(fromHex(pin.owner))} and is now somebody else's`,
      )
    }
    const owner = toHex(lease.claim.owner)
    if (pin === undefined || pin.owner !== owner) await this.#pins.put(name.apex, { chain, owner })
  }

  async #cached(name: Name): Promise<Entry | undefined> {
    const known = this.#entries.get(name.apex)
    if (known !== undefined) return known
    const learnt = await this.#cache.get(name.apex)
    if (learnt === undefined) return undefined
    try {
      const entry = read(name, fromHex(learnt.record), this.#now(), learnt.source)
      this.#entries.set(name.apex, { ...entry, fetchedAt: learnt.fetchedAt })
      return this.#entries.get(name.apex)
    } catch {
      // Written by an older version, or its lease has ended.
      await this.#cache.delete(name.apex)
      return undefined
    }
  }

  #ownZone(name: Name): Zone | undefined {
    if (name.kind === 'key') return this.#own.byKey(name.key)?.zone
    if (name.kind !== 'short') return undefined
    const own = this.#own.byLabel(name.short)
    return own?.lease !== undefined && this.#now() < own.lease.claim.until * 1000 ? own.zone : undefined
  }

  #answer(zone: Zone): ZoneAnswer {
    return {
      zone,
      expiresAt: this.#now() + ttlOf(zone) * 1000,
      stale: false,
      known: { kind: 'own', stale: false, source: 'own' },
    }
  }

  /** `fetched`: just now. `cache`: still fresh. `unconfirmed`: the network could not be asked, so it is soon again. */
  #learnt(name: Name, entry: Entry, how: 'fetched' | 'cache' | 'unconfirmed'): ZoneAnswer {
    const { zone, lease, source } = entry
    const stale = how === 'unconfirmed' || this.#now() - signedAt(zone) > STALE_AFTER_MS
    return {
      zone,
      expiresAt: how === 'unconfirmed' ? this.#now() + MIN_TTL * 1000 : expiry(entry),
      stale,
      known: {
        kind: name.kind === 'short' ? 'lease' : 'key',
        ...(lease ? { receipts: lease.receipts.length, witnesses: lease.realm.keys.length } : {}),
        stale,
        source: how === 'fetched' ? source : 'cache',
      },
    }
  }
}

function read(name: Name, value: Bytes, now: number, source: 'introducer' | 'dht'): Entry {
  if (name.kind === 'key') {
    return { zone: parseZone(value, { key: name.key, now }), lease: undefined, fetchedAt: now, source }
  }
  const { lease, zoneBytes } = parseNamed(value)
  verifyLease(lease, now)
  if (isRelease(lease.claim)) throw notFound(name.apex, 'its owner gave it up')
  return { zone: parseZone(zoneBytes, { key: lease.claim.owner, now }), lease, fetchedAt: now, source }
}

/** Seconds: the smallest TTL of the zone, within bounds. */
function ttlOf(zone: Zone): number {
  const smallest = zone.rrs.reduce((least, rr) => Math.min(least, rr.ttl), Number.POSITIVE_INFINITY)
  return Number.isFinite(smallest) ? clampTtl(smallest) : DEFAULT_TTL
}

function expiry(entry: Entry): number {
  return entry.fetchedAt + ttlOf(entry.zone) * 1000
}

/** Milliseconds since 1970. */
function signedAt(zone: Zone): number {
  return Number(zone.seq / 1000n)
}

function notFound(apex: string, why: string): P2pnsError {
  return new P2pnsError('name_not_found', `${apex} is not to be found: ${why}`)
}
