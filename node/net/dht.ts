/** The DHT as p2pns uses it: validators from the record table, an early-exit get, a counting put, providers. */
import type { PeerId } from '@libp2p/interface'
import {
  EventTypes,
  type KadDHT,
  kadDHT,
  MessageType,
  type PeerResponseEvent,
  passthroughMapper,
} from '@libp2p/kad-dht'
import type { Multiaddr } from '@multiformats/multiaddr'
import type { CID } from 'multiformats/cid'
import { type Bytes, equalBytes } from '../core/encoding.ts'
import { isError, P2pnsError } from '../core/errors.ts'
import { checkRecord, compareRecords, isUntimely, RECORD_KINDS } from '../core/records.ts'
import type { Nearby } from './nearby.ts'
import type { RecordGuard } from './record-guard.ts'

/** Our own network: not a part of the IPFS one, whose nodes would refuse our records. */
export const DHT_PROTOCOL = '/p2pns/kad/1.0.0'

/** A get ends after this many remote answers, which is as many as are asked at once of the nodes that are connected. */
export const ENOUGH_ANSWERS = 4
/** Or this long after the first answer (ms), or when all that are connected have answered: an old record may be the fastest. */
const SETTLE_MS = 250
/** Of those that are connected so many must have had the record, or the others are asked as well: one alone may hold an old one. */
const SECOND_OPINION = 2
/** Milliseconds that the nodes that are connected have before the library's query begins; those that are alive need less. */
const NEARBY_MS = 1_000
/** A get, put or provider search that found nothing by then has failed. */
const QUERY_TIMEOUT_MS = 15_000

/**
 * The kad-dht service of a host; `stores`: it keeps records for others and answers them. Each option answers a trap of the library's defaults (docs/decisions/0003-kad-dht.md).
 */
export function dhtService(now: () => number, stores: boolean): ReturnType<typeof kadDHT> {
  const namespaces = Object.keys(RECORD_KINDS)
  return kadDHT({
    protocol: DHT_PROTOCOL,
    // Unset would mean client until a public address is seen, and one peer of a LAN would never store for another.
    clientMode: !stores,
    // The default drops private addresses, and with them every LAN.
    peerInfoMapper: passthroughMapper,
    allowQueryWithZeroPeers: true,
    initialQuerySelfInterval: 1,
    // A dead peer in the table costs this much, not the 5 s of the default.
    networkDialTimeout: { minTimeout: 800, maxTimeout: 3000 },
    validators: Object.fromEntries(
      namespaces.map((name) => [name, (key: Bytes, value: Bytes) => checkRecord(key, value, now())]),
    ),
    selectors: Object.fromEntries(
      namespaces.map((name) => [name, (key: Bytes, values: Bytes[]) => indexOfBest(key, values, now())]),
    ),
  })
}

function indexOfBest(key: Bytes, values: Bytes[], now: number): number {
  let best = 0
  for (let i = 1; i < values.length; i++) {
    if (compareRecords(key, values[i] as Bytes, values[best] as Bytes, now) > 0) best = i
  }
  return best
}

export interface Found {
  value: Bytes
  /** Remote nodes that answered with a valid record. */
  answers: number
  /** Nobody answered anything: the value is what this node stores itself. */
  alone: boolean
}

export interface ProviderPeer {
  id: PeerId
  addresses: Multiaddr[]
}

export class Dht {
  readonly #kad: KadDHT
  readonly #records: RecordGuard
  readonly #now: () => number
  readonly #nearby: Nearby | undefined

  /** `records`: what this node stores itself. `nearby`: those to ask first. */
  constructor(kad: KadDHT, records: RecordGuard, now: () => number, nearby?: Nearby) {
    this.#nearby = nearby
    this.#kad = kad
    this.#records = records
    this.#now = now
  }

  /**
   * The best record under `key` among the first answers; undefined when the nodes that were asked have none. Reads the
   * answers of single peers: the library's own get converges fully, sends corrections, and throws away the value when
   * one storing node refuses its correction. `onSeen` is told of every valid answer, also of those that are not the best.
   * What this node stores itself is an answer too. Errors: network_unreachable when nobody answered at all; seq_in_future,
   * clock_wrong, lease_expired when all that was there is refused by this machine's clock alone.
   */
  async get(
    key: Bytes,
    options: { signal?: AbortSignal; onSeen?: (value: Bytes) => void } = {},
  ): Promise<Found | undefined> {
    const settled = new AbortController()
    const signal = anySignal([options.signal, settled.signal, AbortSignal.timeout(QUERY_TIMEOUT_MS)])
    let timer: NodeJS.Timeout | undefined
    let best = await this.#records.value(key)
    let answers = 0
    let replies = 0
    let untimely: P2pnsError | undefined
    try {
      for await (const event of this.#replies(key, signal, () => answers >= SECOND_OPINION)) {
        replies++
        if (event.record === undefined) continue
        const refusal = this.#refusal(key, event.record.value)
        if (isUntimely(refusal)) untimely ??= refusal
        if (refusal !== undefined) continue
        answers++
        options.onSeen?.(event.record.value)
        best = this.#better(key, best, event.record.value)
        if (answers >= ENOUGH_ANSWERS) break
        timer ??= setTimeout(() => settled.abort(), SETTLE_MS)
      }
    } catch (cause) {
      options.signal?.throwIfAborted()
      if (best === undefined && replies === 0) {
        throw new P2pnsError('network_unreachable', 'No node of the network answered', { cause })
      }
    } finally {
      clearTimeout(timer)
      settled.abort()
    }
    if (best === undefined && replies === 0) {
      throw new P2pnsError('network_unreachable', 'No node of the network answered')
    }
    if (best === undefined && untimely !== undefined) throw untimely
    return best === undefined ? undefined : { value: best, answers, alone: replies === 0 }
  }

  /**
   * Stores a record on the closest nodes and here; resolves to the number of other nodes that took it.
   * Errors: record_older when this node already holds a newer one.
   */
  async put(key: Bytes, value: Bytes, options: { signal?: AbortSignal } = {}): Promise<number> {
    checkRecord(key, value, this.#now())
    const signal = anySignal([options.signal, AbortSignal.timeout(QUERY_TIMEOUT_MS)])
    let stored = 0
    try {
      for await (const event of this.#kad.put(key, value, { signal })) {
        if (event.type !== EventTypes.PEER_RESPONSE || event.messageType !== MessageType.PUT_VALUE) continue
        if (event.record !== undefined && equalBytes(event.record.value, value)) stored++
      }
    } catch (cause) {
      options.signal?.throwIfAborted()
      const ours = findOurs(cause)
      if (ours !== undefined) throw ours
      // Time ran out, or the last of the queries failed: what was stored, stays stored.
    }
    return stored
  }

  /** Announces that this node holds `cid` to the closest nodes; resolves to how many were told. kad-dht renews it by itself. */
  async provide(cid: CID, options: { signal?: AbortSignal } = {}): Promise<number> {
    const signal = anySignal([options.signal, AbortSignal.timeout(QUERY_TIMEOUT_MS)])
    let told = 0
    try {
      for await (const event of this.#kad.provide(cid, { signal })) {
        if (event.type === EventTypes.PEER_RESPONSE && event.messageType === MessageType.ADD_PROVIDER) told++
      }
    } catch {
      options.signal?.throwIfAborted()
    }
    return told
  }

  /** Peers that announced `cid`, each once, as they are found. Ends quietly when the network has no more to say. */
  async *providers(cid: CID, options: { signal?: AbortSignal } = {}): AsyncIterable<ProviderPeer> {
    const signal = anySignal([options.signal, AbortSignal.timeout(QUERY_TIMEOUT_MS)])
    const seen = new Set<string>()
    try {
      for await (const event of this.#kad.findProviders(cid, { signal })) {
        if (event.type !== EventTypes.PROVIDER) continue
        for (const peer of event.providers) {
          if (seen.has(peer.id.toString())) continue
          seen.add(peer.id.toString())
          yield { id: peer.id, addresses: peer.multiaddrs }
        }
      }
    } catch {
      options.signal?.throwIfAborted()
    }
  }

  /** What single nodes answer: first those that are connected, then, when too few of them had it, those of the library's query. */
  async *#replies(key: Bytes, signal: AbortSignal, isEnough: () => boolean): AsyncIterable<PeerResponseEvent> {
    if (this.#nearby) yield* this.#nearby(key, anySignal([signal, AbortSignal.timeout(NEARBY_MS)]))
    if (isEnough()) return
    for await (const event of this.#kad.get(key, { signal })) if (event.type === EventTypes.PEER_RESPONSE) yield event
  }

  #refusal(key: Bytes, value: Bytes): unknown {
    try {
      checkRecord(key, value, this.#now())
      return undefined
    } catch (error) {
      return error
    }
  }

  #better(key: Bytes, best: Bytes | undefined, value: Bytes): Bytes {
    return best !== undefined && compareRecords(key, best, value, this.#now()) >= 0 ? best : value
  }
}

function anySignal(signals: (AbortSignal | undefined)[]): AbortSignal {
  return AbortSignal.any(signals.filter((signal) => signal !== undefined))
}

/** Our own error somewhere in a chain of causes. */
function findOurs(error: unknown): P2pnsError | undefined {
  for (let at = error; at instanceof Error; at = at.cause) if (isError(at)) return at
  return undefined
}
