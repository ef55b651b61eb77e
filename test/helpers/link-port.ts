/** A port of this machine that takes links: what one-port.ts and reach.ts do for a node. */
import { randomBytes } from 'node:crypto'
import { type AddressInfo, createServer } from 'node:net'
import type * as tls from 'node:tls'
import { createLinkServer, type LinkServer, type Ticket } from '../../node/net/link.ts'

export interface LinkPort {
  server: LinkServer
  port: number
  issue(peer: string): Ticket
  stop(): Promise<void>
}

export async function linkPort(options: {
  now?: () => number
  onLink: (socket: tls.TLSSocket, peer: string) => void
  /** That of a build, for a bench. */
  createServer?: typeof createLinkServer
}): Promise<LinkPort> {
  const server = (options.createServer ?? createLinkServer)({ now: options.now ?? Date.now })
  const listener = createServer({ noDelay: true }, (socket) => server.accept(socket))
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve))
  return {
    server,
    port: (listener.address() as AddressInfo).port,
    issue(peer) {
      const ticket = { id: randomBytes(16), secret: randomBytes(32) }
      server.expect(ticket, peer, (socket) => options.onLink(socket, peer))
      return ticket
    },
    async stop() {
      const closed = new Promise<void>((resolve) => listener.close(() => resolve()))
      server.stop()
      await closed
    },
  }
}
