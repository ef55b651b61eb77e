/** A resolver over zones made on the spot, and the simplest DNS clients, which know nothing of the resolver's own code. */
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { connect } from 'node:net'
import type { TestContext } from 'node:test'
import dnsPacket, { type DecodedPacket } from 'dns-packet'
import { toZ32 } from '../../node/core/encoding.ts'
import { P2pnsError } from '../../node/core/errors.ts'
import { keyPairFromSeed } from '../../node/core/keys.ts'
import { rrFromText } from '../../node/core/rdata.ts'
import { signZone, type Zone } from '../../node/core/zone.ts'
import { createResolver, type Resolver, type ResolverOptions, type ZoneLookup } from '../../resolver/index.ts'

export const NOW = 1_700_000_000_000
const pair = keyPairFromSeed(new Uint8Array(32).fill(1))
export const Z32 = toZ32(pair.publicKey)

export type TextRecords = { label?: string; type: string; data: string; ttl?: number }[]

export function zoneOf(records: TextRecords): Zone {
  return signZone(pair, 1_700_000_000_000_000n, records.map(rrFromText))
}

/** Finds `zones` by apex, fresh for `seconds`; all other names are unknown. */
export function lookupIn(zones: Record<string, Zone>, now: () => number, seconds = 3600): ZoneLookup {
  return async (apex) => {
    const zone = zones[apex]
    if (!zone) throw new P2pnsError('name_not_found', `${apex} is not registered`)
    return { zone, expiresAt: now() + seconds * 1000, stale: false }
  }
}

/** A clock that stands until it is moved, in ms. */
export class Clock {
  ms = NOW
  readonly now = (): number => this.ms
}

export async function startResolver(
  t: TestContext,
  options: Partial<ResolverOptions> & { lookup: ZoneLookup },
): Promise<Resolver> {
  const resolver = await createResolver({ host: '127.0.0.1', port: 0, now: () => NOW, ...options })
  t.after(() => resolver.stop())
  return resolver
}

export interface Asked {
  id?: number
  type?: number
  class?: number
  /** The payload size of an OPT; without it there is none. */
  edns?: number
  version?: number
  dnssecOk?: boolean
  flags?: number
}

/** A query packet; `name` is taken as it is, byte for byte. */
export function query(name: string, asked: Asked = {}): Buffer {
  const { id = 0x1234, type = 1, class: klass = 1, edns, version = 0, dnssecOk = false, flags = 0x0100 } = asked
  const head = Buffer.alloc(12)
  for (const [i, value] of [id, flags, 1, 0, 0, edns === undefined ? 0 : 1].entries()) head.writeUInt16BE(value, i * 2)
  const labels = name === '' ? [] : name.split('.').map((label) => Buffer.from(label, 'latin1'))
  const question = Buffer.alloc(4)
  question.writeUInt16BE(type, 0)
  question.writeUInt16BE(klass, 2)
  const opt = Buffer.alloc(edns === undefined ? 0 : 11)
  if (edns !== undefined) {
    opt.writeUInt16BE(41, 1)
    opt.writeUInt16BE(edns, 3)
    opt[6] = version
    if (dnssecOk) opt[7] = 0x80
  }
  return Buffer.concat([
    head,
    ...labels.flatMap((label) => [Buffer.from([label.length]), label]),
    Buffer.alloc(1),
    question,
    opt,
  ])
}

/** Sends the packets in order from one socket and collects as many answers as `wanted`. */
export async function overUdp(port: number, packets: Uint8Array[], wanted = packets.length): Promise<Buffer[]> {
  const socket = createSocket('udp4')
  const answers: Buffer[] = []
  const done = Promise.withResolvers<void>()
  socket.on('message', (message) => {
    if (answers.push(message) >= wanted) done.resolve()
  })
  socket.connect(port, '127.0.0.1')
  await once(socket, 'connect')
  for (const packet of packets) socket.send(packet)
  await done.promise
  socket.close()
  return answers
}

/** The same over one TCP connection; ends early when the server hangs up. */
export async function overTcp(port: number, packets: Uint8Array[], wanted = packets.length): Promise<Buffer[]> {
  const socket = connect(port, '127.0.0.1')
  socket.write(
    Buffer.concat(packets.flatMap((packet) => [Buffer.from([packet.length >> 8, packet.length & 255]), packet])),
  )
  const answers: Buffer[] = []
  let received = Buffer.alloc(0)
  for await (const chunk of socket) {
    received = Buffer.concat([received, chunk as Buffer])
    while (received.length >= 2 && received.length >= 2 + received.readUInt16BE(0)) {
      const end = 2 + received.readUInt16BE(0)
      answers.push(Buffer.from(received.subarray(2, end)))
      received = received.subarray(end)
    }
    if (answers.length >= wanted) break
  }
  return answers
}

export type Decoded = DecodedPacket & { rcode: string; options: { code: number; data?: Buffer | undefined }[] }

/** As an independent decoder reads it. */
export function decode(packet: Buffer | undefined): Decoded {
  const decoded = dnsPacket.decode(packet ?? Buffer.alloc(0)) as Decoded
  const opt = decoded.additionals?.find((record) => record.type === 'OPT')
  decoded.options = opt && 'options' in opt ? opt.options : []
  return decoded
}

export async function ask(port: number, name: string, asked: Asked = {}): Promise<Decoded> {
  const [answer] = await overUdp(port, [query(name, asked)])
  return decode(answer)
}

/** Code and text of the extended error in an answer (RFC 8914). */
export function extendedErrorOf(answer: Decoded): [number, string] | undefined {
  const data = answer.options.find((option) => option.code === 15)?.data
  return data && [data.readUInt16BE(0), data.toString('utf8', 2)]
}
