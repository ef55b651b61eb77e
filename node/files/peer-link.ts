/** One link, seen by the swarm that fetches: its hello, what its peer has, how fast it is, and whether it is still alive. */
import type { Duplex } from 'node:stream'
import { type Bytes, equalBytes } from '../core/encoding.ts'
import { isError, P2pnsError } from '../core/errors.ts'
import { type Frame, MAX_RUN } from '../core/frames.ts'
import { rankOf } from '../core/path-rank.ts'
import { pathTo } from '../net/paths.ts'
import type { Way as NetWay } from '../net/race.ts'
import type { Run } from './layout.ts'
import type { Way } from './link-messages.ts'
import { ThreadLink, type Work } from './link-threads.ts'
import { Meter } from './meter.ts'
import { Watch } from './watch.ts'

/** How a peer is reached for one content: an open stream, or where one can be dialled. */
export interface PeerWay {
  peer: string
  way: NetWay
  /** Looks for other links to the same peer, which come as this one came; resolves when there are none to come. */
  again?: () => Promise<void>
  /**
   * Called once, when the link has ended or could not be opened. `served`: the content could be asked of it, and may be again.
   * `useless`: the peer is not to be tried again. `over`: nothing more is wanted of anybody.
   */
  ended?: (end: { served: boolean; useless: boolean; over?: boolean }) => void
}

/** Things that a peer may say unasked and that are no news, at once and each second. */
const MAX_TALK = 1000
const DIAL_TIME = 10_000
export interface PeerEvents {
  /** The peer has the content, and `bits` is known. */
  ready(peer: PeerLink): void
  frame(peer: PeerLink, frame: Frame): void
  /** Chunks that it was asked for were verified and kept. */
  kept(peer: PeerLink, chunks: readonly number[]): void
  /** It owes, and what it brought lately is little (`true`) or enough again (`false`). */
  slow(peer: PeerLink, slow: boolean): void
  /** The path inside the content of the file that `chunk` is of; undefined when that is not known. */
  fileOf(chunk: number): string | undefined
  /** Called once. */
  closed(peer: PeerLink, why: P2pnsError): void
}

export class PeerLink {
  readonly peer: string
  readonly way: PeerWay
  /** Of chunks that were verified. */
  bytes = 0
  /** It choked, and has brought nothing since: it gives to others, and may to us later. */
  isBusy = false

  readonly #content: Bytes
  readonly #events: PeerEvents
  readonly #link: ThreadLink
  readonly #watch: Watch
  #path: string
  #state: 'new' | 'greeted' | 'ready' | 'closed' = 'new'
  /** undefined: everything. */
  #bits: Bytes | undefined
  #retired = false
  /** When all that it said will be forgiven. */
  #talkedUntil = 0
  readonly #meter = new Meter()
  #readyAt = 0
  #greetedAt = 0
  #rtt: number | undefined

  constructor(way: PeerWay, content: Bytes, stall: number, events: PeerEvents) {
    this.peer = way.peer
    this.way = way
    this.#content = content
    this.#events = events
    this.#watch = new Watch(stall, {
      stalled: () => this.drop(new P2pnsError('timed_out', `${this.peer} sent next to nothing for ${stall / 1000} s`)),
      slow: (slow) => events.slow(this, slow),
    })
    const open = 'stream' in way.way
    this.#path = 'stream' in way.way ? way.way.path : ''
    this.#link = new ThreadLink(threadWayOf(way), {
      up: (host) => {
        const path = pathTo(host)
        this.#path = path
        if ('up' in way.way) way.way.up?.(path)
        this.#greet()
      },
      frame: (frame) => this.#guarded(() => this.#frame(frame)),
      progress: (received, kept) => this.#progress(received, kept),
      down: (why) => this.#lost(why),
    })
    if (open) this.#greet()
  }

  get path(): string {
    return this.#path
  }

  /** Milliseconds that it took to be greeted back. */
  get rtt(): number | undefined {
    return this.#rtt
  }

  get ready(): boolean {
    return this.#state === 'ready'
  }

  /** A bit for each chunk; undefined: it has everything. */
  get bits(): Bytes | undefined {
    return this.#bits
  }

  /** Bytes a second, lately. */
  get rate(): number {
    return this.#meter.rate
  }

  /** Bytes a second since it could be asked first. */
  get meanRate(): number {
    return (this.bytes / Math.max(1, performance.now() - this.#readyAt)) * 1000
  }

  /**
   * True while the peer owes something. Only what it owes counts then, whatever else it says: too little of it for
   * `stall` milliseconds ends the link.
   */
  get expecting(): boolean {
    return this.#watch.owes
  }

  set expecting(owes: boolean) {
    this.#watch.owes = owes
    if (!owes && this.#retired) queueMicrotask(() => this.#giveWay())
  }

  /** Nothing came for a while of what it owes: it may be gone without a word. */
  get silent(): boolean {
    return this.#watch.silent
  }

  /** Whether this link is one to keep when there is `other` to the same peer. */
  isBetterThan(other: PeerLink): boolean {
    return rankOf(this.#path) < rankOf(other.#path)
  }

  /** A better link took over: this one is asked for nothing more, and ends when it owes nothing, or is silent. */
  retire(): void {
    this.#retired = true
    if (!this.expecting || this.silent) this.#giveWay()
  }

  /** Whether it owes, and is slower than a peer should be whose place another could have. */
  get slow(): boolean {
    return this.#watch.slowFor > 0
  }

  /** Milliseconds. */
  get slowFor(): number {
    return this.#watch.slowFor
  }

  /** Chunks that it may owe so that it is never idle; undefined while its rate is not known. */
  get pipeline(): number | undefined {
    return this.#retired ? 0 : this.#meter.pipeline(this.#bits === undefined)
  }

  enter(work: Work | undefined): void {
    this.#link.enter(work)
  }

  /** `idle`: it owes nothing, so that the answer tells its round trip. */
  ask(run: Run, idle: boolean): void {
    if (idle) this.#meter.asked()
    this.#link.ask(run)
  }

  cancel(run: Run): void {
    this.#link.cancel(run)
  }

  say(frame: Frame): void {
    if (this.#state !== 'closed') this.#link.say(frame)
  }

  /** Ends the link because of `why`. */
  drop(why: P2pnsError): void {
    if (this.#state === 'closed') return
    this.#link.finish()
    this.#lost(why)
  }

  /** Ends the link in good order. */
  finish(): void {
    if (this.#state === 'closed') return
    this.#close({ over: true })
    this.#link.finish({ type: 'bye', reason: 'done' })
  }

  #close({ useless = false, over = false }): void {
    this.#state = 'closed'
    this.#watch.stop()
    this.way.ended?.({ served: this.#readyAt > 0 && !useless, useless, over })
  }

  #lost(why: P2pnsError): void {
    if (this.#state === 'closed') return
    this.#close({ useless: isError(why, 'chunk_corrupt', 'frame_invalid', 'content_not_found', 'file_changed') })
    this.#events.closed(this, new P2pnsError(why.code, named(this.peer, why), { cause: why }))
  }

  #greet(): void {
    this.#greetedAt = performance.now()
    this.say({ type: 'hello', content: this.#content })
  }

  #guarded(work: () => void): void {
    if (this.#state === 'closed') return
    try {
      work()
    } catch (cause) {
      this.drop(isError(cause) ? cause : new P2pnsError('internal', 'a frame was not handled', { cause }))
    }
  }

  #progress(received: number, kept: readonly number[]): void {
    if (this.#state === 'closed') return
    this.#watch.received(received)
    this.#meter.received(received)
    if (kept.length === 0) return
    this.isBusy = false
    this.#guarded(() => this.#events.kept(this, kept))
  }

  #giveWay(): void {
    this.drop(new P2pnsError('peer_unreachable', `a better path to ${this.peer} took over`))
  }

  #frame(frame: Frame): void {
    if (frame.type === 'bye') return this.drop(this.#goodbye(frame))
    if (this.#state === 'new') {
      if (frame.type !== 'hello' || !equalBytes(frame.content, this.#content)) {
        throw new P2pnsError('frame_invalid', `${this.peer} did not greet for this content`)
      }
      this.#state = 'greeted'
      this.#rtt = performance.now() - this.#greetedAt
      this.#watch.afresh()
      return
    }
    switch (frame.type) {
      case 'bitfield':
        if (this.#state === 'ready') throw new P2pnsError('frame_invalid', `${this.peer} sent a second bitfield`)
        this.#bits = frame.bits.length === 0 ? undefined : frame.bits
        this.#state = 'ready'
        this.#readyAt = performance.now()
        this.expecting = false
        return this.#events.ready(this)
      case 'have':
        if (!this.#gain(frame)) this.#talk(1)
        break
      case 'choke':
        this.isBusy = true
        this.#talk(1)
        break
      case 'unchoke':
      case 'manifest':
        this.#talk(1)
        break
      case 'peers':
        this.#talk(frame.peers.length)
        break
      default:
        throw new P2pnsError('frame_invalid', `${this.peer} sent a ${frame.type} frame, which answers nothing`)
    }
    this.#events.frame(this, frame)
  }

  /** Whether that is news. */
  #gain({ first, count }: Run): boolean {
    const bits = this.#bits
    if (!bits) return false
    let news = false
    for (let chunk = first; chunk < first + count; chunk++) {
      const [at, bit] = [chunk >> 3, 0x80 >> (chunk & 7)]
      if (at >= bits.length) throw new P2pnsError('frame_invalid', `${this.peer} has a chunk too many`)
      const known = bits[at] as number
      news ||= (known & bit) === 0
      bits[at] = known | bit
    }
    return news
  }

  /** All of it costs us time, so there is no end of it for nobody. */
  #talk(things: number): void {
    const now = performance.now()
    // Somebody who has everything at last says so in runs, whatever of it was known.
    const credit = MAX_TALK + ((this.#bits?.length ?? 0) * 8) / MAX_RUN
    this.#talkedUntil = Math.max(this.#talkedUntil, now) + (things / MAX_TALK) * 1000
    if (this.#talkedUntil <= now + (credit / MAX_TALK) * 1000) return
    throw new P2pnsError('frame_invalid', `${this.peer} talks on and on, and says nothing new`)
  }

  #goodbye({ reason, chunk }: Frame & { type: 'bye' }): P2pnsError {
    const { peer } = this
    switch (reason) {
      case 'content_not_found':
        return new P2pnsError('content_not_found', `${peer} does not have it`)
      case 'file_changed': {
        const file = chunk === undefined ? undefined : this.#events.fileOf(chunk)
        const named = file ? JSON.stringify(file) : 'the file'
        const kept = 'what came and is right is kept for the next try'
        return new P2pnsError('file_changed', `${named} changed on ${peer} after it was shared; ${kept}`)
      }
      case 'frame_invalid':
        return new P2pnsError('frame_invalid', `${peer} did not understand us`)
      default:
        return new P2pnsError('peer_unreachable', `${peer} ended the link (${reason})`)
    }
  }
}

function threadWayOf({ way }: PeerWay): Way | Duplex {
  if ('stream' in way) return way.stream
  const { candidates, ticket } = way
  return { candidates, ticket, timeout: DIAL_TIME }
}

/** A thread knows no peer. */
function named(peer: string, { what }: P2pnsError): string {
  return what.includes(peer) ? what : `${peer}: ${what}`
}
