/**
 * The UDP side on Linux: a thread that takes, answers and sends many datagrams with one system call each (worker.ts). It does what
 * udp.ts does, which stands in for it everywhere else, and when the thread ends by itself.
 */
import { extname } from 'node:path'
import { MessageChannel, Worker } from 'node:worker_threads'
import type { Responder } from '../responder.ts'
import { TALLY_BYTES, Tally } from '../tally.ts'
import { serveUdp, type UdpServer } from '../udp.ts'
import { owned } from '../wire.ts'
import type { Calls } from './mmsg.ts'
import { isPlain, SHARED, SHARED_BYTES } from './shared.ts'
import type { Misses, ToWorker, WorkerParts } from './worker.ts'

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
  const parts: WorkerParts = {
    fd: socket.fd,
    isV6: host.includes(':'),
    shared: new SharedArrayBuffer(SHARED_BYTES),
    tallied: new SharedArrayBuffer(TALLY_BYTES),
    port: far,
  }
  // The build renames the file, but not the name in this string.
  const worker = new Worker(new URL(`./worker${extname(import.meta.url)}`, import.meta.url), {
    workerData: parts,
    transferList: [far],
    resourceLimits: { maxYoungGenerationSizeMb: 4, maxOldGenerationSizeMb: 128 },
  })
  const shared = new Int32Array(parts.shared)
  const addressSize = mmsg.addressSizeOf(parts.isV6)
  const tell = (message: ToWorker): void => near.postMessage(message, [])
  let open = true
  let standIn: UdpServer | undefined
  near.on('message', ({ bytes, lengths }: Misses) => {
    Atomics.sub(shared, SHARED.misses, lengths.length)
    const all = Buffer.from(bytes.buffer)
    let at = 0
    for (const length of lengths) {
      const packet = all.subarray(at, at + length)
      at += length + addressSize
      const address = all.subarray(at - addressSize, at)
      responder.handle(packet, 'udp', mmsg.hostIn(address), (response) => {
        if (open) send(calls, socket.fd, response, address)
      })
    }
  })
  responder.onKnown = (query, template, lifetime) => {
    if (!isPlain(query) || Atomics.load(shared, SHARED.watched) !== 0) return
    // A message carries all the memory that a Buffer is a piece of, 64 KiB for a small one.
    tell({ type: 'keep', packet: Uint8Array.from(query.packet), template: owned(template), lifetime })
  }
  responder.onClear = () => tell({ type: 'clear' })
  const letGo = (): void => {
    open = false
    responder.onKnown = undefined
    responder.onClear = () => undefined
    near.close()
    calls.close(socket.fd)
  }
  // What it ended with is nothing that the person can mend, and the other side serves as well.
  worker.on('error', () => {})
  const gone = new Promise((resolve) => worker.once('exit', resolve)).then(async () => {
    const isWanted = Atomics.load(shared, SHARED.stop) === 0
    letGo()
    if (isWanted) standIn = await serveUdp(host, socket.port, responder)
  })
  // It fails only when another program took the port in that moment; TCP is still served.
  gone.catch(() => {})
  return {
    port: socket.port,
    tally: new Tally(parts.tallied),
    isBatched: () => open,
    watch: (watched) => Atomics.store(shared, SHARED.watched, watched ? 1 : 0),
    async close() {
      Atomics.store(shared, SHARED.stop, 1)
      await gone.catch(() => {})
      await standIn?.close()
    },
  }
}

function send(calls: Calls, fd: number, response: Buffer, address: Buffer): void {
  calls.sendto(fd, response, response.length, 0, address, address.length)
}
