/**
 * The thread that takes and answers datagrams, many at a time. What it has an answer for it answers; the rest goes to the main thread,
 * which finds answers, and tells this one what to keep. It waits in the system call, so it has no event loop: messages are looked for in between.
 */
import { type MessagePort, receiveMessageOnPort, workerData } from 'node:worker_threads'
import { AnswerCache } from '../cache.ts'
import { Tally } from '../tally.ts'
import { fill, headerAnswer, isStale, rcodeOf, readQuery, type Template, udpLimit } from '../wire.ts'
import { Batch, loadCalls } from './mmsg.ts'
import { isPlain, MAX_MISSES, SHARED } from './shared.ts'

export interface WorkerParts {
  fd: number
  isV6: boolean
  shared: SharedArrayBuffer
  /** Of this thread's tally. */
  tallied: SharedArrayBuffer
  port: MessagePort
}

export type ToWorker = { type: 'keep'; packet: Uint8Array; template: Template; lifetime: number } | { type: 'clear' }

/** Datagrams for the main thread, one behind the other, and behind each the socket address that it came from. */
export interface Misses {
  bytes: Uint8Array
  /** Of each datagram, in bytes. */
  lengths: number[]
}

const { fd, isV6, port, ...memory } = workerData as WorkerParts
const calls = loadCalls()
const cache = new AnswerCache(Date.now)
const shared = new Int32Array(memory.shared)
const tally = new Tally(memory.tallied)

function apply(message: ToWorker): void {
  if (message.type === 'clear') return cache.clear()
  const { packet, template, lifetime } = message
  const query = readQuery(Buffer.from(packet))
  if (!('drop' in query)) cache.set(query, { ...template, wire: Buffer.from(template.wire) }, lifetime)
}

/** The answer, which stands at the start of `room`. Undefined: it needs the main thread. */
function answerTo(packet: Buffer, room: Buffer): Buffer | 'drop' | undefined {
  const query = readQuery(packet)
  if ('drop' in query) {
    if (query.drop) {
      tally.count('dropped')
      return 'drop'
    }
    tally.answered('refused', query.rcode)
    const header = headerAnswer(packet, query.rcode)
    room.set(header)
    return room.subarray(0, header.length)
  }
  const cached = isPlain(query) ? cache.get(query) : undefined
  if (!cached) return undefined
  tally.answered(isStale(cached) ? 'stale' : 'cached', rcodeOf(cached))
  return fill(query, cached, udpLimit(query), undefined, room)
}

function serve(batch: Batch): void {
  const missed: number[] = []
  const count = batch.receive()
  const start = performance.now()
  const watched = Atomics.load(shared, SHARED.watched) !== 0
  let answered = 0
  for (let i = 0; i < count; i++) {
    if (!batch.isWhole(i)) {
      tally.count('dropped')
      continue
    }
    const question = batch.question(i)
    const answer = watched ? undefined : answerTo(question, batch.room(i))
    if (answer === 'drop') continue
    if (answer) {
      batch.answer(i, answer.length)
      answered++
    } else missed.push(i)
  }
  batch.flush()
  if (answered > 0) tally.took((performance.now() - start) / 1000, answered)
  if (missed.length === 0) return
  // What the main thread cannot keep up with is dropped here, as the system would.
  if (Atomics.add(shared, SHARED.misses, missed.length) < MAX_MISSES) handOver(batch, missed)
  else Atomics.sub(shared, SHARED.misses, missed.length)
}

/** In one piece of memory, which changes its thread. */
function handOver(batch: Batch, missed: number[]): void {
  const pieces = missed.flatMap((i) => [batch.question(i), batch.from(i)])
  const bytes = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0))
  let at = 0
  for (const piece of pieces) {
    bytes.set(piece, at)
    at += piece.length
  }
  const misses: Misses = { bytes, lengths: missed.map((i) => batch.question(i).length) }
  port.postMessage(misses, [bytes.buffer])
}

if (calls) {
  const batch = new Batch(calls, fd, isV6)
  while (Atomics.load(shared, SHARED.stop) === 0) {
    for (let next = receiveMessageOnPort(port); next; next = receiveMessageOnPort(port)) apply(next.message as ToWorker)
    serve(batch)
  }
}
port.close()
