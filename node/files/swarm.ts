/**
 * The peers of one fetch. Links come in over time, are greeted, and take part in the task at hand: first the manifest,
 * then the entry list if it is set apart, then the files. A task fails when no peer is left and no more will come.
 */
import type { Bytes } from '../core/encoding.ts'
import { isError, P2pnsError } from '../core/errors.ts'
import type { Frame } from '../core/frames.ts'
import { threadCount, type Work } from './link-threads.ts'
import { type PeerEvents, PeerLink, type PeerWay } from './peer-link.ts'

export interface Task<Result> {
  readonly done: Promise<Result>
  /** Where the chunks go that are asked for; undefined: none are. */
  readonly work: Work | undefined
  /** A peer can be asked now. */
  joined(peer: PeerLink): void
  /** It can no longer. */
  left(peer: PeerLink): void
  frame(peer: PeerLink, frame: Frame): void
  /** As PeerEvents. */
  kept(peer: PeerLink, chunks: readonly number[]): void
  slow(peer: PeerLink, slow: boolean): void
  fileOf(chunk: number): string | undefined
  /** Nobody is left to do it. */
  fail(why: P2pnsError): void
}

/** Between tasks nothing is asked for; what was asked before may still come, and means nothing. */
const idle: Omit<Task<never>, 'done' | 'fail'> = {
  work: undefined,
  joined: () => undefined,
  left: () => undefined,
  frame: () => undefined,
  kept: () => undefined,
  slow: () => undefined,
  fileOf: () => undefined,
}

/** Times that a peer may fall silent, or break off with little to show, before it is asked no more. */
const MAX_FAILURES = 2
/** Bytes that a link brings which was worth opening, however it ended. */
const WORTHWHILE = 1024 * 1024
/** Bytes that a link has to bring, and how many a second, until a second link to its peer is worth a thread. */
const PROVEN_BYTES = 8 * 1024 * 1024
const FAST = 100e6

export interface SwarmPeer {
  peer: string
  path: string
  bytes: number
  /** Bytes a second, lately. */
  rate: number
  /** Milliseconds. */
  rtt: number
}

export interface SwarmOptions {
  /** The 32 bytes of the content's identifier. */
  content: Bytes
  links: AsyncIterable<PeerWay>
  /** Milliseconds of bringing next to nothing that end a link. */
  stall: number
  /** A peer told of others who have the content, or want it: multiaddrs. */
  onPeers?: (addresses: readonly string[]) => void
}

export class Swarm {
  /** Peers came or went. */
  onChange: () => void = () => undefined
  readonly #options: SwarmOptions
  readonly #all = new Set<PeerLink>()
  readonly #live = new Set<PeerLink>()
  /** Peers that are not asked again, and why. */
  readonly #banned = new Map<string, string>()
  readonly #failures = new Map<string, number>()
  /** Peers to which another link is being opened, and those that were asked for a second one. */
  readonly #widening = new Set<string>()
  readonly #widened = new Set<string>()
  #task: Task<unknown> | undefined
  #ended = false
  #closed = false
  #lastFailure: P2pnsError | undefined

  constructor(options: SwarmOptions) {
    this.#options = options
    void this.#receive()
  }

  /** Links over which the content can be asked for now. */
  get size(): number {
    return [...this.#live].filter(({ ready }) => ready).length
  }

  /** One row for each peer and path that brought anything. */
  get peers(): SwarmPeer[] {
    const rows = new Map<string, SwarmPeer>()
    for (const link of this.#all) {
      if (link.bytes === 0) continue
      const { peer, path, bytes } = link
      const row = rows.get(`${peer} ${path}`) ?? { peer, path, bytes: 0, rate: 0, rtt: link.rtt ?? 0 }
      row.bytes += bytes
      if (this.#live.has(link)) row.rate += link.rate
      rows.set(`${peer} ${path}`, row)
    }
    return [...rows.values()]
  }

  get banned(): { peer: string; why: string }[] {
    return [...this.#banned].map(([peer, why]) => ({ peer, why }))
  }

  /** Bytes that `peer` brought. */
  from(peer: string): number {
    let sum = 0
    for (const link of this.#all) if (link.peer === peer) sum += link.bytes
    return sum
  }

  async run<Result>(task: Task<Result>, signal: AbortSignal): Promise<Result> {
    const abort = (): void => task.fail(new P2pnsError('interrupted', 'the fetch was stopped'))
    signal.addEventListener('abort', abort)
    this.#task = task
    try {
      if (signal.aborted) abort()
      for (const peer of this.#live) if (peer.ready) this.#join(peer)
      this.#checkExhausted()
      return await task.done
    } finally {
      signal.removeEventListener('abort', abort)
      this.#task = undefined
      for (const peer of this.#live) {
        if (!peer.ready) continue
        peer.expecting = false
        peer.enter(undefined)
      }
    }
  }

  close(): void {
    this.#closed = true
    for (const peer of this.#live) peer.finish()
    this.#live.clear()
  }

  #join(peer: PeerLink): void {
    if (!this.#task) return
    peer.enter(this.#task.work)
    this.#task.joined(peer)
  }

  async #receive(): Promise<void> {
    try {
      for await (const way of this.#options.links) {
        this.#take(way)
        if (this.#closed) break
      }
    } catch (cause) {
      this.#lastFailure =
        cause instanceof P2pnsError ? cause : new P2pnsError('peer_unreachable', 'no more links', { cause })
    }
    this.#ended = true
    this.#checkExhausted()
  }

  #take(way: PeerWay): void {
    if (!this.#closed && !this.#banned.has(way.peer)) return this.#greet(way)
    if ('stream' in way.way) way.way.stream.destroy()
    way.ended?.({ served: false, useless: true })
  }

  #greet(way: PeerWay): void {
    const task = (): Omit<Task<unknown>, 'done' | 'fail'> => this.#task ?? idle
    const events: PeerEvents = {
      ready: (peer) => {
        this.#relieve(peer)
        if (peer.ready) this.#join(peer)
        this.onChange()
      },
      frame: (peer, frame) => {
        if (frame.type === 'peers') this.#options.onPeers?.(frame.peers)
        else task().frame(peer, frame)
      },
      kept: (peer, chunks) => {
        task().kept(peer, chunks)
        this.#widen(peer)
      },
      slow: (peer, slow) => {
        task().slow(peer, slow)
        if (slow) this.#replace(peer)
        if (peer.silent) this.#lookAgain(peer)
      },
      fileOf: (chunk) => task().fileOf(chunk),
      closed: (peer, why) => this.#lost(peer, why),
    }
    const peer = new PeerLink(way, this.#options.content, this.#options.stall, events)
    this.#live.add(peer)
    this.#all.add(peer)
  }

  #lost(peer: PeerLink, why: P2pnsError): void {
    this.#live.delete(peer)
    if (peer.bytes === 0) this.#all.delete(peer)
    if (isError(why, 'disk_full', 'disk_error', 'path_unsafe', 'internal')) return this.#task?.fail(why)
    this.#lastFailure = why
    this.#task?.left(peer)
    const failures = (this.#failures.get(peer.peer) ?? 0) + (isFailure(peer, why) ? 1 : 0)
    this.#failures.set(peer.peer, failures)
    if (isError(why, 'chunk_corrupt', 'frame_invalid') || failures >= MAX_FAILURES) this.#ban(peer.peer, why)
    this.onChange()
    this.#checkExhausted()
  }

  /** Links to the same peer by a dearer path, or on which nothing comes any more, give way to `peer`. */
  #relieve(peer: PeerLink): void {
    for (const other of this.#live) {
      if (other === peer || other.peer !== peer.peer || !other.ready) continue
      if (peer.isBetterThan(other) || other.silent) other.retire()
      else if (other.isBetterThan(peer)) peer.retire()
    }
  }

  /** One link is one core at work, here and there: a peer that fills it is worth a second one, while cores are left. */
  #widen(peer: PeerLink): void {
    if (peer.bytes < PROVEN_BYTES || peer.meanRate < FAST) return
    // Once is enough: it has no more links to give.
    if (this.#live.size < threadCount() && !this.#widened.has(peer.peer)) this.#lookAgain(peer)
    this.#widened.add(peer.peer)
  }

  #lookAgain({ peer, way: { again } }: PeerLink): void {
    if (!again || this.#widening.has(peer)) return
    this.#widening.add(peer)
    void again().finally(() => this.#widening.delete(peer))
  }

  /** A peer that stays slow gives its place and what it was asked for to others, where there are any. */
  #replace(peer: PeerLink): void {
    const better = [...this.#live].some((other) => other.ready && !other.slow)
    if (better && peer.slowFor >= this.#options.stall)
      peer.drop(new P2pnsError('timed_out', `${peer.peer} is too slow`))
  }

  #ban(peer: string, why: P2pnsError): void {
    this.#banned.set(peer, why.what)
    for (const other of this.#live) if (other.peer === peer) other.drop(why)
  }

  #checkExhausted(): void {
    if (!this.#ended || this.#live.size > 0) return
    this.#task?.fail(this.#lastFailure ?? new P2pnsError('content_not_found', 'no peer was found that has it'))
  }
}

function isFailure({ isBusy, expecting, bytes }: PeerLink, why: P2pnsError): boolean {
  if (isError(why, 'timed_out')) return !isBusy
  return isError(why, 'peer_unreachable') && expecting && bytes < WORTHWHILE
}
