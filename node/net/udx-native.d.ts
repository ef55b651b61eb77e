/** What we use of udx-native, which brings no types. */
declare module 'udx-native' {
  import type { EventEmitter } from 'node:events'

  export interface UdxAddress {
    host: string
    family: 4 | 6
    port: number
  }

  export interface UdxSocket extends EventEmitter {
    bind(port: number, host: string): void
    address(): UdxAddress
    /** Without waiting; what cannot go now is lost, as datagrams may be. */
    trySend(bytes: Uint8Array, port: number, host: string): void
    setRecvBufferSize(bytes: number): void
    setSendBufferSize(bytes: number): void
    close(): Promise<void>
  }

  export interface UdxStream extends EventEmitter {
    connect(socket: UdxSocket, remoteId: number, port: number, host: string): void
    write(bytes: Uint8Array): boolean
    end(): void
    pause(): void
    resume(): void
    destroy(error?: Error): void
  }

  export interface UdxStreamOptions {
    /** Decides on a packet from an address that the stream is not connected to: true keeps it out. */
    firewall?: (socket: UdxSocket, port: number, host: string) => boolean
  }

  export default class UDX {
    createSocket(options?: { ipv6Only?: boolean }): UdxSocket
    createStream(id: number, options?: UdxStreamOptions): UdxStream
  }
}
