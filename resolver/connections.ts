/** The connections of one server: only so many at once, fairly shared, and none that stays idle. */
import type { Server, Socket } from 'node:net'
import { clientOf, Shares } from './shares.ts'

/** One more closes the idlest of the client that has the most. */
const MAX_CONNECTIONS = 256

/** How long a connection over TCP or TLS may be idle; clients that ask are told (RFC 7828). ms. */
export const TCP_IDLE = 10_000

/** The other end: the same for a socket and for what TLS or HTTP/2 put over it. */
export interface Peer {
  remoteAddress?: string | undefined
  remotePort?: number | undefined
}

export class Connections {
  readonly #shares = new Shares<string>()
  readonly #open = new Map<string, { socket: Socket; idle: NodeJS.Timeout }>()
  /** ms. */
  readonly #idle: number
  #closed = false

  /** A connection is closed when it was not used for `idle` ms; single bytes do not count. */
  constructor(idle: number) {
    this.#idle = idle
  }

  /** Before TLS: who never ends a handshake is counted and closed like others. */
  watch(server: Server): void {
    server.on('connection', (socket) => this.#add(socket))
  }

  /** To be called for each whole query and each answer of that connection. */
  usedBy(peer: Peer): () => void {
    const [client, key] = [clientOf(peer.remoteAddress ?? ''), keyOf(peer)]
    return () => {
      const connection = this.#open.get(key)
      if (!connection) return
      connection.idle.refresh()
      this.#shares.add(client, key)
    }
  }

  /** Closes all, and at once what comes later. */
  closeAll(): void {
    this.#closed = true
    while (this.#open.size > 0) this.#closeFirst()
  }

  #add(socket: Socket): void {
    const { remoteAddress } = socket
    // It has hung up already.
    if (this.#closed || remoteAddress === undefined) {
      socket.destroy()
      return
    }
    if (this.#open.size >= MAX_CONNECTIONS) this.#closeFirst()
    const [client, key] = [clientOf(remoteAddress), keyOf(socket)]
    const idle = setTimeout(() => socket.destroy(), this.#idle)
    this.#open.set(key, { socket, idle })
    this.#shares.add(client, key)
    socket.on('close', () => {
      if (this.#open.get(key)?.socket === socket) this.#forget(client, key)
      clearTimeout(idle)
    })
  }

  #closeFirst(): void {
    const { client, item: key } = this.#shares.first() ?? {}
    if (client === undefined || key === undefined) return
    const socket = this.#open.get(key)?.socket
    this.#forget(client, key)
    socket?.destroy()
  }

  #forget(client: string, key: string): void {
    clearTimeout(this.#open.get(key)?.idle)
    this.#open.delete(key)
    this.#shares.delete(client, key)
  }
}

function keyOf({ remoteAddress, remotePort }: Peer): string {
  return `${remoteAddress} ${remotePort}`
}
