/**
 * One TCP port for all: what a connection is for shows in its first byte (docs/spec/reaching.md, "One port"). libp2p's
 * TCP transport listens; what is not for libp2p is taken from it before it sees it.
 */
import type { Server, Socket } from 'node:net'
import type { CreateListenerOptions, Listener, Transport } from '@libp2p/interface'
import { type TCPComponents, type TCPOptions, tcp } from '@libp2p/tcp'
import { Crowd } from './crowd.ts'

export const FIRST_BYTE = { libp2p: 0x13, tls: 0x16, reflect: 0x70 } as const

/** Milliseconds to say the first byte, and connections that may owe it; then the oldest of the largest address block goes. */
const FIRST_BYTE_TIME = 5_000
const MAX_UNDECIDED = 256

/** What becomes of a connection by its first byte, which is left to read. Nothing: it is closed. */
export type Takers = Partial<Record<keyof typeof FIRST_BYTE, (socket: Socket) => void>>

/** The takers of a port may be added while it is open already. */
export function onePortTcp(takers: Takers, options?: TCPOptions): (components: TCPComponents) => Transport {
  return (components) => {
    const transport = tcp(options)(components)
    const createListener = transport.createListener.bind(transport)
    transport.createListener = (listening: CreateListenerOptions): Listener => {
      const listener = createListener(listening)
      // The library keeps it to itself; there is no other way to share the port that it listens on.
      const others = divide((listener as unknown as { server: Server }).server, takers)
      const close = listener.close.bind(listener)
      listener.close = () => {
        const closed = close()
        // It waits for every connection of the port, and ends only those that it was given.
        for (const socket of others) socket.destroy()
        return closed
      }
      return listener
    }
    return transport
  }
}

/** Connections that are not libp2p's, as they come and go. */
function divide(server: Server, takers: Takers): ReadonlySet<Socket> {
  const listeners = server.listeners('connection')
  server.removeAllListeners('connection')
  const libp2p = (socket: Socket): void => {
    others.delete(socket)
    for (const listener of listeners) listener.call(server, socket)
  }
  const [undecided, others] = [new Crowd<Socket>(), new Set<Socket>()]
  server.on('connection', (socket: Socket) => {
    undecided.enter(socket, socket.remoteAddress ?? '')
    others.add(socket)
    socket.once('close', () => others.delete(socket))
    if (undecided.size > MAX_UNDECIDED) undecided.evict()?.destroy()
    const timer = setTimeout(() => socket.destroy(), FIRST_BYTE_TIME)
    const failed = (): void => void socket.destroy()
    const decided = (): void => {
      clearTimeout(timer)
      undecided.leave(socket)
    }
    socket.on('error', failed)
    socket.once('close', decided)
    // Not by 'data': whoever takes the socket is to find it as if nobody had looked.
    socket.once('readable', (): void => {
      decided()
      socket.off('close', decided)
      const bytes = socket.read() as Buffer | null
      const taker = bytes && takerOf(bytes[0], { libp2p, ...takers })
      if (!taker) return void socket.destroy()
      socket.unshift(bytes)
      // By then the stream has forgotten that somebody listened.
      setImmediate(() => {
        socket.off('error', failed)
        if (!socket.destroyed) taker(socket)
      })
    })
  })
  return others
}

function takerOf(first: number | undefined, takers: Takers): ((socket: Socket) => void) | undefined {
  for (const [word, byte] of Object.entries(FIRST_BYTE)) if (byte === first) return takers[word as keyof Takers]
  return undefined
}
