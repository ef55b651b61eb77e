/** The zones whose keys this home holds: what they say, signing them with a seq that only grows, publishing them. */

import type { Rr } from './core/dns.ts'
import { type Bytes, equalBytes, fromHex, toHex } from './core/encoding.ts'
import { P2pnsError } from './core/errors.ts'
import { type KeyPair, zoneKey } from './core/keys.ts'
import { encodeLease, encodeNamed, type Lease, leaseDhtKey, parseLease } from './core/lease.ts'
import { keyNameOf } from './core/name.ts'
import { rrFromText } from './core/rdata.ts'
import { parseZone, signZone, type Zone, zoneDhtKey } from './core/zone.ts'
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
}

export interface OwnZone {
  /** The label that its key is derived from: `alice` for `alice.p2p`. */
  label: string
  pair: KeyPair
  keyName: string
  rrs: Rr[]
  peers: string[]
  zone: Zone | undefined
  lease: Lease | undefined
}

/** Signed anew at least this often, since readers call a record stale after 48 h. */
const RESIGN_MS = 20 * 3600_000
const CHECK_MS = 10 * 60_000

export class OwnZones {
  readonly #master: Bytes
  readonly #table: Table<ZoneState>
  readonly #network: RecordNetwork
  readonly #publisher: Publisher
  /** This node's own multiaddrs, as others may reach it. */
  readonly #addresses: () => string[]
  readonly #now: () => number
  readonly #zones = new Map<string, OwnZone>()
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
    const published = await this.#published(own, signal)
    if (published !== undefined) {
      own.zone = published
      own.rrs = published.rrs.filter((rr) => rr.name !== '_dnsaddr')
    }
    return own
  }

  /** Signs and publishes; the record is on disk before anybody else sees it. Resolves to how many others took it. */
  async publish(own: OwnZone, signal?: AbortSignal): Promise<number> {
    const last = own.zone?.seq ?? 0n
    const now = BigInt(this.#now()) * 1000n
    const zone = signZone(own.pair, now > last ? now : last + 1n, [...own.rrs, ...this.#dnsaddr(own)])
    own.zone = zone
    this.#zones.set(own.label, own)
    await this.#save(own)
    const puts = [this.#publisher.publish(zoneDhtKey(zone.key), zone.bytes, signal)]
    if (own.lease !== undefined) {
      const key = leaseDhtKey(own.lease.claim.rid, own.lease.claim.name)
      puts.push(this.#publisher.publish(key, encodeNamed(own.lease, zone.bytes), signal))
    }
    return Math.min(...(await Promise.all(puts)))
  }

  /** Signs anew what is a day old, and at the start what names an address that this node no longer has. */
  start(): void {
    const check = async () => {
      for (const own of this.all()) {
        if (own.zone !== undefined && this.#isDue(own, own.zone)) await this.publish(own).catch(() => {})
      }
    }
    void check()
    this.#timer = setInterval(() => void check(), CHECK_MS)
    this.#timer.unref()
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  #isDue(own: OwnZone, zone: Zone): boolean {
    if (this.#now() - Number(zone.seq / 1000n) > RESIGN_MS) return true
    const published = zone.rrs.filter((rr) => rr.name === '_dnsaddr').map((rr) => toHex(rr.rdata))
    return this.#dnsaddr(own).some((rr) => !published.includes(toHex(rr.rdata)))
  }

  /** `_dnsaddr` TXT records (libp2p dnsaddr form) of the peers that serve the name. */
  #dnsaddr(own: OwnZone): Rr[] {
    const addresses = own.peers.flatMap((peer) => (peer === 'self' ? this.#addresses() : [peer]))
    return addresses.map((address) => rrFromText({ label: '_dnsaddr', type: 'TXT', data: `dnsaddr=${address}` }))
  }

  async #published(own: OwnZone, signal?: AbortSignal): Promise<Zone | undefined> {
    const key = zoneDhtKey(own.pair.publicKey)
    try {
      const found = await this.#network.get(key, { wait: 'best', ...(signal ? { signal } : {}) })
      return found && parseZone(found.value, { key: own.pair.publicKey })
    } catch (error) {
      if (error instanceof P2pnsError && error.code === 'network_unreachable') return undefined
      throw error
    }
  }

  #restore(label: string, state: ZoneState): OwnZone {
    const pair = zoneKey(this.#master, label)
    return {
      label,
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
    })
  }
}
