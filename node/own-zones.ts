/** The zones whose keys this home holds: what they say, signing them with a seq that only grows, publishing them. */

import type { Rr } from './core/dns.ts'
import { type Bytes, equalBytes, fromHex, toHex } from './core/encoding.ts'
import { isError } from './core/errors.ts'
import { type KeyPair, zoneKey } from './core/keys.ts'
import { encodeLease, encodeNamed, type Lease, leaseDhtKey, parseLease } from './core/lease.ts'
import { keyNameOf } from './core/name.ts'
import { rrFromText } from './core/rdata.ts'
import { newerZone, parseZone, signZone, type Zone, zoneDhtKey } from './core/zone.ts'
import { keyedLocks } from './net/locks.ts'
import type { RecordNetwork } from './net/record-network.ts'
import type { Publisher } from './publisher.ts'
import type { Table } from './store.ts'

/** As it is stored; bytes in hex. */
export interface ZoneState {
  rrs: { name: string; type: number; ttl: number; rdata: string }[]
  /** `self`, or a multiaddr with a peer id, that `_dnsaddr` names. */
  peers: string[]
  /** The last signed record, empty before the first. */
  signed: string
  /** The lease of the short name, empty for a zone that is only a key name. */
  lease: string
  /** How often its key was rotated; absent: never. */
  generation?: number
}

export interface OwnZone {
  /** The label that its key is derived from: `alice` for `alice.p2p`. */
  label: string
  /** How often its key was rotated. */
  generation: number
  pair: KeyPair
  keyName: string
  rrs: Rr[]
  peers: string[]
  zone: Zone | undefined
  lease: Lease | undefined
}

/** Signed anew at least this often, since readers call a record stale after 48 h. */
const RESIGN_MS = 20 * 3600_000
/** Also how soon one that could not be signed anew, since the network was away, is tried again. */
const CHECK_MS = 60_000
/** Rotations of one key that a restored home looks through; each costs some 50 µs. */
const MAX_GENERATIONS = 64

export class OwnZones {
  readonly #master: Bytes
  readonly #table: Table<ZoneState>
  readonly #network: RecordNetwork
  readonly #publisher: Publisher
  /** This node's own multiaddrs, as others may reach it. */
  readonly #addresses: () => string[]
  readonly #now: () => number
  readonly #zones = new Map<string, OwnZone>()
  /** For work on the zone of a label from reading it to publishing it, so that no change is lost to another one. */
  readonly oneAtATime = keyedLocks()
  #checking = false
  #timer: NodeJS.Timeout | undefined

  constructor(parts: {
    master: Bytes
    table: Table<ZoneState>
    network: RecordNetwork
    publisher: Publisher
    addresses: () => string[]
    now: () => number
  }) {
    this.#master = parts.master
    this.#table = parts.table
    this.#network = parts.network
    this.#publisher = parts.publisher
    this.#addresses = parts.addresses
    this.#now = parts.now
  }

  async load(): Promise<void> {
    for await (const [label, state] of this.#table.entries()) this.#zones.set(label, this.#restore(label, state))
  }

  all(): OwnZone[] {
    return [...this.#zones.values()]
  }

  byLabel(label: string): OwnZone | undefined {
    return this.#zones.get(label)
  }

  byKey(key: Bytes): OwnZone | undefined {
    return this.all().find((own) => equalBytes(own.pair.publicKey, key))
  }

  /** The zone of `label`; a new one takes over what the network still holds of it, from before this machine's time. */
  async open(label: string, signal?: AbortSignal): Promise<OwnZone> {
    const known = this.#zones.get(label)
    if (known) return known
    const own = this.#restore(label, { rrs: [], peers: ['self'], signed: '', lease: '' })
    try {
      return await this.#newest(own, signal)
    } catch (error) {
      if (isError(error, 'network_unreachable')) return own
      throw error
    }
  }

  /** The same zone under the key of another generation, where it was never signed yet. Nothing is stored. */
  underGeneration(own: OwnZone, generation: number): OwnZone {
    const pair = zoneKey(this.#master, own.label, generation)
    return { ...own, generation, pair, keyName: keyNameOf(pair.publicKey), zone: undefined }
  }

  /** The zone under a later key of this home, as the network has it: a home restored after a rotation began with the first. */
  async adoptGeneration(own: OwnZone, generation: number, signal?: AbortSignal): Promise<OwnZone> {
    return this.#newest(this.underGeneration(own, generation), signal)
  }

  /** Which generation of the key of `label` is `owner`: a restored home knows only the first. */
  generationOf(label: string, owner: Bytes): number | undefined {
    for (let generation = 0; generation < MAX_GENERATIONS; generation++) {
      if (equalBytes(zoneKey(this.#master, label, generation).publicKey, owner)) return generation
    }
    return undefined
  }

  /**
   * Signs and publishes; the record is on disk before anybody else sees it. Resolves to how many others took it.
   * Errors: too_large; record_older when another machine with the same seed was here, whose zone is then taken over.
   */
  async publish(own: OwnZone, signal?: AbortSignal): Promise<number> {
    const last = own.zone?.seq ?? 0n
    const now = BigInt(this.#now()) * 1000n
    const zone = signZone(own.pair, now > last ? now : last + 1n, [...own.rrs, ...this.#dnsaddr(own)])
    const signed = { ...own, zone }
    await this.#save(signed)
    const puts = [this.#publisher.publish(zoneDhtKey(zone.key), zone.bytes, signal)]
    if (own.lease !== undefined) {
      const key = leaseDhtKey(own.lease.claim.rid, own.lease.claim.name)
      puts.push(this.#publisher.publish(key, encodeNamed(own.lease, zone.bytes), signal))
    }
    try {
      return Math.min(...(await Promise.all(puts)))
    } catch (error) {
      if (isError(error, 'record_older')) await this.#save(await this.#newest(signed, signal))
      throw error
    }
  }

  /** Signs anew what is nearly a day old, lacks an address that this node has, or was signed and not published. */
  start(): void {
    const check = async () => {
      if (this.#checking) return
      this.#checking = true
      for (const label of this.#zones.keys()) {
        // What cannot be read from the network or published now waits for the next check.
        await this.oneAtATime(label, () => this.#renew(label)).catch(() => {})
      }
      this.#checking = false
    }
    void check()
    this.#timer = setInterval(() => void check(), CHECK_MS)
    this.#timer.unref()
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  async #renew(label: string): Promise<void> {
    const own = this.#zones.get(label)
    if (own?.zone === undefined || !(await this.#isDue(own, own.zone))) return
    await this.publish(await this.#newest(own))
  }

  async #isDue(own: OwnZone, zone: Zone): Promise<boolean> {
    if (this.#now() - Number(zone.seq / 1000n) > RESIGN_MS) return true
    if (!(await this.#publisher.holds(zoneDhtKey(zone.key), zone.bytes))) return true
    const published = zone.rrs.filter((rr) => rr.name === '_dnsaddr').map((rr) => toHex(rr.rdata))
    return this.#dnsaddr(own).some((rr) => !published.includes(toHex(rr.rdata)))
  }

  /** `_dnsaddr` TXT records (libp2p dnsaddr form) of the peers that serve the name. */
  #dnsaddr(own: OwnZone): Rr[] {
    const addresses = own.peers.flatMap((peer) => (peer === 'self' ? this.#addresses() : [peer]))
    return addresses.map((address) => rrFromText({ label: '_dnsaddr', type: 'TXT', data: `dnsaddr=${address}` }))
  }

  /** The zone as the network has it where that is newer, from before this machine's time or by another with its seed. */
  async #newest(own: OwnZone, signal?: AbortSignal): Promise<OwnZone> {
    const key = own.pair.publicKey
    const found = await this.#network.get(zoneDhtKey(key), { wait: 'best', ...(signal ? { signal } : {}) })
    const zone = found && parseZone(found.value, { key })
    if (zone === undefined || (own.zone !== undefined && newerZone(zone, own.zone) <= 0)) return own
    return { ...own, zone, rrs: zone.rrs.filter((rr) => rr.name !== '_dnsaddr') }
  }

  #restore(label: string, state: ZoneState): OwnZone {
    const generation = state.generation ?? 0
    const pair = zoneKey(this.#master, label, generation)
    return {
      label,
      generation,
      pair,
      keyName: keyNameOf(pair.publicKey),
      rrs: state.rrs.map((rr) => ({ ...rr, rdata: fromHex(rr.rdata) })),
      peers: state.peers,
      zone: state.signed === '' ? undefined : parseZone(fromHex(state.signed), { key: pair.publicKey }),
      lease: state.lease === '' ? undefined : parseLease(fromHex(state.lease)),
    }
  }

  async #save(own: OwnZone): Promise<void> {
    await this.#table.put(own.label, {
      rrs: own.rrs.map((rr) => ({ ...rr, rdata: toHex(rr.rdata) })),
      peers: own.peers,
      signed: own.zone === undefined ? '' : toHex(own.zone.bytes),
      lease: own.lease === undefined ? '' : toHex(encodeLease(own.lease)),
      generation: own.generation,
    })
    this.#zones.set(own.label, own)
  }
}
