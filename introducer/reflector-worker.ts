/** The thread of reflector.ts: sockets, and who may ask how often. What is answered is decided in reflection.ts. */
import { randomBytes } from 'node:crypto'
import * as dgram from 'node:dgram'
import { once } from 'node:events'
import { isIPv6 } from 'node:net'
import { parentPort, workerData } from 'node:worker_threads'
import { encodePoke } from '../node/core/datagram.ts'
import { Reflection } from './reflection.ts'
import type { FromReflector, ReflectorOptions, ToReflector } from './reflector.ts'

const { ports, ipv6 } = workerData as ReflectorOptions
const reflection = new Reflection({ key: randomBytes(32), now: Date.now })
/** For each of the two ports, a socket of each family. */
const sockets: dgram.Socket[][] = []

function post(message: FromReflector): void {
  parentPort?.postMessage(message, [])
}

async function bind(type: 'udp4' | 'udp6', port: number): Promise<dgram.Socket> {
  const socket = dgram.createSocket({ type, ipv6Only: type === 'udp6', recvBufferSize: 1 << 20 })
  socket.bind(port)
  await once(socket, 'listening')
  socket.on('message', (bytes, { address, port: from }) => {
    const reply = reflection.answer(bytes, { host: address, port: from })
    if (reply) socket.send(reply, from, address, () => undefined)
  })
  // A host that is gone is told to us here; it is nothing to us.
  socket.on('error', () => undefined)
  return socket
}

async function open(port: number): Promise<dgram.Socket[]> {
  const four = await bind('udp4', port)
  if (!ipv6) return [four]
  // Where there is no IPv6, or somebody else has that port, IPv4 has to do.
  const six = await bind('udp6', four.address().port).catch(() => undefined)
  return six ? [four, six] : [four]
}

parentPort?.on('message', (message: ToReflector) => {
  if (message.type === 'stop') {
    for (const socket of sockets.flat()) socket.close()
    parentPort?.close()
    return
  }
  const { which, to, nonce } = message
  const socket = sockets[which]?.[isIPv6(to.host) ? 1 : 0]
  socket?.send(encodePoke(nonce), to.port, to.host, () => undefined)
})

try {
  for (const port of ports) sockets.push(await open(port))
  post({ type: 'ready', ports: sockets.map((pair) => pair[0]?.address().port ?? 0) as [number, number] })
} catch (error) {
  post({
    type: 'failed',
    what: `It is not possible to listen on UDP ports ${ports.join(' and ')} (${(error as Error).message})`,
  })
}
