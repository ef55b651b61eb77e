/** The thread behind mineAside: one task, one answer. */
import { parentPort, workerData } from 'node:worker_threads'
import { mine } from './core/claim.ts'
import type { MiningTask } from './mining.ts'

const { claim, bits, startNonce } = workerData as MiningTask
// oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has no origin
parentPort?.postMessage(mine(claim, bits, startNonce).nonce)
