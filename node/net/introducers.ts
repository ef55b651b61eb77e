/** The introducers that a node, or another introducer, knows: one kept stream to each, reopened when it is next needed. */
import type { Libp2p, PeerId } from '@libp2p/interface'
import { multiaddr } from '@multiformats/multiaddr'
import { type Descriptor, parseDescriptor } from '../core/descriptor.ts'
import type { Bytes, CborValue } from '../core/encoding.ts'
import { isError, P2pnsError } from '../core/errors.ts'
import { encodeLease, type Lease, parseLease } from '../core/lease.ts'
import { checkRecord, compareRecords } from '../core/records.ts'
import { asBytes, asList, asUint } from '../core/shape.ts'
import { parseAddress, peerIdOf } from './host.ts'
import { RpcClient } from './rpc.ts'

export const INTRODUCER_PROTOCOL = '/p2pns/introducer/1'

/** After a failed dial the next question does not wait for another one this long (ms). */
const COOL_DOWN_MS = 5_000
const DIAL_TIMEOUT_MS = 5_000
/** A witness that is not alone holds a first claim for 10 s, and asks around before it signs one. */
const CLAIM_TIMEOUT_MS = 30_000

/** One introducer. Each method throws network_unreachable, peer_unreachable or timed_out when it does not answer. */
export class Introducer {
  readonly address: string
  /** That one, and others where it may be found. */
  readonly addresses: readonly string[]
  readonly peerId: string
  /** The key that its witness signs with: that of its peer id, 32 bytes. */
  readonly witnessKey: Bytes
  readonly #id: PeerId
  readonly #token: string | undefined
  readonly #libp2p: Libp2p
  readonly #now: () => number
  #client: Promise<RpcClient> | undefined
  #current: RpcClient | undefined
  #failedAt = Number.NEGATIVE_INFINITY

  /** `given` ends in its peer id, and `?token=` and a word if it asks for one; `others` in the peer id. */
  constructor(libp2p: Libp2p, given: string, now: () => number, others: readonly string[] = []) {
    const [address = '', token] = given.split('?token=')
    const id = peerIdOf(parseAddress(address))
    if (id?.type !== 'Ed25519') {
      throw new P2pnsError(
        'usage',
        `The introducer address "${address}" does not end in /p2p/<peer id of an introducer>`,
      )
    }
    this.address = address
    this.addresses = [address, ...others]
    this.peerId = id.toString()
    this.witnessKey = id.publicKey.raw
    this.#id = id
    this.#token = token
    this.#libp2p = libp2p
    this.#now = now
  }

  get connected(): boolean {
    return this.#current !== undefined && !this.#current.closed
  }

  async connect(): Promise<void> {
    await this.#open()
  }

  /** The record that it holds under `key`; checked here, whoever it came from. */
  async get(key: Bytes, signal?: AbortSignal): Promise<Bytes | undefined> {
    const reply = await this.#call('get', [key], signal)
    if (Array.isArray(reply) && reply.length === 0) return undefined
    const value: unknown = Array.isArray(reply) ? reply[0] : undefined
    if (!(value instanceof Uint8Array)) throw new P2pnsError('frame_invalid', 'An introducer answered no record')
    checkRecord(key, value, this.#now())
    return value
  }

  async put(key: Bytes, value: Bytes, signal?: AbortSignal): Promise<void> {
    await this.#call('put', [key, value], signal)
  }

  /** Whether it can show a newer record than `value`, since its word alone proves nothing. */
  async holdsNewer(key: Bytes, value: Bytes, signal?: AbortSignal): Promise<boolean> {
    const held = await this.get(key, signal).catch(() => undefined)
    return held !== undefined && compareRecords(key, held, value, this.#now()) > 0
  }

  /** Multiaddrs, with peer ids, of random other peers. */
  async peers(signal?: AbortSignal): Promise<string[]> {
    const reply = await this.#call('peers', [], signal)
    if (!Array.isArray(reply)) throw new P2pnsError('frame_invalid', 'An introducer answered no peers')
    return (reply as CborValue[]).filter((item) => typeof item === 'string').slice(0, 64)
  }

  async descriptor(signal?: AbortSignal): Promise<Descriptor> {
    const reply = await this.#call('realm', [], signal)
    if (!(reply instanceof Uint8Array)) throw new P2pnsError('frame_invalid', 'An introducer answered no descriptor')
    return parseDescriptor(reply)
  }

  /**
   * Asks its witness to sign a claim; resolves to the receipt's bytes. `previous`: the lease that it follows, which a witness that
   * did not see it needs.
   */
  async claim(claim: Bytes, auth: Bytes, options: { previous?: Lease; signal?: AbortSignal } = {}): Promise<Bytes> {
    const { previous, signal } = options
    const reply = await this.#call('claim', claimArguments(claim, auth, previous), signal, CLAIM_TIMEOUT_MS)
    if (!(reply instanceof Uint8Array)) throw new P2pnsError('frame_invalid', 'An introducer answered no receipt')
    return reply
  }

  /** Tells its witness of a claim that another witness of its realm, the asker, holds. */
  async gossip(claim: Bytes, auth: Bytes, previous?: Lease): Promise<void> {
    await this.#call('gossip', claimArguments(claim, auth, previous))
  }

  /** Its witness's signature, 64 bytes, under the body of a descriptor that the asker, of the same realm, proposes. */
  async endorse(body: Bytes): Promise<Bytes> {
    return asBytes(await this.#call('endorse', [body]), 'A signature', 64)
  }

  /** Hands it a descriptor of its realm that a quorum has signed. */
  async adopt(descriptor: Bytes): Promise<void> {
    await this.#call('adopt', [descriptor])
  }

  /** The lease that its witness signed last for a name (one label); it carries the receipt of this witness only. */
  async lease(name: string, signal?: AbortSignal): Promise<Lease | undefined> {
    const reply = await this.#call('lease', [name], signal)
    if (!Array.isArray(reply) || reply.length === 0) return undefined
    return parseLease(asBytes((reply as CborValue[])[0], 'A lease'))
  }

  /** Its two UDP ports that tell others where they come from; undefined: it has none. */
  async reflector(): Promise<readonly [number, number] | undefined> {
    const [first, second] = asList(await this.#call('reflector', []), 'The ports of a reflector', 0, 2)
    if (first === undefined || second === undefined) return undefined
    return [asUint(first, 'A port', 65_535), asUint(second, 'A port', 65_535)]
  }

  /** Has it send a datagram from one of these ports to one of ours. */
  async poke(which: 0 | 1, port: number, nonce: Bytes): Promise<void> {
    await this.#call('poke', [which, port, nonce])
  }

  close(): void {
    this.#current?.close()
    this.#client = undefined
  }

  async #call(method: string, args: CborValue[], signal?: AbortSignal, limit?: number): Promise<CborValue> {
    return (await this.#open()).call(method, args, signal, limit)
  }

  #open(): Promise<RpcClient> {
    if (this.#client !== undefined && !this.#current?.closed) return this.#client
    // Either way round: the clock may have been set back since. Who came by itself meanwhile is there.
    const isAway = this.#libp2p.getConnections(this.#id).length === 0
    if (isAway && Math.abs(this.#now() - this.#failedAt) < COOL_DOWN_MS) return Promise.reject(this.#unreachable())
    this.#current = undefined
    this.#client = this.#dial()
    return this.#client
  }

  async #dial(): Promise<RpcClient> {
    try {
      const signal = AbortSignal.timeout(DIAL_TIMEOUT_MS)
      const stream = await this.#libp2p.dialProtocol(
        this.addresses.map((way) => multiaddr(way)),
        INTRODUCER_PROTOCOL,
        { signal },
      )
      const client = new RpcClient(stream)
      if (this.#token !== undefined) await enter(client, this.#token)
      this.#current = client
      return client
    } catch (cause) {
      if (isError(cause, 'not_admitted')) throw cause
      this.#failedAt = this.#now()
      this.#client = undefined
      throw this.#unreachable(cause)
    }
  }

  #unreachable(cause?: unknown): P2pnsError {
    return new P2pnsError('network_unreachable', `The introducer ${this.address} does not answer`, { cause })
  }
}

async function enter(client: RpcClient, token: string): Promise<void> {
  try {
    await client.call('enter', [token])
  } catch (error) {
    client.close()
    throw error
  }
}

function claimArguments(claim: Bytes, auth: Bytes, previous: Lease | undefined): CborValue[] {
  return previous === undefined ? [claim, auth] : [claim, auth, encodeLease(previous)]
}

/** The key of the introducer that an address leads to; empty where it names none. */
export function keyOfAddress(address: string): Bytes {
  try {
    const id = peerIdOf(parseAddress(address))
    return id?.type === 'Ed25519' ? id.publicKey.raw : new Uint8Array(0)
  } catch {
    return new Uint8Array(0)
  }
}

/** Puts a record on every introducer; resolves to how many took it. Throws record_older if one shows a newer one. */
export async function putToAll(introducers: readonly Introducer[], key: Bytes, value: Bytes, signal?: AbortSignal) {
  const put = async (introducer: Introducer): Promise<number> => {
    try {
      await introducer.put(key, value, signal)
      return 1
    } catch (error) {
      if (isError(error, 'record_older') && (await introducer.holdsNewer(key, value, signal))) throw error
      return 0
    }
  }
  const stored = await Promise.all(introducers.map(put))
  return stored.reduce((sum, one) => sum + one, 0)
}
