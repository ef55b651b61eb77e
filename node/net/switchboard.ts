/**
 * The line to an introducer over which calls and answers go to other peers and come from them (docs/spec/reaching.md,
 * "Switchboard"). A node that others may call keeps it open.
 */
import { setTimeout } from 'node:timers/promises'
import type { Libp2p, Stream } from '@libp2p/interface'
import type { LengthPrefixedStream } from '@libp2p/utils'
import { multiaddr } from '@multiformats/multiaddr'
import { type Bytes, type CborValue, fromCbor, toCbor } from '../core/encoding.ts'
import { type HostPort, parseHostPort } from '../core/hosts.ts'
import { asBytes, asList } from '../core/shape.ts'
import { framesOf } from './frames.ts'

export const SWITCHBOARD_PROTOCOL = '/p2pns/switchboard/1'
export const MAX_SWITCHBOARD_BYTES = 2048

const DIAL_TIME = 5_000
/** Milliseconds until a lost line is tried again: at first, and at most; a half more or less, so that not all come at once. */
const FIRST_PAUSE = 500
const MAX_PAUSE = 30_000

export function fromFrame(frame: { subarray(): Uint8Array }): CborValue {
  return fromCbor(frame.subarray(), MAX_SWITCHBOARD_BYTES, 'A switchboard frame')
}

export interface SwitchboardEvents {
  /** A message of the peer with the key `from`, whose connection comes from `address`. */
  message(line: Line, from: Bytes, message: Bytes, address: HostPort): void
  /** What was said to the peer with this key was not handed on. */
  refused(line: Line, to: Bytes, reason: 'away' | 'limit'): void
}

/** Where a line leads. */
export interface LineEnd {
  /** Multiaddrs of the introducer, each with its peer id. */
  addresses: readonly string[]
  peerId: string
  /** Has it know us. */
  connect?(): Promise<void>
}

/** The line to one introducer. */
export class Line {
  readonly #introducer: LineEnd
  readonly #libp2p: Libp2p
  readonly #events: SwitchboardEvents
  readonly #stopped = new AbortController()
  readonly #jitter: () => number
  #opening: Promise<LengthPrefixedStream<Stream>> | undefined
  #stream: Stream | undefined
  #kept = false
  #lost = Promise.withResolvers<void>()

  /** `jitter`: a number from 0 to 1, another each time. */
  constructor(libp2p: Libp2p, introducer: LineEnd, events: SwitchboardEvents, jitter: () => number) {
    this.#libp2p = libp2p
    this.#introducer = introducer
    this.#events = events
    this.#jitter = jitter
  }

  get peerId(): string {
    return this.#introducer.peerId
  }

  get open(): boolean {
    return this.#stream !== undefined
  }

  /** Keeps the line open from now on. */
  keep(): void {
    if (this.#kept) return
    this.#kept = true
    void this.#keepOpen()
  }

  /** Errors: that it cannot be opened. */
  async send(to: Bytes, message: Bytes, signal: AbortSignal): Promise<void> {
    const frames = await this.#ready()
    await frames.write(toCbor([to, message]), { signal })
  }

  /** The address of this machine is another one, or a timer thinks so: what is open may be dead. */
  reopen(): void {
    this.#stream?.abort(new Error('the addresses of this machine changed'))
  }

  close(): void {
    this.#stopped.abort()
    this.#stream?.abort(new Error('closed'))
  }

  async #keepOpen(): Promise<void> {
    const { signal } = this.#stopped
    for (let pause = FIRST_PAUSE; !signal.aborted; ) {
      const frames = await this.#ready().catch(() => undefined)
      if (frames) {
        pause = FIRST_PAUSE
        await this.#lost.promise
      } else pause = Math.min(2 * pause, MAX_PAUSE)
      await setTimeout(pause * (0.5 + this.#jitter()), undefined, { signal, ref: false }).catch(() => undefined)
    }
  }

  #ready(): Promise<LengthPrefixedStream<Stream>> {
    this.#opening ??= this.#dial().catch((error: unknown) => {
      this.#opening = undefined
      throw error
    })
    return this.#opening
  }

  async #dial(): Promise<LengthPrefixedStream<Stream>> {
    // It may have to let us in first.
    await this.#introducer.connect?.()
    const signal = AbortSignal.any([this.#stopped.signal, AbortSignal.timeout(DIAL_TIME)])
    const addresses = this.#introducer.addresses.map((address) => multiaddr(address))
    const stream = await this.#libp2p.dialProtocol(addresses, SWITCHBOARD_PROTOCOL, { signal })
    const frames = framesOf(stream, MAX_SWITCHBOARD_BYTES)
    this.#stream = stream
    this.#lost = Promise.withResolvers()
    void this.#read(stream, frames)
    return frames
  }

  async #read(stream: Stream, frames: LengthPrefixedStream<Stream>): Promise<void> {
    try {
      for (;;) this.#heard(fromFrame(await frames.read()))
    } catch (error) {
      stream.abort(error as Error)
    }
    this.#stream = undefined
    this.#opening = undefined
    this.#lost.resolve()
  }

  /** Errors: malformed. */
  #heard(value: CborValue): void {
    const what = 'A switchboard frame'
    const [key, word, address] = asList(value, what, 2, 3)
    const peer = asBytes(key, what, 32)
    if (address === undefined) return this.#events.refused(this, peer, word === 'limit' ? 'limit' : 'away')
    const [host, port] = asList(address, what, 2)
    if (word instanceof Uint8Array) this.#events.message(this, peer, word, parseHostPort(host, port, what))
  }
}
