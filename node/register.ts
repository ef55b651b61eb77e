/** Registering: a zone of one's own, a lease for its short name where witnesses are at hand, published. */
import { randomBytes } from 'node:crypto'
import { type Claimed, claimName, type PendingClaim, unsettled } from './claims.ts'
import type { Job, Registered, RegisterRequest } from './contract.ts'
import { isRelease } from './core/claim.ts'
import { toZ32 } from './core/encoding.ts'
import { isError, P2pnsError } from './core/errors.ts'
import { gatherLeases } from './core/gather.ts'
import { compareLeases, type Lease, leaseDhtKey, parseNamed, verifyLease } from './core/lease.ts'
import { type Name, parseName, SUFFIX } from './core/name.ts'
import { rrFromText } from './core/rdata.ts'
import { type Realm, realmId } from './core/realm.ts'
import type { Names } from './names.ts'
import { parseAddress, peerIdOf } from './net/host.ts'
import type { Introducer } from './net/introducers.ts'
import type { RecordNetwork } from './net/record-network.ts'
import type { OwnZone, OwnZones } from './own-zones.ts'
import { isPromised, type PromisedTable } from './receive.ts'
import type { Table } from './store.ts'
import type { Witnesses } from './witnesses.ts'
import { recoverySeed, wordsOf } from './words.ts'

export interface RegisterParts {
  own: OwnZones
  names: Names
  network: RecordNetwork
  pending: Table<PendingClaim>
  promised: PromisedTable
  witnesses: Witnesses
  now: () => number
}

/** `content`: the manifest that the name shall point to. */
export async function register(
  parts: RegisterParts,
  request: RegisterRequest & { content?: string },
  { signal, onProgress }: Job = {},
): Promise<Registered> {
  const name = parseName(request.name)
  if (name.kind === 'pet') {
    throw new P2pnsError(
      'name_invalid',
      `${name.apex} is a petname, which only this machine knows and nobody registers`,
    )
  }
  return parts.own.oneAtATime(labelOf(parts, name), () => registerZone(parts, name, request, { signal, onProgress }))
}

async function registerZone(
  parts: RegisterParts,
  name: Name,
  request: RegisterRequest & { content?: string },
  { signal, onProgress }: Job,
): Promise<Registered> {
  // A draft: what fails on the way leaves the zone as it was.
  let own = { ...(await parts.own.open(labelOf(parts, name), signal)) }
  change(own, name, request)
  const notes: string[] = []
  let claimed: Granted | undefined = own.lease && (await unsettled(own.lease, parts.pending))
  if (name.kind === 'short' && own.lease === undefined) {
    onProgress?.({ phase: 'witnessing', done: 0, total: 0 })
    claimed = await claim(parts, name.short, own, signal)
    if (claimed === undefined) {
      notes.push(
        `No introducer could witness ${name.apex}, so nobody else can look it up by that name.`,
        `It is published as ${own.keyName}, and this machine calls it ${petnameOf(name)}.`,
      )
    }
    const generation = claimed && parts.own.generationOf(own.label, claimed.lease.claim.owner)
    if (generation !== undefined && generation !== own.generation) {
      own = { ...(await parts.own.adoptGeneration(own, generation, signal)) }
      change(own, name, request)
    }
    own.lease = claimed?.lease
    if (own.lease?.auth.mode === 1 && !(await isPromised(parts.promised, own.lease))) {
      notes.push(
        `This home did not make the recovery key of ${name.short}.p2p: whoever gave you the name can take it back.`,
        'To be safe, let them transfer it again, to what `p2pns receive` prints here.',
      )
    }
  }
  onProgress?.({ phase: 'publishing', done: 0, total: 0 })
  const stored = await parts.own.publish(own, signal)
  await claimed?.settled?.()
  const recovery = claimed?.recoverySeed && toZ32(claimed.recoverySeed)
  if (recovery !== undefined)
    notes.push(
      `Recovery key of ${own.label}.p2p, shown only now; keep it offline: ${recovery}`,
      `The same in words: ${wordsOf(recoverySeed(recovery))}`,
    )
  if (stored === 0) notes.push('No other node was there to store it yet; a running node (p2pns up) keeps trying.')
  const petname = name.kind === 'short' && own.lease === undefined
  if (petname) await parts.names.setPetname(name.short, own.keyName)
  return {
    name: petname ? petnameOf(name) : name.text,
    keyName: own.keyName,
    seq: String(parts.own.byLabel(own.label)?.zone?.seq ?? 0n),
    kind: petname ? 'petname' : name.kind === 'short' ? 'short' : 'key',
    stored,
    ...(own.lease ? { until: new Date(own.lease.claim.until * 1000).toISOString() } : {}),
    ...(recovery !== undefined ? { recovery } : {}),
    notes,
  }
}

/** The label of the zone that the name stands in. */
function labelOf(parts: RegisterParts, name: Name): string {
  if (name.kind === 'short') return name.short
  const own = name.kind === 'key' ? parts.own.byKey(name.key) : undefined
  if (own === undefined) throw new P2pnsError('name_not_yours', `This home does not hold the key of ${name.apex}`)
  return own.label
}

function petnameOf(name: Name & { kind: 'short' }): string {
  return [...name.labels, name.short, 'pet', SUFFIX].join('.')
}

function change(own: OwnZone, name: Name, request: RegisterRequest & { content?: string }): void {
  const added = (request.records ?? []).map((record) =>
    rrFromText({ ...record, label: [record.label, ...name.labels].filter((part) => part !== undefined).join('.') }),
  )
  if (request.content !== undefined) {
    const label = ['_dnslink', ...name.labels].join('.')
    added.push(rrFromText({ label, type: 'TXT', data: `dnslink=/p2pns/${request.content}` }))
  }
  const replaced = new Set(added.map((rr) => `${rr.name}/${rr.type}`))
  own.rrs = [...own.rrs.filter((rr) => !replaced.has(`${rr.name}/${rr.type}`)), ...added]
  if (request.peers !== undefined) own.peers = request.peers.length > 0 ? request.peers.map(peerAddress) : ['self']
}

/** `self`, or the multiaddr that `_dnsaddr` names: of a bare peer id, which the DHT leads to, `/p2p/<id>`. */
function peerAddress(peer: string): string {
  if (peer === 'self') return peer
  const address = parseAddress(peer.startsWith('/') ? peer : `/p2p/${peer}`)
  if (!peerIdOf(address)) throw new P2pnsError('usage', `"${peer}" is neither a peer id nor an address with one`)
  return address.toString()
}

/** What makes the name ours: a lease, and with a new one what is left to do about it. */
type Granted = Pick<Claimed, 'lease'> & Partial<Claimed>

/**
 * A lease in the first realm that grants it; undefined when there is none to ask. One whose witnesses fail or break the rules
 * does not keep the others from being asked.
 */
async function claim(
  parts: RegisterParts,
  short: string,
  own: OwnZone,
  signal?: AbortSignal,
): Promise<Granted | undefined> {
  let { served, failure } = await parts.witnesses.realms(signal)
  for (const { realm, witnesses } of served) {
    try {
      const held = await heldLease(parts, realm, witnesses, own, signal)
      if (held !== undefined) return (await unsettled(held, parts.pending)) ?? { lease: held }
      return await claimName({
        short,
        owner: own.pair,
        realm,
        witnesses,
        pending: parts.pending,
        now: parts.now,
        random: randomBytes,
        ...(signal ? { signal } : {}),
      })
    } catch (error) {
      if (isError(error, 'name_taken')) {
        throw new P2pnsError('name_taken', `${short}.p2p belongs to somebody else`, { cause: error })
      }
      signal?.throwIfAborted()
      failure ??= error
    }
  }
  if (failure instanceof Error) throw failure
  return undefined
}

/**
 * The lease that the name has already: ours from before this machine's time, or a reason to ask for none. The network
 * forgets after two days without its owner, the witnesses do not.
 */
async function heldLease(
  parts: RegisterParts,
  realm: Realm,
  witnesses: readonly Introducer[],
  own: OwnZone,
  signal?: AbortSignal,
): Promise<Lease | undefined> {
  const key = leaseDhtKey(realmId(realm), own.label)
  const found = await parts.network.get(key, { wait: 'best', ...(signal ? { signal } : {}) })
  const lease = found
    ? parseNamed(found.value).lease
    : await witnessedLease(realm, witnesses, own.label, parts.now(), signal)
  if (lease === undefined || isRelease(lease.claim)) return undefined
  if (parts.own.generationOf(own.label, lease.claim.owner) === undefined) {
    if (found) throw new P2pnsError('name_taken', `${own.label}.p2p belongs to somebody else`)
    return undefined
  }
  const inForce = parts.now() < lease.claim.until * 1000
  return found || inForce ? lease : undefined
}

/** The best lease that the witnesses have signed, put together from what each of them remembers. `now` in ms. */
async function witnessedLease(
  realm: Realm,
  witnesses: readonly Introducer[],
  short: string,
  now: number,
  signal?: AbortSignal,
): Promise<Lease | undefined> {
  const answers = await Promise.allSettled(witnesses.map((witness) => witness.lease(short, signal)))
  const parts = answers.flatMap((answer) => (answer.status === 'fulfilled' && answer.value ? [answer.value] : []))
  const whole = gatherLeases(parts, realm).filter(
    ({ claim, receipts }) => claim.name === short && receipts.length >= realm.quorum,
  )
  for (const lease of whole) verifyLease(lease)
  return whole.sort((a, b) => compareLeases(b, a, now))[0]
}
