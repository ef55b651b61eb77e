/**
 * Meeting a peer: a call over every line that may lead to it, its answer, and the secrets that both have then
 * (core/meeting.ts). One round trip through an introducer, or over a control connection that is there.
 */
import type { Connection, Libp2p, Stream } from '@libp2p/interface'
import { LRUCache } from 'lru-cache'
import { type Bytes, equalBytes, toHex } from '../core/encoding.ts'
import { isError, P2pnsError } from '../core/errors.ts'
import type { HostPort } from '../core/hosts.ts'
import type { KeyPair } from '../core/keys.ts'
import {
  encodeAnswer,
  encodeCall,
  glance,
  halfFrom,
  MAX_MEETING_BYTES,
  type Message,
  parseAnswer,
  parseCall,
  type Reachable,
  type Secrets,
  secretsOf,
} from '../core/meeting.ts'
import { framesOf } from './frames.ts'
import { hostOf, keyOf } from './peers.ts'
import type { Line } from './switchboard.ts'

export const MEET_PROTOCOL = '/p2pns/meet/1'
/** Milliseconds. */
const ANSWER_TIME = 5_000
const MAX_STREAMS = 8
/** Calls that are answered: of one peer in a minute, and those whose answers are kept for when they come again by another way. */
const MAX_CALLS = 60
const MINUTE = 60_000
const KEPT_ANSWERS = 1000

export interface Met {
  isCaller: boolean
  /** The key of the other side. */
  peer: Bytes
  nonce: Bytes
  own: Reachable
  theirs: Reachable
  secrets: Secrets
  /** Where its connection to the introducer, or to us, comes from. */
  seen: HostPort
  /** The introducer between the two; undefined: none. */
  line: Line | undefined
  /** Milliseconds between call and answer; 0 for who was called. */
  rtt: number
}

export interface MeetingParts {
  libp2p: Libp2p
  key: KeyPair
  /** What is told to somebody who comes from `seen`. */
  own: (seen: HostPort | undefined) => Reachable
  random: (bytes: number) => Bytes
  /** Somebody called, and was answered. */
  onCall: (met: Met) => void
}

interface Pending {
  callee: Bytes
  answer: (bytes: Bytes, from: Bytes, seen: HostPort, line: Line | undefined) => void
  /** Lines over which an answer may come still. */
  lines: Set<Line>
  gaveUp: (why: P2pnsError) => void
}

export class Meetings {
  readonly #parts: MeetingParts
  readonly #pending = new Map<string, Pending>()
  readonly #answers = new LRUCache<string, Bytes>({ max: KEPT_ANSWERS, ttl: MINUTE })
  readonly #calls = new LRUCache<string, number>({ max: KEPT_ANSWERS, ttl: MINUTE, noUpdateTTL: true })

  constructor(parts: MeetingParts) {
    this.#parts = parts
  }

  /** Answers calls that come over connections from peers. */
  async listen(): Promise<void> {
    const meet = (stream: Stream, connection: Connection) => this.#meet(stream, connection)
    await this.#parts.libp2p.handle(MEET_PROTOCOL, meet, { maxInboundStreams: MAX_STREAMS })
  }

  /** Calls over lines; the first answer counts. Errors: peer_unreachable when nobody knows it, timed_out, interrupted. */
  async call(callee: Bytes, lines: readonly Line[], signal: AbortSignal): Promise<Met> {
    const made = this.#newCall(callee, undefined)
    const time = AbortSignal.timeout(ANSWER_TIME)
    const stop = AbortSignal.any([signal, time])
    const { promise, resolve, reject } = Promise.withResolvers<Met>()
    const stopped = (): void =>
      reject(
        signal.aborted
          ? new P2pnsError('interrupted', 'the call was stopped')
          : new P2pnsError('timed_out', 'the peer did not answer a call in time'),
      )
    const pending: Pending = {
      callee,
      lines: new Set(lines),
      gaveUp: reject,
      answer: (bytes, from, seen, line) => {
        if (!equalBytes(from, callee)) return
        resolve(made.met(bytes, seen, line))
      },
    }
    this.#pending.set(toHex(made.nonce), pending)
    stop.addEventListener('abort', stopped, { once: true })
    try {
      if (stop.aborted) stopped()
      if (lines.length === 0) this.#away(pending)
      for (const line of lines) {
        line.send(callee, made.call, stop).catch(() => {
          pending.lines.delete(line)
          this.#away(pending)
        })
      }
      return await promise
    } finally {
      stop.removeEventListener('abort', stopped)
      this.#pending.delete(toHex(made.nonce))
    }
  }

  /** Calls over a connection to the peer. Errors: peer_unreachable. */
  async callOver(connection: Connection, signal: AbortSignal): Promise<Met> {
    const callee = keyOf(connection.remotePeer)
    const seen = hostOf(connection.remoteAddr)
    if (!callee || !seen) throw new P2pnsError('peer_unreachable', 'the connection to the peer is of no use')
    const made = this.#newCall(callee, seen)
    const stop = AbortSignal.any([signal, AbortSignal.timeout(ANSWER_TIME)])
    const stream = await connection.newStream(MEET_PROTOCOL, { signal: stop })
    try {
      const frames = framesOf(stream, MAX_MEETING_BYTES)
      await frames.write(made.call, { signal: stop })
      const answer = (await frames.read({ signal: stop })).subarray()
      void stream.close().catch(() => undefined)
      return made.met(answer, seen, undefined)
    } catch (cause) {
      stream.abort(cause as Error)
      if (isError(cause)) throw cause
      throw new P2pnsError('peer_unreachable', 'the peer did not answer a call', { cause })
    }
  }

  /** A message came over a line. */
  heard(line: Line, from: Bytes, message: Bytes, seen: HostPort): void {
    const about = glance(message)
    if (about?.kind === 'answer') {
      try {
        this.#pending.get(toHex(about.nonce))?.answer(message, from, seen, line)
      } catch {
        // It is not from who it says: the true answer may come still.
      }
      return
    }
    const answer = about && this.#answer(message, from, seen, line)
    if (answer) void line.send(from, answer, AbortSignal.timeout(ANSWER_TIME)).catch(() => undefined)
  }

  refused(line: Line, to: Bytes): void {
    for (const pending of this.#pending.values()) {
      if (equalBytes(pending.callee, to) && pending.lines.delete(line)) this.#away(pending)
    }
  }

  #away(pending: Pending): void {
    if (pending.lines.size > 0) return
    pending.gaveUp(new P2pnsError('peer_unreachable', 'no introducer that answers knows the peer'))
  }

  #newCall(callee: Bytes, seenAt: HostPort | undefined) {
    const { key, own, random } = this.#parts
    const [nonce, half, told, at] = [random(16), halfFrom(random(32)), own(seenAt), performance.now()]
    const call = encodeCall(key, callee, nonce, half, told)
    const met = (bytes: Bytes, seen: HostPort, line: Line | undefined): Met => {
      const theirs = parseAnswer(bytes, call)
      const secrets = secretsOf(half, theirs.share, call, bytes)
      return {
        isCaller: true,
        peer: callee,
        nonce,
        own: told,
        theirs,
        secrets,
        seen,
        line,
        rtt: performance.now() - at,
      }
    }
    return { nonce, call, met }
  }

  /** Undefined: no answer is due. */
  #answer(bytes: Bytes, from: Bytes, seen: HostPort, line: Line | undefined): Bytes | undefined {
    const { key, own, random, onCall } = this.#parts
    const known = this.#answers.get(toHex(bytes))
    // The same call by another way: it has begun already.
    if (known) return known
    const call = this.#accepted(bytes, from)
    if (!call) return undefined
    const [half, told] = [halfFrom(random(32)), own(seen)]
    const answer = encodeAnswer(key, call, half, told)
    this.#answers.set(toHex(bytes), answer)
    const secrets = secretsOf(half, call.share, bytes, answer)
    onCall({ isCaller: false, peer: from, nonce: call.nonce, own: told, theirs: call, secrets, seen, line, rtt: 0 })
    return answer
  }

  #accepted(bytes: Bytes, from: Bytes): Message | undefined {
    const name = toHex(from)
    const calls = (this.#calls.get(name) ?? 0) + 1
    this.#calls.set(name, calls)
    if (calls > MAX_CALLS) return undefined
    try {
      const call = parseCall(bytes, this.#parts.key.publicKey)
      return equalBytes(call.caller, from) ? call : undefined
    } catch {
      return undefined
    }
  }

  async #meet(stream: Stream, connection: Connection): Promise<void> {
    const signal = AbortSignal.timeout(ANSWER_TIME)
    try {
      const [from, seen] = [keyOf(connection.remotePeer), hostOf(connection.remoteAddr)]
      const frames = framesOf(stream, MAX_MEETING_BYTES)
      const call = (await frames.read({ signal })).subarray()
      const answer = from && seen && this.#answer(call, from, seen, undefined)
      if (!answer) throw new Error('that is no call')
      await frames.write(answer, { signal })
      await stream.close({ signal })
    } catch (error) {
      stream.abort(error as Error)
    }
  }
}
