/**
 * The answers of other resolvers: fresh within their TTL, for a day after it as a stand-in (RFC 8767), and failures for a
 * few seconds (RFC 9520), so that nobody is asked again and again what they cannot answer.
 */
import { LRUCache } from 'lru-cache'
import type { Received } from './upstream-answer.ts'
import { EDE, extendedError, owned, RCODE, type Template } from './wire.ts'

interface Entry {
  template: Template
  /** ms. */
  storedAt: number
  expiresAt: number
  /** Seconds by which the TTLs were lowered. */
  aged: number
  hits: number
  stale?: Template
}

export interface Kept {
  /** To be answered now: TTLs lowered, or those of a stale answer. */
  template: Template
  fresh: boolean
  /** Many ask for it, and its time is nearly over. */
  renew: boolean
  /** Seconds until it may have to be renewed. */
  lifetime: number
}

/** Bytes of kept answers. */
const MAX_BYTES = 16 * 1024 * 1024
/** What an entry costs besides its wire form, roughly, and an offset in it. Bytes. */
const ENTRY_COST = 600
const OFFSET_COST = 16
/** "There is none" has its own room, so that a flood of invented names pushes out no real one. */
const MAX_NEGATIVE = 5_000
const MAX_FAILURES = 5_000
/** For how long after its time an answer stands in, in ms, and its TTLs then, in seconds (RFC 8767 sections 5 and 4). */
const STALE_TIME = 86_400_000
const STALE_TTL = 30
/** A failure holds so long, and twice as long each time it comes again, in ms (RFC 9520 section 3.2). */
const FAILURE_TIME = 5_000
const MAX_FAILURE_TIME = 30_000
/** Fetched again before its time: what was asked for so often, lives so many ms, and has this share of them left. */
const HOT_HITS = 2
const MIN_RENEWED = 10_000
const RENEW_SHARE = 0.1

export class UpstreamCache {
  readonly #now: () => number
  readonly #positive = new LRUCache<string, Entry>({
    maxSize: MAX_BYTES,
    sizeCalculation: ({ template: { wire, ttls } }, key) =>
      wire.length * 2 + key.length + ttls.length * OFFSET_COST + ENTRY_COST,
  })
  readonly #negative = new LRUCache<string, Entry>({ max: MAX_NEGATIVE })
  readonly #failures = new LRUCache<string, { received: Received; at: number; pause: number }>({ max: MAX_FAILURES })

  /** `now`: ms. */
  constructor(now: () => number) {
    this.#now = now
  }

  get(key: string): Kept | undefined {
    const entry = this.#positive.get(key) ?? this.#negative.get(key)
    if (!entry) return undefined
    const now = this.#now()
    // Before it was stored: the clock was set back, and its time cannot be told.
    if (now < entry.storedAt || now >= entry.expiresAt + STALE_TIME) return undefined
    if (now >= entry.expiresAt) return { template: staleTemplate(entry), fresh: false, renew: true, lifetime: 0 }
    entry.hits++
    const lifetime = entry.expiresAt - entry.storedAt
    const left = entry.expiresAt - now - lifetime * RENEW_SHARE
    age(entry, Math.floor((now - entry.storedAt) / 1000))
    return {
      template: entry.template,
      fresh: true,
      renew: left <= 0 && lifetime >= MIN_RENEWED && entry.hits > HOT_HITS,
      lifetime: Math.max(0, Math.floor(left / 1000)),
    }
  }

  /** What may not be kept replaces nothing: what was there may still stand in for it one day. */
  set(key: string, { template, lifetime }: Received): void {
    this.#failures.delete(key)
    if (lifetime <= 0) return
    this.#positive.delete(key)
    this.#negative.delete(key)
    const storedAt = this.#now()
    const room = template.ends.length === 0 ? this.#negative : this.#positive
    room.set(key, {
      template: owned(template),
      storedAt,
      expiresAt: storedAt + lifetime * 1000,
      aged: 0,
      hits: 0,
    })
  }

  /** The failure that holds now. */
  failure(key: string): Received | undefined {
    const failure = this.#failures.get(key)
    if (!failure) return undefined
    const age = this.#now() - failure.at
    return age >= 0 && age < failure.pause ? failure.received : undefined
  }

  fail(key: string, received: Received): void {
    const before = this.#failures.get(key)
    const at = this.#now()
    const again = before !== undefined && at - before.at < MAX_FAILURE_TIME * 2
    const pause = again ? Math.min(before.pause * 2, MAX_FAILURE_TIME) : FAILURE_TIME
    this.#failures.set(key, { received: { ...received, template: owned(received.template) }, at, pause })
  }
}

/** Once for all who ask within the same second. */
function age(entry: Entry, seconds: number): void {
  const { wire, ttls } = entry.template
  if (seconds === entry.aged) return
  for (const at of ttls) wire.writeUInt32BE(wire.readUInt32BE(at) + entry.aged - seconds, at)
  entry.aged = seconds
}

function staleTemplate(entry: Entry): Template {
  if (entry.stale) return entry.stale
  const template = owned(entry.template)
  for (const at of template.ttls) template.wire.writeUInt32BE(STALE_TTL, at)
  const missing = ((template.wire[3] as number) & 0x0f) === RCODE.NXDOMAIN
  const ede = extendedError(missing ? EDE.STALE_NXDOMAIN : EDE.STALE, 'the upstream could not be asked again')
  entry.stale = { ...template, ede }
  return entry.stale
}
