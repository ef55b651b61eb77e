/** One link, seen by the swarm that fetches: its hello, what its peer has, how fast it is, and whether it is still alive. */
import type { Duplex } from 'node:stream'
import { type Bytes, equalBytes } from '../core/encoding.ts'
import { isError, P2pnsError } from '../core/errors.ts'
import { type Frame, MAX_RUN } from '../core/frames.ts'
import type { Offer } from '../net/paths.ts'
import { pathTo } from '../net/paths.ts'
import type { Run } from './layout.ts'
import type { Way } from './link-messages.ts'
import { ThreadLink, type Work } from './link-threads.ts'
import { Meter } from './meter.ts'

/** How a peer is reached for one content: an open stream, or where one can be dialled. */
export interface PeerWay {
  peer: string
  way: { path: string; stream: Duplex } | Pick<Offer, 'candidates' | 'ticket'>
  /** Another link to the same peer. */
  again?: () => Promise<PeerWay>
  /**
   * Called once, when the link has ended or could not be opened. `served`: the content could be asked of it, and may be again.
   * `useless`: the peer is not to be tried again.
   */
  ended?: (end: { served: boolean; useless: boolean }) => void
}

/** Looks at what a peer brings, at least, in the time after which one that brings nothing is dropped; and milliseconds between two, at most. */
const LOOKS = 5
const LOOK_EVERY = 500
/** Bytes a second: less is nothing. */
const MIN_RATE = 2 * 1024
/** Bytes a second: less is slow, and somebody else may be asked for the same. */
const FAIR_RATE = 64 * 1024
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
  readonly #stall: number
  /** Milliseconds between two looks at what came. */
  readonly #interval: number
  readonly #timer: NodeJS.Timeout
  #path: string
  #state: 'new' | 'greeted' | 'ready' | 'closed' = 'new'
  /** undefined: everything. */
  #bits: Bytes | undefined
  #expecting = true
  /** Bytes of what it owed, in all, and when last looked at. */
  #received = 0
  #seen = 0
  /** Milliseconds that it may go on bringing next to nothing. */
  #patience: number
  /** Milliseconds for which it has been slow. */
  #slowFor = 0
  /** When all that it said will be forgiven. */
  #talkedUntil = 0
  readonly #meter = new Meter()
  #readyAt = 0

  constructor(way: PeerWay, content: Bytes, stall: number, events: PeerEvents) {
    this.peer = way.peer
    this.way = way
    this.#content = content
    this.#events = events
    this.#stall = stall
    this.#patience = stall
    this.#interval = Math.min(LOOK_EVERY, stall / LOOKS)
    this.#timer = setTimeout(() => this.#look(), this.#interval)
    const open = 'stream' in way.way
    this.#path = 'stream' in way.way ? way.way.path : ''
    const threadWay: Way | Duplex = 'stream' in way.way ? way.way.stream : { ...way.way, timeout: DIAL_TIME }
    this.#link = new ThreadLink(threadWay, {
      up: (host) => {
        this.#path = pathTo(host)
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
    return this.#expecting
  }

  set expecting(owes: boolean) {
    if (owes && !this.#expecting) this.#lookAfresh()
    this.#expecting = owes
  }

  /** Whether it owes, and is slower than a peer should be whose place another could have. */
  get slow(): boolean {
    return this.#slowFor > 0
  }

  /** Milliseconds. */
  get slowFor(): number {
    return this.#slowFor
  }

  /** Chunks that it may owe so that it is never idle; undefined while its rate is not known. */
  get pipeline(): number | undefined {
    return this.#meter.pipeline(this.#bits === undefined)
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
    this.#close(false)
    this.#link.finish({ type: 'bye', reason: 'done' })
  }

  #close(useless: boolean): void {
    this.#state = 'closed'
    clearTimeout(this.#timer)
    this.way.ended?.({ served: this.#readyAt > 0 && !useless, useless })
  }

  #lost(why: P2pnsError): void {
    if (this.#state === 'closed') return
    this.#close(isError(why, 'chunk_corrupt', 'frame_invalid', 'content_not_found', 'file_changed'))
    this.#events.closed(this, new P2pnsError(why.code, named(this.peer, why), { cause: why }))
  }

  #greet(): void {
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
    this.#received = received
    this.#meter.received(received)
    if (kept.length === 0) return
    this.isBusy = false
    this.#guarded(() => this.#events.kept(this, kept))
  }

  #lookAfresh(): void {
    this.#seen = this.#received
    this.#patience = this.#stall
    this.#timer.refresh()
  }

  #look(): void {
    const rate = ((this.#received - this.#seen) / this.#interval) * 1000
    this.#seen = this.#received
    const left = this.#expecting ? this.#patience + this.#interval * (rate / MIN_RATE - 1) : this.#stall
    this.#patience = Math.min(this.#stall, left)
    if (this.#patience <= 0) {
      return this.drop(new P2pnsError('timed_out', `${this.peer} sent next to nothing for ${this.#stall / 1000} s`))
    }
    this.#timer.refresh()
    const slow = this.#expecting && rate < FAIR_RATE
    if (!slow && !this.slow) return
    this.#slowFor = slow ? this.#slowFor + this.#interval : 0
    this.#events.slow(this, slow)
  }

  #frame(frame: Frame): void {
    if (frame.type === 'bye') return this.drop(this.#goodbye(frame))
    if (this.#state === 'new') {
      if (frame.type !== 'hello' || !equalBytes(frame.content, this.#content)) {
        throw new P2pnsError('frame_invalid', `${this.peer} did not greet for this content`)
      }
      this.#state = 'greeted'
      this.#lookAfresh()
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

/** A thread knows no peer. */
function named(peer: string, { what }: P2pnsError): string {
  return what.includes(peer) ? what : `${peer}: ${what}`
}
