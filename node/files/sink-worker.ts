/** The thread behind DiskSink: one request, one answer, in order. */
import { parentPort, workerData } from 'node:worker_threads'
import { P2pnsError } from '../core/errors.ts'
import { CHUNK_SIZE } from '../core/tree.ts'
import { diskError } from './disk.ts'
import type { SinkAnswer, SinkMemory, SinkRequest } from './sink.ts'
import { ChunkWriter } from './writer.ts'

const { memory } = workerData as SinkMemory
let writer: ChunkWriter | undefined

function perform(request: SinkRequest): boolean[] {
  if (request.type === 'open') {
    writer = new ChunkWriter(request.options)
    return []
  }
  if (request.type === 'close') {
    writer?.close()
    writer = undefined
    return []
  }
  if (!writer) throw new P2pnsError('internal', 'no download is open')
  if (request.type === 'write') {
    const data = new Uint8Array(memory, request.slot * CHUNK_SIZE, request.length)
    return [writer.write(request.chunk, data, request.leaf)]
  }
  const ok: boolean[] = []
  for (let i = 0; i < request.count; i++) ok.push(writer.check(request.first + i))
  return ok
}

function answer(request: SinkRequest): SinkAnswer {
  try {
    return { ok: perform(request) }
  } catch (cause) {
    const { code, what } = diskError(cause, 'writing a download')
    return { error: { code, what } }
  }
}

// oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has no origin
parentPort?.on('message', (request: SinkRequest) => parentPort?.postMessage(answer(request)))
