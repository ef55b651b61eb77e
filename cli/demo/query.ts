/** Two ordinary DNS clients: the system's resolver library over UDP, and a plain query over TCP (RFC 1035 section 4.2). */
import { Resolver } from 'node:dns/promises'
import { connect } from 'node:net'
import { streamDecode, streamEncode } from 'dns-packet'
import { formatHostPort, type HostPort } from '../options.ts'

/** Milliseconds. */
const LIMIT = 10_000

/** The A records of `name`, asked over UDP. */
export async function queryUdp(server: HostPort, name: string): Promise<string[]> {
  const resolver = new Resolver({ timeout: LIMIT, tries: 1 })
  resolver.setServers([formatHostPort(server)])
  return resolver.resolve4(name)
}

/** The A records of `name`, asked over TCP; node:dns cannot be told to use it. */
export async function queryTcp(server: HostPort, name: string): Promise<string[]> {
  const socket = connect({ ...server, timeout: LIMIT })
  socket.on('timeout', () => socket.destroy(new Error(`no answer over TCP from ${formatHostPort(server)}`)))
  try {
    socket.write(streamEncode({ type: 'query', id: 1, flags: 0x0100, questions: [{ type: 'A', name }] }))
    let received: Buffer = Buffer.alloc(0)
    for await (const piece of socket as AsyncIterable<Buffer>) {
      received = Buffer.concat([received, piece])
      if (received.length < 2 || received.length < 2 + received.readUInt16BE()) continue
      const answers = streamDecode(received)?.answers ?? []
      return answers.flatMap((answer) => (answer.type === 'A' ? [answer.data] : []))
    }
    throw new Error(`${formatHostPort(server)} closed the connection without an answer`)
  } finally {
    socket.destroy()
  }
}
