/** The work of a first claim, off the thread that everything else runs on. */
import { extname } from 'node:path'
import { Worker } from 'node:worker_threads'
import { type Claim, mine } from './core/claim.ts'
import type { Bytes } from './core/encoding.ts'
import { P2pnsError } from './core/errors.ts'

/** What the thread is given; it answers with the nonce. */
export interface MiningTask {
  claim: Claim
  bits: number
  startNonce: Bytes
}

/** Some 10 ms on average, 50 ms at worst: less than a thread takes to start. */
const INLINE_BITS = 12

/** As `mine` (node/core/claim.ts). Errors: interrupted. */
export async function mineAside(task: MiningTask, signal?: AbortSignal): Promise<Claim> {
  const { claim, bits, startNonce } = task
  if (bits <= INLINE_BITS) return mine(claim, bits, startNonce)
  const { promise, resolve, reject } = Promise.withResolvers<Bytes>()
  // The build renames the file, but not the name in this string.
  const worker = new Worker(new URL(`./mining-worker${extname(import.meta.url)}`, import.meta.url), {
    workerData: task,
  })
  const onAbort = () => reject(new P2pnsError('interrupted', `The work for ${claim.name}.p2p was stopped`))
  worker.once('message', resolve)
  worker.once('error', reject)
  signal?.addEventListener('abort', onAbort, { once: true })
  try {
    if (signal?.aborted) onAbort()
    return { ...claim, nonce: await promise }
  } finally {
    signal?.removeEventListener('abort', onAbort)
    await worker.terminate()
  }
}
