/**
 * name -> record. Order of asking: own zones and petnames; what was learnt before; then introducers and DHT raced, where
 * the first valid answer wins and a newer one that comes later replaces it. Nothing older ever replaces a newer one.
 */

import { LRUCache } from 'lru-cache'
import type { Known, Policy } from './contract.ts'
import { type Bytes, toHex } from './core/encoding.ts'
import { isError, P2pnsError } from './core/errors.ts'
import { type Lease, leaseDhtKey } from './core/lease.ts'
import { type Name, parseName } from './core/name.ts'
import { receiptsThatCount } from './core/proof.ts'
import { clampTtl, DEFAULT_TTL, MIN_TTL } from './core/rdata.ts'
import { realmId } from './core/realm.ts'
import type { Trace } from './core/trace.ts'
import { type Zone, zoneDhtKey } from './core/zone.ts'
import { type Learnt, type LearntRecord, LearntRecords, STALE_AFTER_MS, signedAt } from './learnt.ts'
import type { NetworkRecord, RecordNetwork } from './net/record-network.ts'
import type { OwnZones } from './own-zones.ts'
import { ownerOf, type Pin, type Pinned, Pins } from './pins.ts'
import type { Proofs } from './proofs.ts'
import type { Realms } from './realms.ts'
import type { Table } from './store.ts'

export type { Learnt } from './learnt.ts'
export type { Pin } from './pins.ts'

export interface ZoneAnswer {
  zone: Zone
  /** Milliseconds since 1970: from then on it is looked up again. */
  expiresAt: number
  stale: boolean
  known: Known
}

/** A name that was not there is not asked for again for this long (ms). */
const NEGATIVE_TTL_MS = 30_000
const LOOKUP_TIMEOUT_MS = 12_000

export interface LookupOptions {
  policy?: Policy
  signal?: AbortSignal
  trace?: Trace
}

export class Names {
  readonly #network: RecordNetwork
  readonly #own: OwnZones
  readonly #realms: Realms
  readonly #learnt: LearntRecords
  readonly #pins: Pins
  readonly #proofs: Proofs
  readonly #petnames: Table<string>
  readonly #now: () => number
  readonly #missing = new LRUCache<string, number>({ max: 10_000 })
  readonly #running = new Map<string, Promise<LearntRecord | undefined>>()

  constructor(parts: {
    network: RecordNetwork
    own: OwnZones
    realms: Realms
    cache: Table<Learnt>
    pins: Table<Pin>
    petnames: Table<string>
    proofs: Proofs
    now: () => number
  }) {
    this.#network = parts.network
    this.#own = parts.own
    this.#realms = parts.realms
    this.#proofs = parts.proofs
    this.#pins = new Pins(parts.pins, parts.proofs, parts.now)
    this.#learnt = new LearntRecords(parts.cache, this.#pins, parts.now)
    this.#petnames = parts.petnames
    this.#now = parts.now
  }

  /**
   * The zone that a name stands in. Errors: name_not_found, no_introducer, network_unreachable, timed_out, pin_conflict,
   * record_older, lease_invalid.
   */
  async lookup(name: Name, options: LookupOptions = {}): Promise<ZoneAnswer> {
    const { trace } = options
    if (name.kind === 'pet') {
      const keyName = await this.#petnames.get(name.pet)
      if (keyName === undefined) throw notFound(name.apex, 'this machine gave nobody that petname')
      trace?.(`petname: ${keyName}`)
      const answer = await this.lookup(parseName(keyName), options)
      return { ...answer, known: { ...answer.known, kind: 'petname' } }
    }
    const own = this.#ownZone(name)
    if (own !== undefined) {
      trace?.('a name of this home')
      return this.#answer(own)
    }
    const policy = options.policy ?? 'cache-first'
    const cached = await this.#learnt.cached(name)
    trace?.(`cache: ${cached === undefined ? 'nothing' : `a record from ${new Date(cached.fetchedAt).toISOString()}`}`)
    if (policy !== 'network' && cached !== undefined && this.#isWithin(ttlOf(cached.zone) * 1000, cached.fetchedAt))
      return this.#shown(name, cached, 'cache')
    if (policy === 'cache-only') {
      if (cached === undefined) throw notFound(name.apex, 'it is not in the cache')
      return this.#shown(name, cached, 'unconfirmed')
    }
    const missedAt = this.#missing.get(name.apex)
    if (policy === 'cache-first' && missedAt !== undefined && this.#isWithin(NEGATIVE_TTL_MS, missedAt)) {
      throw notFound(name.apex, 'nobody had it a moment ago')
    }
    return this.#ask(name, cached, policy, options)
  }

  async setPetname(pet: string, keyName: string): Promise<void> {
    await this.#petnames.put(pet, keyName)
  }

  /** The owners that were seen, by apex. */
  owners(): AsyncIterable<[string, Pinned]> {
    return this.#pins.entries()
  }

  /** Believes the owner that conflicts with the known one, or the one of the two whose key name it is. Errors: not_known. */
  chooseOwner(apex: string, keyName?: string): Promise<Pinned> {
    this.#missing.delete(apex)
    return this.#learnt.choose(apex, keyName)
  }

  /** The owner that is seen next counts as the first. Errors: not_known. */
  forgetOwner(apex: string): Promise<void> {
    this.#missing.delete(apex)
    return this.#learnt.forget(apex)
  }

  async clearCache(): Promise<void> {
    this.#missing.clear()
    await this.#learnt.clear()
  }

  async #ask(
    name: Name,
    cached: LearntRecord | undefined,
    policy: Policy,
    options: LookupOptions,
  ): Promise<ZoneAnswer> {
    try {
      const entry = await this.#fetch(name, options)
      if (entry !== undefined && this.#learnt.isUsable(entry)) {
        // What was not fetched by this lookup was kept by this node only, and nobody answered.
        const isFetched = this.#isWithin(LOOKUP_TIMEOUT_MS, entry.fetchedAt)
        return this.#shown(name, entry, isFetched ? 'fetched' : 'unconfirmed')
      }
    } catch (error) {
      // Offline, or fed with old records, what was right yesterday is better than nothing (RFC 8767).
      const unanswered = isError(error, 'network_unreachable', 'peer_unreachable', 'timed_out', 'record_older')
      // The known owner stays, and the answer tells of the conflict; who asks what the network says is told that.
      const disputed = isError(error, 'pin_conflict', 'lease_invalid') && policy !== 'network'
      if (cached !== undefined && (unanswered || disputed)) return this.#shown(name, cached, 'unconfirmed')
      throw error
    }
    // The network forgets a record two days after its owner left; and who denies having it proves nothing.
    const kept = await this.#learnt.cached(name)
    if (kept !== undefined) return this.#shown(name, kept, 'unconfirmed')
    this.#missing.set(name.apex, this.#now())
    throw notFound(name.apex, 'nobody who answered has it')
  }

  /** One question per apex at a time, whoever asks; the asker who leaves does not end it for the others. */
  async #fetch(name: Name, { signal, trace }: LookupOptions): Promise<LearntRecord | undefined> {
    signal?.throwIfAborted()
    let running = this.#running.get(name.apex)
    if (running === undefined) {
      running = this.#fetchOnce(name, AbortSignal.timeout(LOOKUP_TIMEOUT_MS), trace).finally(() =>
        this.#running.delete(name.apex),
      )
      this.#running.set(name.apex, running)
    } else trace?.('somebody else is looking it up already')
    if (signal === undefined) return running
    const aborted = new Promise<never>((_, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true })
    })
    return Promise.race([running, aborted])
  }

  async #fetchOnce(name: Name, signal: AbortSignal, trace?: Trace): Promise<LearntRecord | undefined> {
    const answers = await Promise.allSettled(
      this.#keysOf(name).map((key) => this.#fetchUnder(key, name, signal, trace)),
    )
    for (const answer of answers) if (answer.status === 'fulfilled' && answer.value !== undefined) return answer.value
    for (const answer of answers) {
      if (answer.status === 'fulfilled') continue
      // Nobody but our own clock interrupts a question that several may share.
      if (!isError(answer.reason, 'interrupted')) throw answer.reason
      throw new P2pnsError('timed_out', `${name.apex} could not be looked up in time`, { cause: answer.reason })
    }
    return undefined
  }

  /**
   * What is found under one key. Every answer is looked at, the losing ones too. An answer that is not believed is not the
   * last word: the liar may only have been the fastest, so all are heard before it counts.
   */
  async #fetchUnder(key: Bytes, name: Name, signal: AbortSignal, trace?: Trace): Promise<LearntRecord | undefined> {
    const judged = new Map<string, Promise<LearntRecord | undefined>>()
    const judge = (record: NetworkRecord): Promise<LearntRecord | undefined> => {
      const id = toHex(record.value)
      const judgement = judged.get(id) ?? this.#accept(name, record)
      judged.set(id, judgement)
      return judgement
    }
    const onSeen = (record: NetworkRecord) => void judge(record).catch(() => {})
    const found = await this.#network.get(key, { signal, onNewer: onSeen, onSeen, ...(trace ? { trace } : {}) })
    if (found === undefined) return undefined
    try {
      const learnt = await judge(found)
      trace?.('verified: signatures, owner and age')
      return learnt
    } catch (error) {
      if (!isError(error, 'pin_conflict', 'record_older', 'lease_invalid')) throw error
      const best = await this.#network.get(key, { signal, wait: 'best', onSeen }).catch(() => undefined)
      if (best !== undefined) onSeen(best)
      const all = await Promise.allSettled(judged.values())
      if (all.every(({ status }) => status === 'rejected')) throw error
      return this.#learnt.cached(name)
    }
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

  async #accept(name: Name, { value, source, alone }: NetworkRecord): Promise<LearntRecord | undefined> {
    const learnt = await this.#learnt.accept(name, value, source, alone)
    if (learnt !== undefined) this.#missing.delete(name.apex)
    return learnt
  }

  /** False also for a time that is still to come: a clock that was ahead must not make an answer last for years. */
  #isWithin(ms: number, since: number): boolean {
    const age = this.#now() - since
    return age >= 0 && age < ms
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
  async #shown(name: Name, entry: LearntRecord, how: 'fetched' | 'cache' | 'unconfirmed'): Promise<ZoneAnswer> {
    const { zone, lease, source } = entry
    const stale = how === 'unconfirmed' || this.#now() - signedAt(zone) > STALE_AFTER_MS
    return {
      zone,
      expiresAt: how === 'unconfirmed' ? this.#now() + MIN_TTL * 1000 : expiry(entry),
      stale,
      known: {
        kind: name.kind === 'short' ? 'lease' : 'key',
        ...(lease ? await this.#knownBy(name, lease) : {}),
        stale,
        source: how === 'fetched' ? source : 'cache',
      },
    }
  }

  async #knownBy(name: Name, lease: Lease): Promise<Partial<Known>> {
    const { keys } = lease.realm
    const isLiar = this.#proofs.dropped
    const liars = keys.filter((key) => isLiar(lease.claim.rid, key)).length
    const pinned = await this.#pins.get(name.apex)
    const conflict = pinned?.conflict?.settled === false ? pinned.conflict : undefined
    return {
      receipts: receiptsThatCount(lease, isLiar),
      witnesses: keys.length,
      ...(liars > 0 ? { liars } : {}),
      ...(pinned ? { pinned: isoTime(pinned.since) } : {}),
      ...(conflict
        ? { conflict: { owner: ownerOf(conflict.lease.claim) ?? null, since: isoTime(conflict.since) } }
        : {}),
    }
  }
}

/** Seconds: the smallest TTL of the zone, within bounds. */
function ttlOf(zone: Zone): number {
  const smallest = zone.rrs.reduce((least, rr) => Math.min(least, rr.ttl), Number.POSITIVE_INFINITY)
  return Number.isFinite(smallest) ? clampTtl(smallest) : DEFAULT_TTL
}

function expiry({ zone, lease, fetchedAt }: LearntRecord): number {
  const leaseEnd = lease === undefined ? Number.POSITIVE_INFINITY : lease.claim.until * 1000
  return Math.min(fetchedAt + ttlOf(zone) * 1000, leaseEnd)
}

function notFound(apex: string, why: string): P2pnsError {
  return new P2pnsError('name_not_found', `${apex} is not to be found: ${why}`)
}

function isoTime(ms: number): string {
  return new Date(ms).toISOString()
}
