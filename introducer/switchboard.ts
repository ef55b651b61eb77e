/**
 * Hands signed calls and answers from one peer to another over the streams that both keep open (docs/spec/reaching.md,
 * "Switchboard"). It keeps nothing and dials nobody.
 */
import type { Connection, Stream } from '@libp2p/interface'
import type { LengthPrefixedStream } from '@libp2p/utils'
import { type Bytes, type CborValue, toCbor, toHex } from '../node/core/encoding.ts'
import { P2pnsError } from '../node/core/errors.ts'
import { addressBytes, type HostPort, hostText } from '../node/core/hosts.ts'
import { MAX_MEETING_BYTES } from '../node/core/meeting.ts'
import { asBytes, asList } from '../node/core/shape.ts'
import { framesOf } from '../node/net/frames.ts'
import { hostOf, keyOf } from '../node/net/peers.ts'
import { fromFrame, MAX_SWITCHBOARD_BYTES } from '../node/net/switchboard.ts'
import { addressBlock, type WindowLimit, windowLimit } from './limits.ts'

const MINUTE = 60_000
const MAX_EACH = 60
const MAX_BLOCK = 600
/** Milliseconds that a peer may take to read what is handed to it. */
const WRITE_TIME = 5_000

interface Line {
  frames: LengthPrefixedStream<Stream>
  stream: Stream
  key: Bytes
  from: HostPort
}

export class Switchboard {
  /** By the key of the peer, in hex; the newest stream of each. */
  readonly #lines = new Map<string, Line>()
  readonly #each: WindowLimit
  readonly #blocks: WindowLimit
  /** Messages handed on. */
  passed = 0

  constructor(now: () => number) {
    this.#each = windowLimit({ now, length: MINUTE, max: MAX_EACH })
    this.#blocks = windowLimit({ now, length: MINUTE, max: MAX_BLOCK })
  }

  get size(): number {
    return this.#lines.size
  }

  /** Serves the stream of a peer until it ends. Never throws. */
  async serve(stream: Stream, connection: Connection): Promise<void> {
    const key = keyOf(connection.remotePeer)
    const from = hostOf(connection.remoteAddr)
    if (!key || !from) return stream.abort(new Error('nobody could be told who that is'))
    const line: Line = { frames: framesOf(stream, MAX_SWITCHBOARD_BYTES), stream, key, from }
    const name = toHex(key)
    this.#lines.get(name)?.stream.abort(new Error('there is a newer one'))
    this.#lines.set(name, line)
    try {
      for (;;) await this.#pass(line, await line.frames.read())
    } catch (error) {
      stream.abort(error as Error)
    } finally {
      if (this.#lines.get(name) === line) this.#lines.delete(name)
    }
  }

  /** Waits until the asker has read what it is told, or the other what it is handed: a fast talker waits for itself. */
  async #pass(line: Line, frame: { subarray(): Uint8Array }): Promise<void> {
    const [to, message] = asList(fromFrame(frame), 'A call', 2)
    const key = asBytes(to, 'A call', 32)
    const body = asBytes(message, 'A call')
    // With the address it would not fit into a frame any more, which would end the line of who is called.
    if (body.length > MAX_MEETING_BYTES) throw new P2pnsError('too_large', `A call has ${body.length} bytes`)
    const name = toHex(line.key)
    const block = addressBlock(line.from.host) ?? hostText(line.from)
    if (!this.#each.take(name) || !this.#blocks.take(block)) return write(line, [key, 'limit'])
    const other = this.#lines.get(toHex(key))
    const { host, port } = line.from
    const passed = other && (await write(other, [line.key, body, [addressBytes(host), port]]).then(...WORKED))
    if (!passed) return write(line, [key, 'away'])
    this.passed++
  }
}

const WORKED = [() => true, () => false] as const

async function write({ frames, stream }: Line, value: CborValue): Promise<void> {
  try {
    await frames.write(toCbor(value), { signal: AbortSignal.timeout(WRITE_TIME) })
  } catch (error) {
    stream.abort(error as Error)
    throw error
  }
}
