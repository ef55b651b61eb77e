/** A host of floods.ts: does to an introducer what it is told, or comes to it as an honest newcomer. */
import { randomBytes } from 'node:crypto'
import * as dgram from 'node:dgram'
import { once, setMaxListeners } from 'node:events'
import { connect, type Socket } from 'node:net'
import { setTimeout } from 'node:timers/promises'
import { noise } from '@libp2p/noise'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { MemoryDatastore } from 'datastore-core'
import { createLibp2p } from 'libp2p'
import { encodeQuestion, NONCE_SIZE, parseReflection, TCP_QUESTION } from '../../node/core/datagram.ts'
import { nodeKey } from '../../node/core/keys.ts'
import { createHost } from '../../node/net/host.ts'
import { Introducer } from '../../node/net/introducers.ts'

/** `from`: addresses of this host to come from, in turn; none: its own. */
export type Flood =
  | { call: 'datagrams'; kind: 'junk' | 'questions'; ports: readonly number[]; rate: number; from: string[] }
  | { call: 'halfOpen'; count: number; from: string[] }
  | { call: 'idle'; address: string; count: number; from: string[] }
export type ToFloodHost = { id: number } & (Flood | { call: 'newcomer'; address: string } | { call: 'stop' })

export interface Sent {
  datagrams: number
  connections: number
}

export interface Welcome {
  /** Milliseconds from nothing to the first answer of the introducer; undefined: none came. */
  ms?: number
  /** Of its questions to the reflector, each asked once, the part that was answered. */
  reflected: number
}

const [target = '', port = ''] = process.argv.slice(2)
const HELLOS = [Buffer.alloc(0), Buffer.from([0x16, 3, 1, 2, 0, 1]), Buffer.from('\x13/multistream/'), TCP_QUESTION]
/** Milliseconds between two bursts of datagrams, and until a connection that was closed is opened again. */
const TICK = 5
const PAUSE = 1_000
const QUESTIONS = 20

const sent: Sent = { datagrams: 0, connections: 0 }
let stop = new AbortController()

function datagram(kind: 'junk' | 'questions', i: number): Uint8Array {
  if (kind === 'questions') return encodeQuestion(randomBytes(NONCE_SIZE), i % 2 === 0 ? undefined : randomBytes(16))
  if (i % 4 === 0) return encodeQuestion(randomBytes(NONCE_SIZE))
  if (i % 4 === 1) return randomBytes(48)
  return i % 4 === 2 ? randomBytes(1 + (i % 1200)) : Buffer.from([0x70, 1])
}

async function datagrams({ kind, ports, rate, from }: Extract<Flood, { call: 'datagrams' }>): Promise<void> {
  const sockets = await Promise.all(
    from.map(async (address, i) => {
      const socket = dgram.createSocket('udp4')
      socket.on('error', () => undefined)
      socket.bind(0, address)
      await once(socket, 'listening')
      socket.connect(ports[i % ports.length] as number, target)
      await once(socket, 'connect')
      return socket
    }),
  )
  const junk = Array.from({ length: 4096 }, (_, i) => datagram(kind, i))
  const started = performance.now()
  let count = 0
  const timer = setInterval(() => {
    const due = ((performance.now() - started) / 1000) * rate
    // What could not be sent in time is not made up for later: that would be another flood.
    if (due - count > rate / 5) count = due - rate / 5
    for (; count < due; count++) {
      const i = Math.floor(count)
      sockets[i % sockets.length]?.send(junk[i % junk.length] as Uint8Array)
      sent.datagrams++
    }
  }, TICK)
  stop.signal.addEventListener('abort', () => {
    clearInterval(timer)
    for (const socket of sockets) socket.close()
  })
}

/** Keeps so many open, each of which has said nothing, or the beginning of something. */
async function halfOpen({ count, from }: Extract<Flood, { call: 'halfOpen' }>): Promise<void> {
  const { signal } = stop
  setMaxListeners(0, signal)
  const open = (i: number): void => {
    const socket: Socket = connect({ host: target, port: Number(port), localAddress: from[i % from.length] })
    socket.on('error', () => undefined).resume()
    socket.once('connect', () => {
      sent.connections++
      socket.write(HELLOS[i % 3] as Buffer)
    })
    const end = (): void => void socket.destroy()
    signal.addEventListener('abort', end)
    socket.once('close', () => {
      signal.removeEventListener('abort', end)
      if (!signal.aborted) globalThis.setTimeout(() => !signal.aborted && open(i), PAUSE)
    })
  }
  for (let i = 0; i < count; i++) {
    open(i)
    if (i % 50 === 49) await setTimeout(20)
  }
}

/** Connections of many peers that shake hands and never say anything. */
async function idle({ address, count, from }: Extract<Flood, { call: 'idle' }>): Promise<void> {
  const each = Math.ceil(count / from.length)
  const peers = await Promise.all(
    from.map((localAddress) =>
      createLibp2p({
        transports: [tcp({ dialOpts: { localAddress } as object })],
        connectionEncrypters: [noise()],
        streamMuxers: [yamux()],
        connectionManager: { maxConnections: 10_000 },
        connectionGater: { denyDialMultiaddr: () => false },
      }),
    ),
  )
  stop.signal.addEventListener('abort', () => {
    for (const peer of peers) void peer.stop()
  })
  const to = multiaddr(address)
  await Promise.all(
    peers.map(async (peer) => {
      for (let i = 0; i < each; i++) {
        // Two dials of one peer at a time would be one.
        await peer.dial(to, { force: true, signal: AbortSignal.timeout(10_000) }).catch(() => undefined)
      }
    }),
  )
  await setTimeout(PAUSE)
  sent.connections = peers.reduce((sum, peer) => sum + peer.getConnections().length, 0)
}

async function newcomer(address: string): Promise<Welcome> {
  const options = { listen: [], datastore: new MemoryDatastore(), role: 'visitor', lan: false, takers: {} } as const
  const host = await createHost({ ...options, listen: [], key: nodeKey(randomBytes(32)), now: Date.now })
  const introducer = new Introducer(host.libp2p, address, Date.now)
  try {
    const started = performance.now()
    const ports = await introducer.reflector()
    const ms = Math.round(performance.now() - started)
    return { ms, reflected: await askReflector(ports ?? []) }
  } catch {
    return { reflected: 0 }
  } finally {
    await host.stop()
  }
}

async function askReflector(ports: readonly number[]): Promise<number> {
  const socket = dgram.createSocket('udp4')
  let cookie: Uint8Array | undefined
  let answered = 0
  socket.on('message', (bytes) => {
    const said = parseReflection(bytes)
    if (said?.type === 'cookie') cookie = said.cookie
    if (said) answered++
  })
  for (let i = 0; i < QUESTIONS; i++) {
    socket.send(encodeQuestion(randomBytes(NONCE_SIZE), cookie), ports[i % 2] ?? 0, target)
    await setTimeout(100)
  }
  await setTimeout(200)
  socket.close()
  return answered / QUESTIONS
}

async function done(message: ToFloodHost): Promise<Sent | Welcome> {
  if (message.call === 'newcomer') return newcomer(message.address)
  if (message.call === 'datagrams') await datagrams(message)
  else if (message.call === 'halfOpen') await halfOpen(message)
  else if (message.call === 'idle') await idle(message)
  else stop.abort()
  const soFar = { ...sent }
  if (message.call === 'stop') {
    stop = new AbortController()
    Object.assign(sent, { datagrams: 0, connections: 0 })
  }
  return soFar
}

process.on('message', (message: ToFloodHost) => {
  done(message).then(
    (result) => process.send?.({ id: message.id, result }),
    (error: Error) => process.send?.({ id: message.id, error: error.message }),
  )
})
process.on('disconnect', () => process.exit())
process.send?.({ ready: 'flood' })
