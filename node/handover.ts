/** Changing what a short name stands for, from asking where it stands to publishing what became of it. */
import { randomBytes } from 'node:crypto'
import type { Job } from './contract.ts'
import { isRelease } from './core/claim.ts'
import type { Rr } from './core/dns.ts'
import { type Bytes, fromHex, toHex, toZ32 } from './core/encoding.ts'
import { P2pnsError } from './core/errors.ts'
import { encodeNamed, type Lease, leaseDhtKey, parseNamed } from './core/lease.ts'
import { keyNameOf, parseName } from './core/name.ts'
import { parseZone, type Zone, zoneDhtKey } from './core/zone.ts'
import type { OwnZone, OwnZones } from './own-zones.ts'
import type { Publisher } from './publisher.ts'
import { type PromisedTable, parseAddress, type Received, receive as receiveName } from './receive.ts'
import { renewableFrom } from './renewal.ts'
import { type StandingParts, standingOf } from './standing.ts'
import type { Table } from './store.ts'
import {
  baseOf,
  keepName,
  type PendingChange,
  releaseName,
  renewName,
  rotateName,
  type Succeeded,
  type SuccessionParts,
  transferName,
} from './succession.ts'
import { recoverySeed } from './words.ts'

export interface HandoverParts extends StandingParts {
  own: OwnZones
  publisher: Publisher
  changes: Table<PendingChange>
  recoveries: Table<string>
  promised: PromisedTable
}

export interface Changed {
  name: string
  /** Of the key that the name stands for now; none after a release. */
  keyName?: string
  version: number
  /** When the lease ends, ISO 8601. */
  until: string
  /** Nodes that stored the record, introducers included. */
  stored: number
  /** With a new recovery key: its seed in z-base-32, again on every call until `recoveryShown`. */
  recovery?: string
  /** What the person should know. */
  notes: string[]
}

/** `recovery`: the seed of the recovery key, in z-base-32 or as words. */
export interface NameChanges {
  transfer(request: { name: string; to: string; recovery: string }, job?: Job): Promise<Changed>
  rotate(request: { name: string; recovery: string }, job?: Job): Promise<Changed>
  release(request: { name: string; recovery: string }, job?: Job): Promise<Changed>
  renew(request: { name: string }, job?: Job): Promise<Changed>
  /** An address for whoever gives the name away. */
  receive(request: { name: string }, job?: Job): Promise<Received>
  /** The person has seen the recovery key of this name: it is forgotten here. */
  recoveryShown(name: string): Promise<void>
}

export function nameChanges(parts: HandoverParts): NameChanges {
  return {
    async transfer({ name, to, recovery }, job) {
      const address = parseAddress(to)
      const seed = recoverySeed(recovery)
      return change(parts, name, job, (state) => transferName(state, address, seed), given)
    },
    async rotate({ name, recovery }, job) {
      const seed = recoverySeed(recovery)
      return change(parts, name, job, (state, own) => rotate(parts, state, own, seed), kept)
    },
    async release({ name, recovery }, job) {
      const seed = recoverySeed(recovery)
      return change(parts, name, job, (state) => releaseName(state, seed), given)
    },
    renew: ({ name }, job) => change(parts, name, job, (state, own) => renew(parts, state, own), kept),
    receive: async ({ name }, { signal } = {}) => receiveName(parts, labelOf(name), signal),
    async recoveryShown(name) {
      const lease = parts.own.byLabel(labelOf(name))?.lease
      if (lease !== undefined) await parts.recoveries.delete(toHex(lease.claim.recoveryHash))
    },
  }
}

/** The recovery key of a lease that this home made and nobody has seen yet, in z-base-32. */
async function unshownRecovery(recoveries: Table<string>, lease: Lease): Promise<string | undefined> {
  const seed = await recoveries.get(toHex(lease.claim.recoveryHash))
  return seed === undefined ? undefined : toZ32(fromHex(seed))
}

type Publish = (parts: HandoverParts, own: OwnZone, lease: Lease, signal?: AbortSignal) => Promise<Outcome>
type Outcome = Pick<Changed, 'stored' | 'notes'>

/** One change at a time to a name: it is forgotten as pending only when what it led to is on disk. */
async function change(
  parts: HandoverParts,
  name: string,
  { signal, onProgress }: Job = {},
  succeed: (state: SuccessionParts, own: OwnZone) => Promise<Succeeded>,
  publish: Publish,
): Promise<Changed> {
  const label = labelOf(name)
  return parts.own.oneAtATime(label, async () => {
    const own = await parts.own.open(label, signal)
    onProgress?.({ phase: 'witnessing', done: 0, total: 0 })
    const standing = await standingOf(parts, label, own.lease ?? (await baseOf(parts.changes, label)), signal)
    const { changes, recoveries, now } = parts
    const state = { ...standing, changes, recoveries, now, random: randomBytes, ...(signal ? { signal } : {}) }
    const { lease, settled } = await succeed(state, own)
    onProgress?.({ phase: 'publishing', done: 0, total: 0 })
    const { stored, notes } = await publish(parts, own, lease, signal)
    await settled()
    const recovery = await unshownRecovery(recoveries, lease)
    return {
      name: `${label}.p2p`,
      ...(isRelease(lease.claim) ? {} : { keyName: keyNameOf(lease.claim.owner) }),
      version: lease.claim.version,
      until: new Date(lease.claim.until * 1000).toISOString(),
      stored,
      ...(recovery !== undefined ? { recovery } : {}),
      notes,
    }
  })
}

function labelOf(text: string): string {
  const name = parseName(text)
  if (name.kind !== 'short' || name.labels.length > 0) {
    throw new P2pnsError('name_invalid', `"${name.text}" is not a short name that has a lease of its own`)
  }
  return name.short
}

/** To the next key of this home, or to its first if the name was on another home's. */
function rotate(parts: HandoverParts, state: SuccessionParts, own: OwnZone, seed: Bytes): Promise<Succeeded> {
  const generationOf = (owner: Bytes) => parts.own.generationOf(own.label, owner)
  const current = generationOf(state.lease.claim.owner)
  const next = parts.own.underGeneration(own, current === undefined ? own.generation : current + 1)
  return rotateName(state, next.pair.publicKey, (owner) => generationOf(owner) !== undefined, seed)
}

/** What is not due yet stays as it is. */
async function renew(parts: HandoverParts, state: SuccessionParts, own: OwnZone): Promise<Succeeded> {
  const { lease } = state
  const generation = parts.own.generationOf(own.label, lease.claim.owner)
  if (generation === undefined) throw new P2pnsError('name_not_yours', `${own.label}.p2p is on a key that is not here`)
  if (parts.now() < renewableFrom(lease)) return keepName(state)
  return renewName(state, parts.own.underGeneration(own, generation).pair)
}

/** The name stays here: the zone is signed with the key that the lease names, and says what it said. */
const kept: Publish = async (parts, own, lease, signal) => {
  const zone = await underLease(parts, own, lease, signal)
  const stored = await parts.own.publish({ ...zone, lease }, signal)
  return { stored, notes: stored === 0 ? [NOBODY] : [] }
}

/** The zone on the key that the lease names; what this home does not know of it, the network may. */
async function underLease(parts: HandoverParts, own: OwnZone, lease: Lease, signal?: AbortSignal): Promise<OwnZone> {
  const { owner, rid, name } = lease.claim
  const generation = parts.own.generationOf(own.label, owner) ?? own.generation
  const zone = generation === own.generation ? own : parts.own.underGeneration(own, generation)
  if (zone.zone !== undefined) return zone
  // A home that was restored after a rotation began with the first key: its zone goes on where the network has it.
  const published = await zoneAt(parts, zoneDhtKey(owner), (value) => value, signal)
  if (published !== undefined) return { ...zone, zone: published, rrs: spoken(published) }
  if (own.zone !== undefined) return zone
  // The name comes from another home: what it says stays.
  const last = await zoneAt(parts, leaseDhtKey(rid, name), (value) => parseNamed(value).zoneBytes, signal)
  return last === undefined ? zone : { ...zone, rrs: spoken(last) }
}

function spoken({ rrs }: Zone): Rr[] {
  return rrs.filter((rr) => rr.name !== '_dnsaddr')
}

/** The name goes: what leads to it is replaced, and the zone stays here under its key name. */
const given: Publish = async (parts, own, lease, signal) => {
  const { claim } = lease
  const notes: string[] = []
  const zone = isRelease(claim) ? undefined : await zoneAt(parts, zoneDhtKey(claim.owner), (value) => value, signal)
  let stored = 0
  if (isRelease(claim) || zone !== undefined) {
    const value = encodeNamed(lease, zone?.bytes ?? new Uint8Array(0))
    stored = await parts.publisher.publish(leaseDhtKey(claim.rid, claim.name), value, signal)
    if (stored === 0) notes.push(NOBODY)
  } else {
    notes.push(`Its new owner has nothing published yet; \`p2pns register ${claim.name}.p2p\` there does that.`)
  }
  if (own.lease !== undefined) await parts.own.publish({ ...own, lease: undefined }, signal)
  return { stored, notes }
}

const NOBODY = 'No other node was there to store it yet; a running node (p2pns up) keeps trying.'

/** The zone record that `read` finds in what the network holds under `key`; undefined when it cannot be had. */
async function zoneAt(
  { network }: HandoverParts,
  key: Bytes,
  read: (value: Bytes) => Bytes,
  signal?: AbortSignal,
): Promise<Zone | undefined> {
  try {
    const found = await network.get(key, { wait: 'best', ...(signal ? { signal } : {}) })
    return found && parseZone(read(found.value), {})
  } catch {
    signal?.throwIfAborted()
    return undefined
  }
}
