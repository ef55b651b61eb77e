/** Answers as they go out on the wire, kept as long as their TTLs allow. */
import { LRUCache } from 'lru-cache'
import { asksFor, canonicalQuestion, owned, type Query, type Template } from './wire.ts'

export interface Cached extends Template {
  /** Both in ms. */
  storedAt: number
  expiresAt: number
  /** Seconds by which the TTLs in `wire` were lowered. */
  aged: number
}

/** Bytes of kept answers. */
const MAX_BYTES = 16 * 1024 * 1024
/** What an entry costs besides its wire form, roughly. Bytes. */
const ENTRY_COST = 500
/** An element of `ttls` or `ends`. Bytes. */
const OFFSET_COST = 8
/** Answers "there is none" and failures have their own room, so that a flood of invented names pushes out no real one. */
const MAX_NEGATIVE = 5_000
/** Slots for what is asked most, found without making a key; a power of two. */
const HOT_SLOTS = 8_192
/** An answer larger than this is not worth a slot. Bytes. */
const HOT_BYTES = 512

export class AnswerCache {
  readonly #now: () => number
  readonly #positive = new LRUCache<string, Cached>({
    maxSize: MAX_BYTES,
    sizeCalculation: ({ wire, ttls, ends }, key) =>
      wire.length + key.length + (ttls.length + ends.length) * OFFSET_COST + ENTRY_COST,
  })
  readonly #negative = new LRUCache<string, Cached>({ max: MAX_NEGATIVE })
  /** By the low bits of a query's hash; holds only what one of the two holds, or lately held. */
  readonly #hot = Array.from<Cached | undefined>({ length: HOT_SLOTS })

  /** `now`: ms. */
  constructor(now: () => number) {
    this.#now = now
  }

  /** The answer to a query, its TTLs as of now, unless there is none or its time is over. */
  get(query: Query): Cached | undefined {
    const slot = query.hash & (HOT_SLOTS - 1)
    let cached = this.#hot[slot]
    if (cached === undefined || !asksFor(query, cached.wire)) {
      const key = keyOf(query)
      cached = this.#positive.get(key) ?? this.#negative.get(key)
      if (cached === undefined) return undefined
      if (cached.wire.length <= HOT_BYTES) this.#hot[slot] = cached
    }
    const now = this.#now()
    // Before it was stored: the clock was set back, and its time cannot be told.
    if (now >= cached.expiresAt || now < cached.storedAt) return undefined
    if (now >= cached.storedAt + (cached.aged + 1) * 1000) age(cached, Math.floor((now - cached.storedAt) / 1000))
    return cached
  }

  /** `lifetime` in seconds; an answer without records is a negative one. */
  set(query: Query, template: Template, lifetime: number): void {
    const key = keyOf(query)
    this.#positive.delete(key)
    this.#negative.delete(key)
    this.#hot[query.hash & (HOT_SLOTS - 1)] = undefined
    if (lifetime <= 0) return
    const storedAt = this.#now()
    const room = template.ends.length === 0 ? this.#negative : this.#positive
    room.set(key, {
      ...owned(template),
      storedAt,
      expiresAt: storedAt + lifetime * 1000,
      aged: 0,
    })
  }

  clear(): void {
    this.#positive.clear()
    this.#negative.clear()
    this.#hot.fill(undefined)
  }
}

/** Lowers the TTLs once for all who ask within the same second; none is lower than the entry's own time. */
function age(cached: Cached, seconds: number): void {
  const { wire, aged, ttls } = cached
  for (const at of ttls) wire.writeUInt32BE(wire.readUInt32BE(at) + aged - seconds, at)
  cached.aged = seconds
}

function keyOf(query: Query): string {
  return canonicalQuestion(query).toString('latin1')
}
