/**
 * Circuits through an introducer, for peers that no direct path joins (docs/spec/reaching.md, "Circuits"). Streams are
 * opened before they are needed, so that a circuit costs no negotiation.
 */
import type { Duplex } from 'node:stream'
import { setTimeout } from 'node:timers/promises'
import type { Libp2p } from '@libp2p/interface'
import { multiaddr } from '@multiformats/multiaddr'
import { type Bytes, concat } from '../core/encoding.ts'
import { duplexOf, readExactly } from './stream-duplex.ts'

export const RELAY_PROTOCOL = '/p2pns/relay/1'
/** The first byte of a stream: who opened it calls, or waits to be called. */
export const CIRCUIT_ROLE = { callee: 0, caller: 1 } as const
/** Bytes: the key of the other peer, and the id of a ticket. */
export const CIRCUIT_HEAD = 48
const OPEN_TIME = 5_000
const FIRST_PAUSE = 500
const MAX_PAUSE = 30_000

export function circuitHead(peer: Bytes, ticket: Bytes): Bytes {
  return concat(peer, ticket)
}

/** The circuits through one introducer. */
export class Circuits {
  readonly #libp2p: Libp2p
  readonly #addresses: readonly string[]
  readonly #stopped = new AbortController()
  #spare: Promise<Duplex> | undefined

  constructor(libp2p: Libp2p, addresses: readonly string[]) {
    this.#libp2p = libp2p
    this.#addresses = addresses
  }

  /** Has a stream ready for the next call. */
  prepare(): void {
    if (this.#spare) return
    const spare = this.#open()
    this.#spare = spare
    const forget = (): void => {
      if (this.#spare === spare) this.#spare = undefined
    }
    spare.then((stream) => stream.once('close', forget), forget)
  }

  /** A circuit to `peer`, who knows `ticket`; whether it is there shows when it answers. Errors: the introducer's. */
  async call(peer: Bytes, ticket: Bytes): Promise<Duplex> {
    const stream = await (this.#spare ?? this.#open())
    this.#spare = undefined
    stream.write(concat(Uint8Array.of(CIRCUIT_ROLE.caller), circuitHead(peer, ticket)))
    return stream
  }

  /** Waits to be called, again and again, for as long as the node is up. */
  async listen(onCircuit: (stream: Duplex) => void): Promise<void> {
    const { signal } = this.#stopped
    for (let pause = FIRST_PAUSE; !signal.aborted; ) {
      const stream = await this.#open().catch(() => undefined)
      if (stream) {
        stream.write(Uint8Array.of(CIRCUIT_ROLE.callee))
        // Whose call it is the ticket tells.
        const called = await readExactly(stream, CIRCUIT_HEAD, signal).catch(() => undefined)
        if (called) {
          pause = FIRST_PAUSE
          onCircuit(stream)
          continue
        }
        stream.destroy()
      }
      await setTimeout(pause, undefined, { signal, ref: false }).catch(() => undefined)
      pause = Math.min(2 * pause, MAX_PAUSE)
    }
  }

  close(): void {
    this.#stopped.abort()
    void this.#spare?.then(
      (stream) => stream.destroy(),
      () => undefined,
    )
  }

  async #open(): Promise<Duplex> {
    const signal = AbortSignal.any([this.#stopped.signal, AbortSignal.timeout(OPEN_TIME)])
    const addresses = this.#addresses.map((address) => multiaddr(address))
    return duplexOf(await this.#libp2p.dialProtocol(addresses, RELAY_PROTOCOL, { signal }))
  }
}
