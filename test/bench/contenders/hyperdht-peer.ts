/**
 * hyperdht in a host of the lab. Arguments: the folder it was installed in, then either `nodes`, how many, the address of this host
 * and the node to start from (none: the first one here is the first of all), or `peer` and nodes to start from. A peer echoes.
 */
import { once } from 'node:events'
import { createRequire } from 'node:module'
import * as path from 'node:path'
import type { Duplex } from 'node:stream'
import type { Opened } from '../../nat/reach-peer.ts'

export interface ToHyperdht {
  id: number
  peer: string
  timeout: number
}

type Stream = Duplex & { rawStream: { remoteHost: string } | null }

interface Dht {
  readonly firewalled: boolean
  readonly stats: { punches: { open: number; random: number } }
  fullyBootstrapped(): Promise<void>
  connect(publicKey: Buffer): Stream
  createServer(connected: (stream: Stream) => void): { listen(): Promise<void>; publicKey: Buffer }
}

interface Hyperdht {
  new (options: object): Dht
  bootstrapper(port: number, host: string): Dht
}

const FIRST_PORT = 49737
const [modules = '', role, ...rest] = process.argv.slice(2)
const HyperDHT = createRequire(path.join(modules, 'package.json'))('hyperdht') as Hyperdht

async function runNodes(count: number, host: string, start: string | undefined): Promise<string> {
  const first = `${host}:${FIRST_PORT}`
  for (let port = FIRST_PORT; port < FIRST_PORT + count; port++) {
    const options = { port, anyPort: false, ephemeral: false, firewalled: false, bootstrap: [start ?? first] }
    const isFirst = start === undefined && port === FIRST_PORT
    await (isFirst ? HyperDHT.bootstrapper(port, host) : new HyperDHT(options)).fullyBootstrapped()
  }
  return first
}

async function runPeer(bootstrap: string[]): Promise<string> {
  // Else it refuses a second guessing of ports within 20 s, and a pair would pay for the one before.
  const dht = new HyperDHT({ bootstrap, randomPunchInterval: 1 })
  const server = dht.createServer((stream) => {
    stream.on('error', () => undefined)
    stream.pipe(stream)
  })
  await server.listen()
  process.on('message', ({ id, peer, timeout }: ToHyperdht) => {
    reach(dht, peer, timeout).then(
      (opened) => process.send?.({ id, result: [opened] }),
      (error: Error) => process.send?.({ id, error: ((error.cause as Error | undefined) ?? error).message }),
    )
  })
  return server.publicKey.toString('hex')
}

async function reach(dht: Dht, peer: string, timeout: number): Promise<Opened> {
  const started = performance.now()
  const passed = (): number => Math.round(performance.now() - started)
  const before = { ...dht.stats.punches }
  const stop = new AbortController()
  const stream = dht.connect(Buffer.from(peer, 'hex'))
  stream.on('error', (error: Error) => stop.abort(error))
  stream.on('close', () => stop.abort(new Error('closed')))
  const timer = setTimeout(() => stop.abort(new Error(`nothing within ${timeout} ms`)), timeout)
  try {
    await once(stream, 'open', { signal: stop.signal })
    const open = passed()
    stream.write(Buffer.from('x'))
    await once(stream, 'data', { signal: stop.signal })
    return { path: pathOf(dht, stream, before), open, ms: passed() }
  } finally {
    clearTimeout(timer)
    stream.destroy()
  }
}

/** Only the nodes to start from could relay. */
function pathOf(dht: Dht, { rawStream }: Stream, before: Dht['stats']['punches']): string {
  if (rest.some((node) => node.startsWith(`${rawStream?.remoteHost}:`))) return 'relayed'
  const { open, random } = dht.stats.punches
  if (open > before.open) return 'direct'
  if (random > before.random) return 'guessed'
  return dht.firewalled ? 'punched' : 'reversed'
}

const is = role === 'nodes' ? await runNodes(Number(rest[0]), rest[1] ?? '', rest[2]) : await runPeer(rest)
process.on('disconnect', () => process.exit())
process.send?.({ ready: is })
