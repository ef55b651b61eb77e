/** Hashing with all cores: pieces of files go out to threads, and their leaf hashes come back in order. */
import { availableParallelism } from 'node:os'
import { extname } from 'node:path'
import { Worker } from 'node:worker_threads'
import type { Bytes } from '../core/encoding.ts'
import { P2pnsError } from '../core/errors.ts'
import { CHUNK_SIZE } from '../core/tree.ts'
import { diskError } from './disk.ts'
import { hashJob } from './hash-piece.ts'

/** `length` bytes from `at` on, which is at a chunk. */
export interface Piece {
  source: string
  at: number
  length: number
}

export type HashedPiece = { leaves: Bytes; size: bigint; mtimeNs: bigint } | { changed: true }
export interface HashJob {
  pieces: Piece[]
}
export type HashAnswer = { pieces: HashedPiece[] } | { failed: string; code: string }

/** Bytes of one piece, and of the pieces of one job; a job has a few files at most, so that progress is seen. */
const PIECE = 32 * CHUNK_SIZE
const MAX_FILES = 128
/** Jobs that wait in each thread: one that is worked at, one that is next. */
const JOBS_EACH = 2

class HashThread {
  readonly #worker: Worker
  readonly #waiting: { resolve: (answer: HashAnswer) => void; reject: (error: Error) => void }[] = []

  constructor() {
    // The build renames the file, but not the name in this string.
    this.#worker = new Worker(new URL(`./hash-worker${extname(import.meta.url)}`, import.meta.url))
    this.#worker.on('message', (answer: HashAnswer) => this.#waiting.shift()?.resolve(answer))
    this.#worker.on('error', (cause) => {
      for (const { reject } of this.#waiting.splice(0))
        reject(new P2pnsError('internal', 'a hashing thread', { cause }))
    })
  }

  get busy(): number {
    return this.#waiting.length
  }

  hash(job: HashJob): Promise<HashAnswer> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject })
      // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has no origin
      this.#worker.postMessage(job)
    })
  }

  async stop(): Promise<void> {
    await this.#worker.terminate()
  }
}

function isSmall({ pieces }: HashJob): boolean {
  return pieces.length < MAX_FILES && pieces.reduce((sum, { length }) => sum + length, 0) <= CHUNK_SIZE
}

/** Files cut into pieces, and the pieces put into jobs. */
function* jobsOf(files: Iterable<{ source: string; size: number }>): Generator<HashJob> {
  let pieces: Piece[] = []
  let bytes = 0
  for (const { source, size } of files) {
    for (let at = 0; at < size || at === 0; at += PIECE) {
      const length = Math.min(PIECE, size - at)
      pieces.push({ source, at, length })
      bytes += length
      if (bytes < PIECE && pieces.length < MAX_FILES) continue
      yield { pieces }
      pieces = []
      bytes = 0
    }
  }
  if (pieces.length > 0) yield { pieces }
}

/**
 * The leaves of each piece of `files`, in order. Throws `file_changed` for one that was written to meanwhile, disk errors,
 * and `interrupted` on `signal`.
 */
export async function* hashFiles(
  files: Iterable<{ source: string; size: number }>,
  signal?: AbortSignal,
): AsyncGenerator<Piece & { leaves: Bytes; size: bigint; mtimeNs: bigint }> {
  const threads: HashThread[] = []
  const running: { job: HashJob; answer: Promise<HashAnswer> }[] = []
  const jobs = jobsOf(files)
  const start = (): boolean => {
    const next = jobs.next()
    if (next.done) return false
    // A thread takes longer to start than a little file to be hashed.
    if (isSmall(next.value) && threads.length === 0) {
      return running.push({ job: next.value, answer: Promise.resolve(hashJob(next.value)) }) > 0
    }
    let [thread] = threads.toSorted((a, b) => a.busy - b.busy)
    if (!thread || (thread.busy > 0 && threads.length < availableParallelism())) {
      thread = new HashThread()
      threads.push(thread)
    }
    const answer = thread.hash(next.value)
    // It is looked at when its turn comes.
    answer.catch(() => undefined)
    running.push({ job: next.value, answer })
    return true
  }
  try {
    while (running.length < availableParallelism() * JOBS_EACH && start()) {}
    for (let turn = running.shift(); turn; turn = running.shift()) {
      if (signal?.aborted) throw new P2pnsError('interrupted', 'hashing was stopped')
      const answer = await turn.answer
      start()
      if ('failed' in answer) throw diskError(Object.assign(new Error(), { code: answer.code }), answer.failed)
      for (const [i, piece] of turn.job.pieces.entries()) {
        const hashed = answer.pieces[i]
        if (!hashed || 'changed' in hashed) {
          throw new P2pnsError('file_changed', `${piece.source} was written to while it was hashed`)
        }
        yield { ...piece, ...hashed }
      }
    }
  } finally {
    await Promise.all(threads.map((thread) => thread.stop()))
  }
}
