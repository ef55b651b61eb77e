/**
 * The peers of one fetch. Links come in over time, are greeted, and take part in the task at hand: first the manifest,
 * then the entry list if it is set apart, then the files. A task fails when no peer is left and no more will come.
 */
import type { Bytes } from '../core/encoding.ts'
import { isError, P2pnsError } from '../core/errors.ts'
import type { Frame } from '../core/frames.ts'
import type { Link } from '../net/paths.ts'
import { type PeerEvents, PeerLink } from './peer-link.ts'

export interface Task<Result> {
  readonly done: Promise<Result>
  /** A peer can be asked now. */
  joined(peer: PeerLink): void
  /** It can no longer. */
  left(peer: PeerLink, unfinished: Bytes | undefined): void
  frame(peer: PeerLink, frame: Frame): void
  /** As PeerEvents. */
  slow(peer: PeerLink, slow: boolean): void
  fileOf(chunk: number): string | undefined
  open(peer: PeerLink, chunk: number, length: number): Bytes | undefined
  /** Nobody is left to do it. */
  fail(why: P2pnsError): void
}

/** Between tasks nothing is asked for; what was asked before may still come, and means nothing. */
const idle: Omit<Task<never>, 'done' | 'fail'> = {
  joined: () => undefined,
  left: () => undefined,
  frame: () => undefined,
  slow: () => undefined,
  fileOf: () => undefined,
  open: refuseChunk,
}

export function refuseChunk(peer: PeerLink, chunk: number): never {
  throw new P2pnsError('frame_invalid', `${peer.peer} sent chunk ${chunk} unasked`)
}

/** Looks in a row that find a peer slow, before it has to make room. */
const PATIENCE = 5

export class Swarm {
  readonly #content: Bytes
  readonly #stall: number
  readonly #all = new Set<PeerLink>()
  readonly #live = new Set<PeerLink>()
  /** Peers that lied; they are not asked again. */
  readonly #banned = new Set<string>()
  #task: Task<unknown> | undefined
  #ended = false
  #closed = false
  #lastFailure: P2pnsError | undefined

  /** `content`: the 32 bytes of its identifier. `stall`: milliseconds of bringing next to nothing that end a link. */
  constructor(content: Bytes, links: AsyncIterable<Link>, stall: number) {
    this.#content = content
    this.#stall = stall
    void this.#receive(links)
  }

  /** Peers that the content can be asked of now. */
  get size(): number {
    return this.#live.size
  }

  /** What each link brought, of those that brought anything. */
  get shares(): { peer: string; path: string; bytes: number }[] {
    return [...this.#all].filter(({ bytes }) => bytes > 0).map(({ peer, path, bytes }) => ({ peer, path, bytes }))
  }

  async run<Result>(task: Task<Result>, signal: AbortSignal): Promise<Result> {
    const abort = (): void => task.fail(new P2pnsError('interrupted', 'the fetch was stopped'))
    signal.addEventListener('abort', abort)
    this.#task = task
    try {
      if (signal.aborted) abort()
      for (const peer of this.#live) if (peer.ready) task.joined(peer)
      this.#checkExhausted()
      return await task.done
    } finally {
      signal.removeEventListener('abort', abort)
      this.#task = undefined
      for (const peer of this.#live) if (peer.ready) peer.expecting = false
    }
  }

  close(): void {
    this.#closed = true
    for (const peer of this.#live) peer.finish()
    this.#live.clear()
  }

  async #receive(links: AsyncIterable<Link>): Promise<void> {
    try {
      for await (const link of links) {
        if (this.#closed || this.#banned.has(link.peer)) link.stream.destroy()
        else this.#greet(link)
        if (this.#closed) break
      }
    } catch (cause) {
      this.#lastFailure =
        cause instanceof P2pnsError ? cause : new P2pnsError('peer_unreachable', 'no more links', { cause })
    }
    this.#ended = true
    this.#checkExhausted()
  }

  #greet(link: Link): void {
    const task = (): Omit<Task<unknown>, 'done' | 'fail'> => this.#task ?? idle
    const events: PeerEvents = {
      ready: (peer) => task().joined(peer),
      frame: (peer, frame) => task().frame(peer, frame),
      slow: (peer, slow) => {
        task().slow(peer, slow)
        if (slow) this.#replace(peer)
      },
      fileOf: (chunk) => task().fileOf(chunk),
      open: (peer, chunk, length) => (peer.late.has(chunk) ? undefined : task().open(peer, chunk, length)),
      closed: (peer, why, unfinished) => {
        this.#live.delete(peer)
        if (peer.bytes === 0) this.#all.delete(peer)
        this.#lastFailure = why
        task().left(peer, unfinished)
        if (isError(why, 'chunk_corrupt', 'frame_invalid')) this.#ban(peer.peer, why)
        this.#checkExhausted()
      },
    }
    const peer = new PeerLink(link, this.#content, this.#stall, events)
    this.#live.add(peer)
    this.#all.add(peer)
  }

  /** A peer that stays slow gives its place and what it was asked for to others, where there are any. */
  #replace(peer: PeerLink): void {
    const better = [...this.#live].some((other) => other.ready && !other.slow)
    if (better && peer.slowLooks >= PATIENCE) peer.drop(new P2pnsError('timed_out', `${peer.peer} is too slow`))
  }

  #ban(peer: string, why: P2pnsError): void {
    this.#banned.add(peer)
    for (const other of this.#live) if (other.peer === peer) other.drop(why)
  }

  #checkExhausted(): void {
    if (!this.#ended || this.#live.size > 0) return
    this.#task?.fail(this.#lastFailure ?? new P2pnsError('content_not_found', 'no peer was found that has it'))
  }
}
