/** The thread behind DiskSink: one request, one answer, in order. */
import { parentPort, workerData } from 'node:worker_threads'
import { CHUNK_SIZE } from '../core/tree.ts'
import { diskError } from './disk.ts'
import type { SinkAnswer, SinkData, SinkRequest } from './sink.ts'
import { ChunkWriter } from './writer.ts'

const { memory, ...options } = workerData as SinkData
let writer: ChunkWriter | undefined

function perform(request: SinkRequest): boolean[] {
  writer ??= new ChunkWriter(options)
  if (request.type === 'write') {
    const data = new Uint8Array(memory, request.slot * CHUNK_SIZE, request.length)
    return [writer.write(request.chunk, data, request.leaf)]
  }
  if (request.type === 'check') {
    const ok: boolean[] = []
    for (let i = 0; i < request.count; i++) ok.push(writer.check(request.first + i))
    return ok
  }
  writer.close()
  return []
}

function answer(request: SinkRequest): SinkAnswer {
  try {
    return { ok: perform(request) }
  } catch (cause) {
    const { code, what } = diskError(cause, options.base)
    return { error: { code, what } }
  }
}

// oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has no origin
parentPort?.on('message', (request: SinkRequest) => parentPort?.postMessage(answer(request)))
