/** A thread of hash-pool.ts. */
import { parentPort } from 'node:worker_threads'
import { hashJob } from './hash-piece.ts'
import type { HashJob } from './hash-pool.ts'

// oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has no origin
parentPort?.on('message', (job: HashJob) => parentPort?.postMessage(hashJob(job)))
