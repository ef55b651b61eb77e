/** A running node renews its leases: from the 30th day on, spread out, again and again until the witnesses have signed. */
import { claimId, freeFrom, isRelease } from './core/claim.ts'
import type { Lease } from './core/lease.ts'
import type { OwnZone } from './own-zones.ts'

const DAY_MS = 86_400_000
/** Milliseconds from the start of a claim to the first renewal that a witness signs. */
const RENEWABLE_AFTER_MS = 30 * DAY_MS
/** Milliseconds after that over which the names of the world are spread, so that no hour is everybody's. */
const SPREAD_MS = 5 * DAY_MS
/** Milliseconds before the end from which on a person should know: by then it was tried for over a month. */
const WARN_BEFORE_MS = 21 * DAY_MS
/** Also how soon a renewal that failed is tried again. */
const CHECK_MS = 3_600_000

export interface Renewal {
  /** Renews what is due now, one after the other. */
  check(): Promise<void>
  /** What went wrong the last time a name (its label) was renewed. */
  trouble(label: string): Error | undefined
  stop(): Promise<void>
}

/** `renew` resolves when the new lease is on disk; it is told when to give up. */
export function startRenewal(parts: {
  zones: () => readonly OwnZone[]
  renew: (label: string, signal: AbortSignal) => Promise<unknown>
  now: () => number
}): Renewal {
  const troubles = new Map<string, Error>()
  const stopped = new AbortController()
  let running: Promise<void> | undefined

  async function renewDue(): Promise<void> {
    for (const { label, lease } of parts.zones()) {
      if (stopped.signal.aborted) return
      if (lease === undefined || !isDue(lease, parts.now())) continue
      try {
        await parts.renew(label, stopped.signal)
        troubles.delete(label)
      } catch (error) {
        troubles.set(label, error as Error)
      }
    }
  }
  const check = (): Promise<void> => {
    running ??= renewDue().finally(() => {
      running = undefined
    })
    return running
  }

  void check()
  const timer = setInterval(() => void check(), CHECK_MS)
  timer.unref()
  return {
    check,
    trouble: (label) => troubles.get(label),
    async stop() {
      clearInterval(timer)
      stopped.abort()
      await running
    },
  }
}

/** Milliseconds since 1970 from which on the witnesses renew a lease. */
export function renewableFrom({ claim }: Lease): number {
  return claim.from * 1000 + RENEWABLE_AFTER_MS
}

/** When a running node renews it: its own time within the spread, the same after every restart. */
export function renewalAt(lease: Lease): number {
  const fraction = Buffer.from(claimId(lease.claim)).readUInt32BE() / 2 ** 32
  return renewableFrom(lease) + Math.floor(fraction * SPREAD_MS)
}

/** Until the grace is over: after that the name is anybody's. */
function isDue(lease: Lease, now: number): boolean {
  return !isRelease(lease.claim) && now >= renewalAt(lease) && now < freeFrom(lease.claim) * 1000
}

/** What a person should know of a lease that nears its end, or is past it; undefined while there is nothing to know. */
export function expiryWarning({ claim }: Lease, now: number, trouble?: Error): string | undefined {
  const left = claim.until * 1000 - now
  if (left > WARN_BEFORE_MS) return undefined
  const day = (seconds: number) => new Date(seconds * 1000).toISOString().slice(0, 10)
  const name = `${claim.name}.p2p`
  if (now >= freeFrom(claim) * 1000)
    return `${name} ended on ${day(claim.until)} and is free for anybody: register it again`
  const ends =
    left > 0
      ? `${name} ends in ${Math.ceil(left / DAY_MS)} days and was not renewed yet`
      : `${name} ended on ${day(claim.until)}; until ${day(freeFrom(claim))} nobody else can have it`
  return `${ends}${trouble ? ` (${trouble.message.replace(/\.$/, '')})` : ''}: keep a node running, or \`p2pns renew ${name}\``
}
