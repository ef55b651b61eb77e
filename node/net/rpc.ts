/**
 * Questions and answers over one kept libp2p stream, so that a warm question costs one round trip: a new stream per
 * question would cost a second one for its negotiation. Frames are length-prefixed canonical CBOR arrays:
 * `[id, method, [arguments]]` and `[id, code, result]`, with an empty code for success (docs/spec/introducer.md).
 */
import type { Stream } from '@libp2p/interface'
import type { LengthPrefixedStream } from '@libp2p/utils'
import { type CborValue, fromCbor, toCbor } from '../core/encoding.ts'
import { ERRORS, type ErrorCode, isError, P2pnsError } from '../core/errors.ts'
import { framesOf } from './frames.ts'

/** Bytes; room for the largest record (a lease and its zone) and its frame. */
export const MAX_FRAME_BYTES = 16 * 1024
/** Milliseconds that one question may take, unless its asker knows that it takes longer. */
const CALL_TIMEOUT_MS = 10_000
/** Questions of one stream that may be worked on at once; further ones wait unread. */
const MAX_CONCURRENT = 32

export type Arguments = readonly CborValue[]
/** Answers one question; what it throws is sent as a code and a message if it is one of ours, as `internal` if not. */
export type Handler = (method: string, args: Arguments) => Promise<CborValue>

/** The asking side of a kept stream. */
export class RpcClient {
  readonly #stream: Stream
  readonly #frames: LengthPrefixedStream<Stream>
  readonly #pending = new Map<number, { resolve: (value: CborValue) => void; reject: (error: Error) => void }>()
  #nextId = 1
  #closed = false

  constructor(stream: Stream) {
    this.#stream = stream
    this.#frames = framesOf(stream, MAX_FRAME_BYTES)
    void this.#read()
  }

  get closed(): boolean {
    return this.#closed
  }

  /** Errors: the one that the other side answered, timed_out, or peer_unreachable when the stream ended. */
  async call(method: string, args: Arguments, signal?: AbortSignal, limit = CALL_TIMEOUT_MS): Promise<CborValue> {
    if (this.#closed) throw new P2pnsError('peer_unreachable', 'The stream to the introducer is closed')
    const id = this.#nextId++
    const timeout = AbortSignal.timeout(limit)
    const stop = signal === undefined ? timeout : AbortSignal.any([signal, timeout])
    const { promise, resolve, reject } = Promise.withResolvers<CborValue>()
    const onAbort = () =>
      reject(
        signal?.aborted && !isTimeout(signal)
          ? new P2pnsError('interrupted', `The question "${method}" was cancelled`)
          : new P2pnsError('timed_out', `The introducer did not answer "${method}" in time`),
      )
    stop.addEventListener('abort', onAbort, { once: true })
    this.#pending.set(id, { resolve, reject })
    try {
      if (stop.aborted) onAbort()
      else this.#frames.write(toCbor([id, method, args])).catch((error: unknown) => this.#fail(error))
      return await promise
    } finally {
      stop.removeEventListener('abort', onAbort)
      this.#pending.delete(id)
    }
  }

  close(): void {
    this.#fail(new Error('closed'))
    void this.#stream.close().catch(() => {})
  }

  async #read(): Promise<void> {
    try {
      for (;;) {
        const [id, code, result] = readFrame(await this.#frames.read())
        const waiting = this.#pending.get(id)
        if (code === '') waiting?.resolve(result)
        else waiting?.reject(remoteError(code, result))
      }
    } catch (error) {
      this.#fail(error)
    }
  }

  #fail(cause: unknown): void {
    if (this.#closed) return
    this.#closed = true
    const error = new P2pnsError('peer_unreachable', 'The stream to the introducer ended', { cause })
    for (const waiting of this.#pending.values()) waiting.reject(error)
    this.#stream.abort(error)
  }
}

/** Serves one kept stream until it ends; a frame that is not of the protocol ends it. */
export async function serveRpc(stream: Stream, handler: Handler): Promise<void> {
  const frames = framesOf(stream, MAX_FRAME_BYTES)
  const running = new Set<Promise<void>>()
  try {
    for (;;) {
      const [id, method, args] = readFrame(await frames.read())
      if (!Array.isArray(args)) throw new P2pnsError('frame_invalid', 'A question has no list of arguments')
      const task = answer(handler, method, args as Arguments)
        .then((reply) => frames.write(toCbor([id, ...reply])))
        .catch(() => {})
        .finally(() => running.delete(task))
      running.add(task)
      if (running.size >= MAX_CONCURRENT) await Promise.race(running)
    }
  } catch (error) {
    stream.abort(error as Error)
  }
}

async function answer(handler: Handler, method: string, args: Arguments): Promise<[string, CborValue]> {
  try {
    return ['', await handler(method, args)]
  } catch (error) {
    if (!isError(error)) return ['internal', 'The introducer failed']
    // A full disk, say: the asker can do nothing about it, and it is no business of theirs where our database stands.
    if (!isAnswer(error.code)) return ['peer_unreachable', `The introducer cannot answer now (${error.code})`]
    return [error.code, error.what]
  }
}

function isTimeout(signal: AbortSignal): boolean {
  return signal.reason instanceof DOMException && signal.reason.name === 'TimeoutError'
}

function readFrame(bytes: { subarray(): Uint8Array }): [number, string, CborValue] {
  const value = fromCbor(bytes.subarray(), MAX_FRAME_BYTES, 'A frame')
  if (!Array.isArray(value) || value.length !== 3) throw new P2pnsError('frame_invalid', 'A frame is not an array of 3')
  const [id, word, rest] = value as [CborValue, CborValue, CborValue]
  if (typeof id !== 'number' || typeof word !== 'string') throw new P2pnsError('frame_invalid', 'A frame is malformed')
  return [id, word, rest]
}

/** Whether an error can be about a question; others are about the machine they happen on. */
function isAnswer(code: string): boolean {
  const { exit } = Object.hasOwn(ERRORS, code) ? ERRORS[code as ErrorCode] : ERRORS.internal
  return exit >= ERRORS.usage.exit && exit <= ERRORS.timed_out.exit
}

/** What the other side says went wrong: its word for it, but only a code that fits, and nothing that moves a cursor. */
function remoteError(code: string, what: CborValue): P2pnsError {
  const text = typeof what === 'string' ? what.slice(0, 300).replace(/\p{C}+/gu, ' ') : 'The introducer did not say why'
  return new P2pnsError(isAnswer(code) ? (code as ErrorCode) : 'internal', text)
}
