/** Peers that lie. Each takes what an honest seeder says, frame by frame, and yields the bytes that it says instead. */
import type { Duplex } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { Bytes } from '../../node/core/encoding.ts'
import { encodeFrame, type Frame, FrameDecoder } from '../../node/core/frames.ts'

export type Lie = (frames: AsyncIterable<Frame>) => AsyncGenerator<Bytes>
type ChunkFrame = Frame & { type: 'chunk' }
/** Whether to lie about the nth chunk, or span, of a link; from 0. */
export type When = (nth: number) => boolean
const ALWAYS: When = () => true

/** Right bytes but for a flipped bit in each of the second half. */
export function corrupt(when = ALWAYS): Lie {
  return async function* (frames) {
    let nth = 0
    for await (const frame of frames) {
      yield encodeFrame(frame.type === 'chunk' && when(nth++) ? { ...frame, data: flipped(frame.data) } : frame)
    }
  }
}

/** Half of a chunk, and then the end. */
export function truncate(when = ALWAYS): Lie {
  return async function* (frames) {
    let nth = 0
    for await (const frame of frames) {
      const bytes = encodeFrame(frame)
      const cut = frame.type === 'chunk' && when(nth++)
      yield cut ? bytes.subarray(0, bytes.length / 2) : bytes
      if (cut) return
    }
  }
}

/** Two chunks, each under the other's number. */
export function swap(when = ALWAYS): Lie {
  return async function* (frames) {
    let nth = 0
    let held: ChunkFrame | undefined
    for await (const frame of frames) {
      if (frame.type !== 'chunk' || !(held || when(nth++))) yield encodeFrame(frame)
      else if (!held) held = frame
      else {
        yield encodeFrame({ ...frame, data: held.data })
        yield encodeFrame({ ...held, data: frame.data })
        held = undefined
      }
    }
  }
}

/** Hashes of something else. */
export function falseSpans(when = ALWAYS): Lie {
  return async function* (frames) {
    let nth = 0
    for await (const frame of frames) {
      const lies = frame.type === 'hashes' && when(nth++)
      yield encodeFrame(lies ? { ...frame, leaves: flipped(frame.leaves) } : frame)
    }
  }
}

/** Greets, and answers nothing. */
export function stall(): Lie {
  return async function* (frames) {
    for await (const frame of frames) if (frame.type === 'hello' || frame.type === 'bitfield') yield encodeFrame(frame)
  }
}

/** Greets, and says `noise` for ever. */
export function flood(noise: Frame): Lie {
  return async function* (frames) {
    const bytes = encodeFrame(noise)
    const together = Buffer.concat(Array.from({ length: Math.ceil(16_384 / bytes.length) }, () => bytes))
    for await (const frame of frames) {
      yield encodeFrame(frame)
      while (frame.type === 'bitfield') yield together
    }
  }
}

/** Says over `far` what `lie` makes of what comes from `inner`; what is asked goes through as it is. Ends with either. */
export async function lieOver(inner: Duplex, far: Duplex, lie: Lie): Promise<void> {
  far.pipe(inner)
  far.on('close', () => inner.destroy())
  inner.on('error', () => undefined)
  await pipeline(inner, (bytes: AsyncIterable<Buffer>) => lie(framesOf(bytes)), far).catch(() => undefined)
  inner.destroy()
}

async function* framesOf(stream: AsyncIterable<Buffer>): AsyncGenerator<Frame> {
  const frames: Frame[] = []
  const decoder = new FrameDecoder({
    open: (_, length) => Buffer.alloc(length),
    frame: (frame) => frames.push(frame),
  })
  for await (const bytes of stream) {
    decoder.push(bytes)
    yield* frames.splice(0)
  }
}

function flipped(bytes: Bytes = new Uint8Array(0)): Bytes {
  return Uint8Array.from(bytes, (byte, i) => (i < bytes.length / 2 ? byte : byte ^ 0x80))
}
