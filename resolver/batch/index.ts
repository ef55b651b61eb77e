/**
 * The UDP side on Linux: a thread that takes, answers and sends many datagrams with one system call each (worker.ts). It does what
 * udp.ts does, which stands in for it everywhere else.
 */
import { extname } from 'node:path'
import { MessageChannel, Worker } from 'node:worker_threads'
import type { Responder } from '../responder.ts'
import type { UdpServer } from '../udp.ts'
import type { Calls } from './mmsg.ts'
import { COUNTERS, COUNTERS_BYTES } from './shared.ts'
import type { Miss, ToWorker, WorkerParts } from './worker.ts'

/** Bytes; the system may grant less. */
const RECEIVE_BUFFER = 4 * 1024 * 1024
/** Milliseconds in which the thread notices that it is to stop, or that there is something new to keep. */
const IDLE = 50

/** Undefined where many datagrams cannot be taken at once. Rejects with the system's error when it cannot bind. */
export async function serveBatched(host: string, port: number, responder: Responder): Promise<UdpServer | undefined> {
  // Where there is no build of koffi for the system, it throws.
  const mmsg = await import('./mmsg.ts').catch(() => undefined)
  const calls = mmsg?.loadCalls()
  if (!mmsg || !calls) return undefined
  const socket = mmsg.openSocket(calls, { host, port }, RECEIVE_BUFFER, IDLE)
  const { port1: near, port2: far } = new MessageChannel()
  const counters = new SharedArrayBuffer(COUNTERS_BYTES)
  const parts: WorkerParts = { fd: socket.fd, isV6: host.includes(':'), counters, port: far }
  // The build renames the file, but not the name in this string.
  const worker = new Worker(new URL(`./worker${extname(import.meta.url)}`, import.meta.url), {
    workerData: parts,
    transferList: [far],
  })
  const gone = new Promise((resolve) => worker.once('exit', resolve))
  const shared = new Int32Array(counters)
  const tell = (message: ToWorker): void => near.postMessage(message, [])
  let open = true
  near.on('message', (missed: Miss[]) => {
    Atomics.sub(shared, COUNTERS.misses, missed.length)
    if (!open) return
    for (const { packet, from } of missed) {
      const address = Buffer.from(from)
      responder.handle(Buffer.from(packet), 'udp', mmsg.hostIn(address), (response) => {
        if (open) send(calls, socket.fd, response, address)
      })
    }
  })
  responder.onKnown = (packet, template, lifetime) => tell({ type: 'keep', packet, template, lifetime })
  responder.onClear = () => tell({ type: 'clear' })
  return {
    port: socket.port,
    counts: () => ({
      hits: Atomics.load(shared, COUNTERS.hits) >>> 0,
      dropped: Atomics.load(shared, COUNTERS.dropped) >>> 0,
    }),
    async close() {
      open = false
      Atomics.store(shared, COUNTERS.stop, 1)
      await gone
      near.close()
      calls.close(socket.fd)
    },
  }
}

function send(calls: Calls, fd: number, response: Buffer, address: Buffer): void {
  calls.sendto(fd, response, response.length, 0, address, address.length)
}
