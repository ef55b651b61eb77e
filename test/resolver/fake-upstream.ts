/** Somebody else's resolver on this machine, and answers made by hand, which know nothing of the code that reads them. */
import { createSocket, type RemoteInfo } from 'node:dgram'
import { once } from 'node:events'
import { createServer } from 'node:net'
import type { TestContext } from 'node:test'
import { nameToWire } from '../../node/core/dns.ts'

export interface Made {
  answers?: Buffer[]
  authority?: Buffer[]
  additional?: Buffer[]
  /** Bytes 2 and 3; default: a response with RD and RA. */
  flags?: number
}

/** A record; its owner is a pointer to the question unless a name is given. */
export function rr(type: number, data: Uint8Array, ttl = 60, owner?: string): Buffer {
  const fixed = Buffer.alloc(10)
  fixed.writeUInt16BE(type, 0)
  fixed.writeUInt16BE(1, 2)
  fixed.writeUInt32BE(ttl, 4)
  fixed.writeUInt16BE(data.length, 8)
  return Buffer.concat([owner === undefined ? Buffer.from([0xc0, 12]) : nameToWire(owner), fixed, data])
}

export function a(address: string, ttl = 60): Buffer {
  return rr(1, Buffer.from(address.split('.').map(Number)), ttl)
}

export function soa(ttl: number, minimum: number): Buffer {
  const numbers = Buffer.alloc(20)
  numbers.writeUInt32BE(minimum, 16)
  return rr(6, Buffer.concat([nameToWire('ns.example'), nameToWire('admin.example'), numbers]), ttl, 'example')
}

/** An OPT with an extended error. */
export function optWith(code: number, text: string): Buffer {
  const data = Buffer.concat([Buffer.from([0, 15, 0, text.length + 2, 0, code]), Buffer.from(text)])
  return Buffer.concat([Buffer.from([0, 0, 41, 4, 0xd0, 0, 0, 0, 0, 0, data.length]), data])
}

/** A response to `packet` with its id and its question, as they are. */
export function respond(
  packet: Buffer,
  { answers = [], authority = [], additional = [], flags = 0x8180 }: Made,
): Buffer {
  let end = 12
  while (packet[end] !== 0) end += 1 + (packet[end] as number)
  const out = Buffer.concat([packet.subarray(0, end + 5), ...answers, ...authority, ...additional])
  out.writeUInt16BE(flags, 2)
  for (const [i, section] of [answers, authority, additional].entries()) out.writeUInt16BE(section.length, 6 + 2 * i)
  return out
}

/** The name that is asked for, as it came. */
export function nameIn(packet: Buffer): string {
  const labels: string[] = []
  for (let at = 12; packet[at] !== 0; at += 1 + (packet[at] as number)) {
    labels.push(packet.toString('latin1', at + 1, at + 1 + (packet[at] as number)))
  }
  return labels.join('.')
}

export type OverUdp = (packet: Buffer, send: (answer: Buffer) => void, from: RemoteInfo) => void

export interface FakeUpstream {
  address: string
  port: number
  /** What it was asked over UDP. */
  asked: Buffer[]
  /** From now on it does this. */
  behave(udp: OverUdp): void
}

export async function startUpstream(
  t: TestContext,
  udp: OverUdp,
  tcp?: (packet: Buffer) => Buffer,
): Promise<FakeUpstream> {
  const asked: Buffer[] = []
  let answer = udp
  const socket = createSocket('udp4', (packet, from) => {
    asked.push(packet)
    answer(packet, (made) => socket.send(made, from.port, from.address), from)
  })
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  t.after(() => socket.close())
  const { port } = socket.address()
  if (tcp) {
    const server = createServer((connection) => {
      connection.on('error', () => {})
      connection.on('data', (chunk) => {
        const made = tcp(chunk.subarray(2))
        connection.write(Buffer.concat([Buffer.from([made.length >> 8, made.length & 255]), made]))
      })
    }).listen(port, '127.0.0.1')
    await once(server, 'listening')
    t.after(() => server.close())
  }
  return { address: `127.0.0.1:${port}`, port, asked, behave: (udp) => void (answer = udp) }
}
