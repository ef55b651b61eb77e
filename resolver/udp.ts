/** The UDP side: one datagram in, at most one out. */
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { isIPv6 } from 'node:net'
import type { Responder } from './responder.ts'
import type { Tally } from './tally.ts'

export interface UdpServer {
  readonly port: number
  /** What never came to the responder. */
  readonly tally?: Tally
  isBatched(): boolean
  /** Whether every question has to come to the responder, also those that could be answered before. */
  watch(watched: boolean): void
  close(): Promise<void>
}

/** Room for a burst while JavaScript is busy; the system may grant less. Bytes. */
const RECEIVE_BUFFER = 1024 * 1024

/** Binds and serves. Rejects with the system's error when it cannot bind. */
export async function serveUdp(host: string, port: number, responder: Responder): Promise<UdpServer> {
  const family = isIPv6(host) ? 6 : 4
  const socket = createSocket({
    type: `udp${family}`,
    recvBufferSize: RECEIVE_BUFFER,
    // Only addresses come here. Answering at once lets a datagram go out in the tick in which it was asked for.
    lookup: (address, _options, callback) => callback(null, address, family),
  })
  let open = true
  socket.on('message', (packet, { address, port }) => {
    // Nobody can be answered on port 0; it is forged.
    if (port === 0) return
    // Without a callback nothing is scheduled for each datagram; one that cannot be sent is lost, as datagrams are.
    responder.handle(packet, 'udp', address, (response) => {
      if (open) socket.send(response, port, address)
    })
  })
  // Bound at once, too: whoever waits must wait before.
  const listening = once(socket, 'listening')
  socket.bind(port, host)
  try {
    await listening
  } catch (error) {
    socket.close()
    throw error
  }
  // From here on an error is that of one datagram, and no reason to stop.
  socket.on('error', () => {})
  return {
    port: socket.address().port,
    isBatched: () => false,
    watch: () => undefined,
    async close() {
      open = false
      socket.close()
      await once(socket, 'close')
    },
  }
}
