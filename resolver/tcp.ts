/** The TCP side (RFC 7766): messages with a length before each, many at once on one connection, answered as they are ready. */
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { createServer as createSecureServer, type Server as SecureServer } from 'node:tls'
import { Connections, TCP_IDLE } from './connections.ts'
import { padded } from './padding.ts'
import type { Responder } from './responder.ts'

/** Queries of one connection that may wait for their answers; beyond that it is not read. */
const MAX_WAITING = 64
/** A query is a name and a few options. Bytes. */
const MAX_QUERY = 4_096

/** PEM. */
export interface Certificate {
  cert: string
  key: string
}

export interface TcpServer {
  readonly port: number
  /** Connections from now on get this certificate. Without one from the start there is no TLS. */
  renew(secure: Certificate): void
  /** Ends every connection as well. */
  close(): Promise<void>
}

/** Listens and serves; with a certificate over TLS (RFC 7858). Rejects with the system's error when it cannot listen. */
export async function serveTcp(
  host: string,
  port: number,
  responder: Responder,
  secure?: Certificate,
): Promise<TcpServer> {
  const connections = new Connections(TCP_IDLE)
  const serve = (socket: Socket): void => {
    const address = socket.remoteAddress
    // It has hung up already.
    if (address === undefined) socket.destroy()
    else new Connection(socket, address, responder, connections.usedBy(socket), secure !== undefined).serve()
  }
  const options = { allowHalfOpen: true, noDelay: true } as const
  const server = secure
    ? createSecureServer({ ...options, ...secure, ALPNProtocols: ['dot'] }, serve)
    : createServer(options, serve)
  connections.watch(server)
  server.listen(port, host)
  await once(server, 'listening')
  // From here on an error is that of one connection that could not be accepted.
  server.on('error', () => {})
  return {
    port: (server.address() as AddressInfo).port,
    renew(certificate) {
      if (secure) (server as SecureServer).setSecureContext(certificate)
    },
    async close() {
      connections.closeAll()
      server.close()
      await once(server, 'close')
    },
  }
}

class Connection {
  readonly #socket: Socket
  readonly #address: string
  readonly #responder: Responder
  /** Told of each whole query and each answer. */
  readonly #used: () => void
  #received: Buffer = Buffer.alloc(0)
  #answers: Buffer[] = []
  #waiting = 0
  /** Over TLS: answers are padded for those who ask. */
  readonly #secure: boolean
  #reading = false
  #ended = false

  constructor(socket: Socket, address: string, responder: Responder, used: () => void, secure: boolean) {
    this.#socket = socket
    this.#secure = secure
    this.#address = address
    this.#responder = responder
    this.#used = used
  }

  serve(): void {
    this.#socket.on('data', (chunk) => {
      this.#received = this.#received.length > 0 ? Buffer.concat([this.#received, chunk]) : chunk
      this.#read()
    })
    this.#socket.on('drain', () => this.#read())
    this.#socket.on('end', () => {
      this.#ended = true
      this.#endWhenDone()
    })
    // Whoever hangs up in the middle only ends their own connection.
    this.#socket.on('error', () => {})
  }

  /** Handles the whole messages that came, as many as may wait; answers that are known at once leave in one write. */
  #read(): void {
    let at = 0
    this.#reading = true
    while (!this.#full() && at + 2 <= this.#received.length) {
      const size = this.#received.readUInt16BE(at)
      if (size <= MAX_QUERY && at + 2 + size > this.#received.length) break
      if (size > MAX_QUERY || !this.#take(Buffer.from(this.#received.subarray(at + 2, at + 2 + size)))) {
        this.#socket.destroy()
        return
      }
      at += 2 + size
    }
    this.#reading = false
    this.#received = this.#received.subarray(at)
    this.#write()
    if (this.#full()) this.#socket.pause()
    else this.#socket.resume()
  }

  #full(): boolean {
    return this.#waiting >= MAX_WAITING || this.#socket.writableNeedDrain
  }

  /** False when no answer will follow: who sends such things over TCP is not a resolver's client. */
  #take(packet: Buffer): boolean {
    this.#used()
    this.#waiting++
    return this.#responder.handle(packet, this.#secure ? 'tls' : 'tcp', this.#address, (answer) => {
      const response = this.#secure ? padded(packet, answer) : answer
      this.#waiting--
      const prefix = Buffer.alloc(2)
      prefix.writeUInt16BE(response.length)
      this.#answers.push(prefix, response)
      if (!this.#reading) this.#read()
    })
  }

  #write(): void {
    if (this.#answers.length > 0 && this.#socket.writable) {
      this.#used()
      this.#socket.write(Buffer.concat(this.#answers))
    }
    this.#answers = []
    this.#endWhenDone()
  }

  #endWhenDone(): void {
    if (this.#ended && this.#waiting === 0) this.#socket.end()
  }
}
