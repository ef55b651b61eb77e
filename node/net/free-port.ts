/** A TCP port that nobody listens on, of either family. */
import { once } from 'node:events'
import * as net from 'node:net'

export async function freePort(): Promise<number> {
  const server = net.createServer().listen(0)
  await once(server, 'listening')
  const { port } = server.address() as net.AddressInfo
  server.close()
  await once(server, 'close')
  return port
}
