/**
 * Tells whoever asks which address and port they come from, and pokes back at those who want to know what their NAT lets in
 * (docs/spec/reaching.md, "Reflector"). It runs in a thread of its own, so that a flood of junk is nobody else's trouble.
 */
import { extname } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import type { Bytes } from '../node/core/encoding.ts'
import { P2pnsError } from '../node/core/errors.ts'
import type { HostPort } from '../node/core/hosts.ts'

export interface ReflectorOptions {
  /** UDP ports: that of the control connections, and any other; 0: any. */
  ports: readonly [number, number]
  ipv6: boolean
}

export type ToReflector = { type: 'poke'; which: number; to: HostPort; nonce: Bytes } | { type: 'stop' }
export type FromReflector = { type: 'ready'; ports: [number, number] } | { type: 'failed'; what: string }

export interface Reflector {
  ports: [number, number]
  /** Sends a datagram from one of its two ports. `to` is to be the address that the asker comes from. */
  poke(which: 0 | 1, to: HostPort, nonce: Bytes): void
  stop(): Promise<void>
}

/** Milliseconds until a thread that broke down is replaced. */
const PAUSE = 1_000

/** A thread that ends by itself is replaced, on the same ports. Errors: port_in_use. */
export async function startReflector(options: ReflectorOptions): Promise<Reflector> {
  const stopped = new AbortController()
  let thread = await startThread(options)
  const { ports } = thread
  const keepUp = async (): Promise<void> => {
    for (;;) {
      await thread.gone
      await setTimeout(PAUSE, undefined, { signal: stopped.signal }).catch(() => undefined)
      if (stopped.signal.aborted) return
      // While somebody else has its port it stays the one that is gone.
      thread = await startThread({ ...options, ports }).catch(() => thread)
      if (stopped.signal.aborted) thread.post({ type: 'stop' })
    }
  }
  const kept = keepUp()
  return {
    ports,
    poke: (which, to, nonce) => thread.post({ type: 'poke', which, to, nonce }),
    async stop() {
      stopped.abort()
      thread.post({ type: 'stop' })
      await kept
    },
  }
}

interface Thread {
  ports: [number, number]
  post(message: ToReflector): void
  gone: Promise<unknown>
}

async function startThread(options: ReflectorOptions): Promise<Thread> {
  // The build renames the file, but not the name in this string.
  const worker = new Worker(new URL(`./reflector-worker${extname(import.meta.url)}`, import.meta.url), {
    workerData: options,
  })
  const gone = new Promise((resolve) => worker.once('exit', resolve))
  const ports = await new Promise<[number, number]>((resolve, reject) => {
    worker.on('error', reject)
    worker.once('message', (message: FromReflector) => {
      if (message.type === 'ready') resolve(message.ports)
      else reject(new P2pnsError('port_in_use', message.what))
    })
  }).catch(async (error: unknown) => {
    await worker.terminate()
    throw error
  })
  return { ports, gone, post: (message) => worker.postMessage(message, []) }
}
