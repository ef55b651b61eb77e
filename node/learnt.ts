/**
 * What was learnt of other people's names, in memory and on disk. Nothing older ever replaces anything newer, whoever
 * brings it and in whatever order, and a short name changes hands only as its pin allows.
 */
import { LRUCache } from 'lru-cache'
import { isRelease } from './core/claim.ts'
import { type Bytes, equalBytes, fromHex, toHex } from './core/encoding.ts'
import { encodeNamed, type Lease, MAX_LEASE_BYTES, parseNamed, verifyLease } from './core/lease.ts'
import type { Name } from './core/name.ts'
import { newerZone, parseZone, type Zone } from './core/zone.ts'
import { keyedLocks } from './net/locks.ts'
import type { Pinned, Pins } from './pins.ts'
import type { Table } from './store.ts'

/** As it is stored, by apex; bytes in hex, `fetchedAt` in ms. */
export interface Learnt {
  record: string
  fetchedAt: number
  source: 'introducer' | 'dht'
}

export interface LearntRecord {
  zone: Zone
  lease: Lease | undefined
  /** Milliseconds since 1970. */
  fetchedAt: number
  source: 'introducer' | 'dht'
}

/** Milliseconds: zone records are signed daily; one this old was not renewed, and one older by far is of no use. */
export const STALE_AFTER_MS = 48 * 3600_000
const USELESS_AFTER_MS = STALE_AFTER_MS + 7 * 86_400_000
/** Bytes, for some 20,000 usual zones; what does not fit is read from disk again. */
const MAX_MEMORY = 32 * 1024 * 1024
/** What an entry, and each resource record in it, costs besides its bytes, roughly. */
const ENTRY_COST = 500
const RR_COST = 200

export class LearntRecords {
  readonly #rows: Table<Learnt>
  readonly #pins: Pins
  readonly #now: () => number
  readonly #entries = new LRUCache<string, LearntRecord>({ maxSize: MAX_MEMORY, sizeCalculation: memoryOf })
  /** Per apex: nobody may come between reading what is held and replacing it. */
  readonly #oneAtATime = keyedLocks()

  constructor(rows: Table<Learnt>, pins: Pins, now: () => number) {
    this.#rows = rows
    this.#pins = pins
    this.#now = now
  }

  /**
   * Keeps what is new in a record that passed its checks; resolves to what holds then, undefined after a release.
   * What only this node itself kept (`alone`) is no younger for that. Errors: those of the checks, and of the pin.
   */
  accept(name: Name, value: Bytes, source: 'introducer' | 'dht', alone = false): Promise<LearntRecord | undefined> {
    return this.#oneAtATime(name.apex, async () => {
      const now = this.#now()
      const { zone, lease: offered } = read(name, value, now)
      if (offered !== undefined) verifyLease(offered, now)
      const lease = offered && (await this.#pins.judge(name.apex, offered))
      if (zone === undefined) {
        await this.#drop(name.apex)
        return undefined
      }
      const held = await this.#held(name)
      const fetchedAt = alone ? (held?.fetchedAt ?? signedAt(zone)) : now
      const entry = newest(held, { zone, lease, fetchedAt, source })
      this.#entries.set(name.apex, entry)
      const record = recordOf(entry)
      if (held === undefined || record !== recordOf(held)) {
        await this.#rows.put(name.apex, { record, fetchedAt, source })
      }
      return entry
    })
  }

  /** What may still be shown of what was learnt. */
  async cached(name: Name): Promise<LearntRecord | undefined> {
    const held = this.#entries.get(name.apex) ?? (await this.#oneAtATime(name.apex, () => this.#held(name)))
    return held !== undefined && this.isUsable(held) ? held : undefined
  }

  isUsable({ zone, lease }: LearntRecord): boolean {
    const now = this.#now()
    return now - signedAt(zone) < USELESS_AFTER_MS && (lease === undefined || now < lease.claim.until * 1000)
  }

  /** What was learnt last, usable or not: it still holds older ones off. To be asked for one at a time. */
  async #held(name: Name): Promise<LearntRecord | undefined> {
    const known = this.#entries.get(name.apex)
    if (known !== undefined) return known
    const learnt = await this.#rows.get(name.apex)
    if (learnt === undefined) return undefined
    try {
      const { zone, lease } = read(name, fromHex(learnt.record), this.#now())
      const entry = zone && { zone, lease, fetchedAt: learnt.fetchedAt, source: learnt.source }
      if (entry !== undefined) this.#entries.set(name.apex, entry)
      return entry
    } catch {
      // Written by an older version, or signed ahead of a clock that has been put right since.
      return undefined
    }
  }

  /** What the person decided about the owner of a short name. Errors: not_known. */
  choose(apex: string, keyName?: string): Promise<Pinned> {
    return this.#oneAtATime(apex, async () => {
      const chosen = await this.#pins.choose(apex, keyName)
      await this.#drop(apex)
      return chosen
    })
  }

  /** Forgets a short name and its owner. Errors: not_known. */
  forget(apex: string): Promise<void> {
    return this.#oneAtATime(apex, async () => {
      await this.#pins.forget(apex)
      await this.#drop(apex)
    })
  }

  /** Forgets everything but the pins. */
  async clear(): Promise<void> {
    this.#entries.clear()
    await this.#rows.clear()
  }

  async #drop(apex: string): Promise<void> {
    this.#entries.delete(apex)
    await this.#rows.delete(apex)
  }
}

/** Bytes, roughly: read, a zone takes many times the room that it takes signed. */
function memoryOf({ zone, lease }: LearntRecord): number {
  const read = zone.rrs.reduce((sum, { name, rdata }) => sum + name.length + rdata.length + RR_COST, 0)
  return ENTRY_COST + zone.bytes.length + read + (lease === undefined ? 0 : MAX_LEASE_BYTES)
}

/** Milliseconds since 1970. */
export function signedAt(zone: Zone): number {
  return Number(zone.seq / 1000n)
}

/** The zone, and for a short name its lease, of which the term and signatures are still to be checked; no zone in a release. */
function read(name: Name, value: Bytes, now: number): { zone: Zone | undefined; lease: Lease | undefined } {
  if (name.kind === 'key') return { zone: parseZone(value, { key: name.key, now }), lease: undefined }
  const { lease, zoneBytes } = parseNamed(value)
  return { zone: isRelease(lease.claim) ? undefined : parseZone(zoneBytes, { key: lease.claim.owner, now }), lease }
}

/** Of one owner the newer zone and the later lease count: nobody signs that the two belong together. */
function newest(held: LearntRecord | undefined, come: LearntRecord): LearntRecord {
  if (held === undefined || !equalBytes(held.zone.key, come.zone.key)) return come
  const isLaterHeld = (held.lease?.claim.version ?? 0) > (come.lease?.claim.version ?? 0)
  return {
    ...come,
    zone: newerZone(held.zone, come.zone) > 0 ? held.zone : come.zone,
    lease: isLaterHeld ? held.lease : come.lease,
  }
}

/** As the network holds it; hex. */
function recordOf({ zone, lease }: LearntRecord): string {
  return toHex(lease === undefined ? zone.bytes : encodeNamed(lease, zone.bytes))
}
