/**
 * One UDP port for all: probes, questions to reflectors, and the reliable streams of udx. Datagrams that begin with 0x70 are
 * ours (core/datagram.ts); the rest is for udx to know, or nobody's.
 */
import { Duplex } from 'node:stream'
import type UDX from 'udx-native'
import type { UdxSocket, UdxStream } from 'udx-native'
import { MAGIC, parseReflection, probeNonce, type Reflection } from '../core/datagram.ts'
import { type Bytes, toHex } from '../core/encoding.ts'
import { type HostPort, plainHost } from '../core/hosts.ts'

/** Bytes; what comes at once at the speed of a link between two kernels that wait for nobody. */
const SOCKET_BUFFER = 4 * 2 ** 20

/** Where a datagram came from, and in on which socket. */
export interface From extends HostPort {
  socket: UdxSocket
}

export type OnDatagram = (bytes: Bytes, from: From) => void

export class UdpPort {
  /** That of the IPv4 socket, and of the IPv6 one if there is one. */
  readonly port: number
  readonly hasIpv6: boolean
  readonly #udx: UDX
  readonly #sockets: { v4: UdxSocket; v6: UdxSocket | undefined }
  readonly #meetings = new Map<string, OnDatagram>()
  readonly #reflections = new Map<string, (reflection: Reflection) => void>()
  readonly #streams = new Set<Duplex>()

  private constructor(udx: UDX, sockets: { v4: UdxSocket; v6: UdxSocket | undefined }) {
    this.#udx = udx
    this.#sockets = sockets
    this.port = sockets.v4.address().port
    this.hasIpv6 = sockets.v6 !== undefined
    for (const socket of [sockets.v4, sockets.v6]) {
      if (!socket) continue
      this.#receive(socket)
      socket.setRecvBufferSize(SOCKET_BUFFER)
      socket.setSendBufferSize(SOCKET_BUFFER)
    }
  }

  /** On `port` if it is free, else on any. Undefined where udx-native has no build for the system. */
  static async open(port: number): Promise<UdpPort | undefined> {
    const Udx = await import('udx-native').then(
      (module) => module.default,
      () => undefined,
    )
    if (!Udx) return undefined
    const udx = new Udx()
    const v4 = bound(udx, port, '0.0.0.0') ?? bound(udx, 0, '0.0.0.0')
    if (!v4) return undefined
    return new UdpPort(udx, { v4, v6: bound(udx, v4.address().port, '::') })
  }

  /** Hands over the datagrams that begin as probes of the meeting with that nonce do, until the returned function is called. */
  onProbe(nonce: Bytes, handler: OnDatagram): () => void {
    const name = toHex(nonce.subarray(0, 8))
    this.#meetings.set(name, handler)
    return () => {
      if (this.#meetings.get(name) === handler) this.#meetings.delete(name)
    }
  }

  onReflection(nonce: Bytes, handler: (reflection: Reflection) => void): () => void {
    this.#reflections.set(toHex(nonce), handler)
    return () => void this.#reflections.delete(toHex(nonce))
  }

  /** From the port itself, or from `socket`. What cannot be sent is lost. */
  send(bytes: Bytes, { host, port }: HostPort, socket = this.#socketFor(host)): void {
    socket?.trySend(bytes, port, host)
  }

  /** Another socket on a port of its own, whose datagrams come in as those of the port do; its owner closes it. */
  extraSocket(): UdxSocket | undefined {
    const socket = bound(this.#udx, 0, '0.0.0.0')
    if (socket) this.#receive(socket)
    return socket
  }

  /** A stream to somebody who waits for it. */
  connect(ids: { own: number; theirs: number }, to: From): Duplex {
    const stream = this.#udx.createStream(ids.own, { firewall: () => true })
    stream.connect(to.socket, ids.theirs, to.port, to.host)
    return this.#kept(stream)
  }

  /** A stream that somebody opens from an address that `isKnown`. Errors: `signal`. */
  accept(
    ids: { own: number; theirs: number },
    isKnown: (from: HostPort) => boolean,
    signal: AbortSignal,
  ): Promise<Duplex> {
    return new Promise((resolve, reject) => {
      const stopped = (): void => {
        stream.destroy()
        reject(signal.reason as Error)
      }
      const stream = this.#udx.createStream(ids.own, {
        firewall: (socket, port, host) => {
          if (!isKnown({ host: plainHost(host), port })) return true
          signal.removeEventListener('abort', stopped)
          stream.connect(socket, ids.theirs, port, host)
          resolve(this.#kept(stream))
          return false
        },
      })
      stream.on('error', () => undefined)
      signal.addEventListener('abort', stopped, { once: true })
      if (signal.aborted) stopped()
    })
  }

  async close(): Promise<void> {
    // A socket waits for the streams that it carries.
    for (const stream of this.#streams) stream.destroy()
    await Promise.all([this.#sockets.v4.close(), this.#sockets.v6?.close()])
  }

  #kept(stream: UdxStream): Duplex {
    const duplex = duplexOf(stream)
    this.#streams.add(duplex)
    return duplex.once('close', () => this.#streams.delete(duplex))
  }

  #socketFor(host: string): UdxSocket | undefined {
    return host.includes(':') ? this.#sockets.v6 : this.#sockets.v4
  }

  #receive(socket: UdxSocket): void {
    socket.on('message', (bytes: Buffer, { host, port }: HostPort) => {
      if (bytes[0] !== MAGIC) return
      const nonce = probeNonce(bytes)
      if (nonce) return this.#meetings.get(toHex(nonce))?.(bytes, { host: plainHost(host), port, socket })
      const reflection = parseReflection(bytes)
      if (reflection) this.#reflections.get(toHex(reflection.nonce))?.(reflection)
    })
  }
}

function bound(udx: UDX, port: number, host: string): UdxSocket | undefined {
  const socket = udx.createSocket({ ipv6Only: host === '::' })
  try {
    socket.bind(port, host)
    return socket
  } catch {
    void socket.close()
    return undefined
  }
}

/** As a stream of node:stream, for TLS. */
function duplexOf(stream: UdxStream): Duplex {
  const duplex = new Duplex({
    read: () => stream.resume(),
    write(bytes: Uint8Array, _encoding, done) {
      if (stream.write(bytes)) done()
      else stream.once('drain', () => done())
    },
    final(done) {
      stream.end()
      done()
    },
    destroy(error, done) {
      stream.destroy()
      done(error)
    },
  })
  stream.on('data', (bytes: Buffer) => {
    if (!duplex.push(bytes)) stream.pause()
  })
  stream.on('end', () => duplex.push(null))
  stream.on('error', (error: Error) => duplex.destroy(error))
  stream.on('close', () => duplex.destroy())
  // 'close' follows; without a listener it would end the process.
  duplex.on('error', () => undefined)
  return duplex
}
