/** What the command line touches outside itself, in one object, so that a test can hand in its own. */
import type { createIntroducer } from '../introducer/index.ts'
import type { serveApi } from '../node/api.ts'
import type { connectNode } from '../node/api-client.ts'
import type { createNode } from '../node/index.ts'
import type { createResolver } from '../resolver/index.ts'
import type { serveNodeMetrics } from './metrics.ts'

export interface TextStream {
  write(data: string | Uint8Array): unknown
  /** Calls back when a write that returned false has gone out. */
  once?(event: 'drain', listener: () => void): unknown
  isTTY?: boolean
}

/** The parts that do the work. Each is imported when it is called: libp2p alone takes 0.4 s to load. */
export interface Engine {
  createNode: typeof createNode
  connectNode: typeof connectNode
  serveApi: typeof serveApi
  createIntroducer: typeof createIntroducer
  createResolver: typeof createResolver
  serveMetrics: typeof serveNodeMetrics
}

type Signal = 'SIGINT' | 'SIGTERM'

export interface World {
  stdin: NodeJS.ReadableStream & { isTTY?: boolean }
  stdout: TextStream
  stderr: TextStream
  env: Record<string, string | undefined>
  /** Relative paths of the command line start here. */
  cwd: string
  engine: Engine
  /** Milliseconds since 1970. */
  now: () => number
  onSignal(name: Signal, listener: (name: Signal) => void): void
  offSignal(name: Signal, listener: (name: Signal) => void): void
  /** Ends the process at once. */
  exit(code: number): void
}

const engine: Engine = {
  createNode: async (options) => (await import('../node/index.ts')).createNode(options),
  connectNode: async (home) => (await import('../node/api-client.ts')).connectNode(home),
  serveApi: async (node, home) => (await import('../node/api.ts')).serveApi(node, home),
  createIntroducer: async (options) => (await import('../introducer/index.ts')).createIntroducer(options),
  createResolver: async (options) => (await import('../resolver/index.ts')).createResolver(options),
  serveMetrics: async (at, node, resolver) => (await import('./metrics.ts')).serveNodeMetrics(at, node, resolver),
}

export function realWorld(): World {
  // A reader that has seen enough (`p2pns peers | head -1`) closes the pipe; that is not an error of ours.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(0)
    throw error
  })
  return {
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    env: process.env,
    cwd: process.cwd(),
    engine,
    now: () => Date.now(),
    onSignal: (name, listener) => void process.on(name, listener),
    offSignal: (name, listener) => void process.off(name, listener),
    exit: (code) => process.exit(code),
  }
}
