/** Bytes of one file as they come, verified and in order: asked for a few chunks ahead of whoever reads. */
import type { Bytes } from '../core/encoding.ts'
import { P2pnsError } from '../core/errors.ts'
import { CHUNK_SIZE } from '../core/tree.ts'
import { Download } from './download.ts'
import { Layout, type Part } from './layout.ts'
import { Work } from './link-threads.ts'
import type { Swarm } from './swarm.ts'

/** Chunks that may wait for the reader: 16 MiB. */
const AHEAD = 64

/** Bytes `start` to `end` (not included) of `part`. Throws why the last peer was lost, `interrupted`. */
export async function* streamPart(
  swarm: Swarm,
  part: Part,
  { start, end }: { start: number; end: number },
  signal: AbortSignal,
): AsyncGenerator<Bytes> {
  if (start >= end) return
  const first = part.first + Math.floor(start / CHUNK_SIZE)
  const last = part.first + Math.floor((end - 1) / CHUNK_SIZE)
  const arrived = new Map<number, Bytes>()
  let wake = (): void => undefined
  const work = new Work({ parts: [part], keep: 'hand' }, (chunk, bytes) => {
    arrived.set(chunk, bytes)
    wake()
  })
  const download = new Download({
    layout: new Layout([part]),
    wanted: [{ first, count: last - first + 1 }],
    work,
    random: () => 0,
    ahead: AHEAD,
    onChunk: () => undefined,
  })
  const left = new AbortController()
  let failure: unknown
  const running = swarm.run(download, AbortSignal.any([signal, left.signal])).catch((cause) => {
    failure = cause
    wake()
  })
  try {
    for (let chunk = first; chunk <= last; chunk++) {
      while (!arrived.has(chunk)) {
        if (failure) throw failure
        await new Promise<void>((resolve) => (wake = resolve))
      }
      const bytes = arrived.get(chunk) as Bytes
      arrived.delete(chunk)
      const at = (chunk - part.first) * CHUNK_SIZE
      yield bytes.subarray(Math.max(0, start - at), Math.min(bytes.length, end - at))
      download.advance(chunk + 1)
    }
  } finally {
    left.abort()
    await running
    await work.close()
  }
}

/** The byte range that `asked` means in a file of `size` bytes; a negative start counts from the end. Throws `usage`. */
export function rangeIn(size: number, asked: { start?: number; end?: number }): { start: number; end: number } {
  const { start: from = 0, end: to = size } = asked
  const start = from < 0 ? Math.max(0, size + from) : from
  if (start > size || (start === size && size > 0) || to < start) {
    throw new P2pnsError('usage', `the range begins at byte ${start}, and the file has ${size}`)
  }
  return { start, end: Math.min(to, size) }
}
