/**
 * Puts one question to one other resolver. Whoever is not on the way between cannot answer in its place (RFC 5452): the port,
 * the id and the case of the letters are drawn anew for each question, and all of them must come back.
 */
import { randomBytes, randomInt } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { on, once } from 'node:events'
import { connect, isIP, isIPv6 } from 'node:net'
import { HEADER_BYTES } from '../node/core/dns.ts'
import { P2pnsError } from '../node/core/errors.ts'
import { OPT_BYTES, writeOpt } from './edns.ts'
import { canonicalQuestion, FLAG_QR, FLAG_TC, type Query } from './wire.ts'

export interface Server {
  /** An IP address. */
  host: string
  port: number
}

/** What others are asked; of who asked us they learn nothing but this. */
export interface Question {
  /** Name in lower case, type and class. */
  wire: Buffer
  /** RD, CD, and DO of the OPT. */
  recursion: boolean
  checkingDisabled: boolean
  dnssecOk: boolean
}

export interface ExchangeOptions {
  /** Letters in a case that only the server knows (draft-vixie-dnsext-dns0x20). */
  mixCase: boolean
  /** With an OPT, and so up to 1232 bytes over UDP. */
  edns: boolean
}

export interface Heard {
  response: Buffer
  /** False when the letters came back in another case: then it is not to be believed. */
  exact: boolean
}

export type Exchange = (
  server: Server,
  question: Question,
  options: ExchangeOptions,
  signal: AbortSignal,
) => Promise<Heard>

const FLAG_RD = 0x0100
const FLAG_CD = 0x0010
/** What fits an IPv6 packet of the smallest MTU (DNS flag day 2020). */
const PAYLOAD = 1232

/** `IP:port`, `[IPv6]:port`, or an IP, whose port is then 53. Throws `usage`. */
export function parseServer(address: string): Server {
  const match = /^\[?([^\]]+?)\]?(?::(\d{1,5}))?$/.exec(isIPv6(address) ? `[${address}]` : address)
  const [, host = '', port = '53'] = match ?? []
  if (!isIP(host) || Number(port) < 1 || Number(port) > 65_535) {
    throw new P2pnsError('usage', `"${address}" is not the address of a DNS server, such as 192.0.2.1:53`)
  }
  return { host, port: Number(port) }
}

/** Two queries with the same key ask the same of others. */
export function questionKey(query: Query): string {
  const flags = query.packet.readUInt16BE(2)
  const bits = (flags & FLAG_RD ? 1 : 0) | (flags & FLAG_CD ? 2 : 0) | (query.edns?.dnssecOk ? 4 : 0)
  return String.fromCharCode(bits) + canonicalQuestion(query).toString('latin1')
}

export function questionFrom(key: string): Question {
  const bits = key.charCodeAt(0)
  const wire = Buffer.from(key.slice(1), 'latin1')
  return { wire, recursion: (bits & 1) !== 0, checkingDisabled: (bits & 2) !== 0, dnssecOk: (bits & 4) !== 0 }
}

/** Over UDP, and over TCP what does not fit (RFC 7766 section 5). Rejects with the system's error, and when `signal` ends it. */
export async function exchange(
  server: Server,
  question: Question,
  options: ExchangeOptions,
  signal: AbortSignal,
): Promise<Heard> {
  const packet = toPacket(question, options)
  const end = HEADER_BYTES + question.wire.length
  const heard = await overUdp(server, packet, end, signal)
  const truncated = ((heard.response[2] as number) & FLAG_TC) !== 0
  return truncated && heard.exact ? await overTcp(server, packet, end, signal) : heard
}

function toPacket(
  { wire, recursion, checkingDisabled, dnssecOk }: Question,
  { mixCase, edns }: ExchangeOptions,
): Buffer {
  const end = HEADER_BYTES + wire.length
  const packet = Buffer.alloc(end + (edns ? OPT_BYTES : 0))
  packet.writeUInt16BE(randomInt(0x10000), 0)
  packet.writeUInt16BE((recursion ? FLAG_RD : 0) | (checkingDisabled ? FLAG_CD : 0), 2)
  packet.writeUInt16BE(1, 4)
  packet.set(mixCase ? withMixedCase(wire) : wire, HEADER_BYTES)
  if (!edns) return packet
  packet.writeUInt16BE(1, 10)
  writeOpt(packet, end, { payload: PAYLOAD, extendedRcode: 0, dnssecOk }, Buffer.alloc(0), undefined)
  return packet
}

/** Each letter of the name in either case; lengths of labels are less than any letter. */
function withMixedCase(wire: Buffer): Buffer {
  const random = randomBytes(wire.length)
  return Buffer.from(wire).map((byte, i) => {
    const isLetter = i < wire.length - 4 && byte >= 0x61 && byte <= 0x7a
    return isLetter && (random[i] as number) & 1 ? byte - 0x20 : byte
  }) as Buffer
}

async function overUdp(server: Server, packet: Buffer, end: number, signal: AbortSignal): Promise<Heard> {
  const family = isIPv6(server.host) ? 6 : 4
  const socket = createSocket({
    type: `udp${family}`,
    lookup: (address, _options, callback) => callback(null, address, family),
  })
  try {
    // A connected socket hears nobody but the one it asked. The system draws the port.
    socket.connect(server.port, server.host)
    await once(socket, 'connect', { signal })
    const messages = on(socket, 'message', { signal })
    socket.send(packet)
    for await (const [message] of messages as AsyncIterable<[Buffer]>) {
      const heard = matched(message, packet, end)
      if (heard) return heard
    }
    throw new P2pnsError('timed_out', 'The upstream socket was closed')
  } finally {
    socket.close()
  }
}

async function overTcp({ host, port }: Server, packet: Buffer, end: number, signal: AbortSignal): Promise<Heard> {
  const socket = connect({ port, host, signal, noDelay: true })
  const prefix = Buffer.alloc(2)
  prefix.writeUInt16BE(packet.length)
  socket.write(Buffer.concat([prefix, packet]))
  const chunks: Buffer[] = []
  let received = 0
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    chunks.push(chunk)
    received += chunk.length
    if (received < 2) continue
    const all = Buffer.concat(chunks)
    if (received < 2 + all.readUInt16BE(0)) continue
    const heard = matched(all.subarray(2, 2 + all.readUInt16BE(0)), packet, end)
    if (heard) return heard
    break
  }
  throw new P2pnsError('malformed', 'The upstream resolver gave no answer over TCP')
}

/** Whether `message` is the response to `packet`, whose question ends at `end`: its id and its question, byte for byte. */
function matched(message: Buffer, packet: Buffer, end: number): Heard | undefined {
  if (message.length < HEADER_BYTES || ((message[2] as number) & FLAG_QR) === 0) return undefined
  if (message.readUInt16BE(0) !== packet.readUInt16BE(0) || message.readUInt16BE(4) !== 1 || message.length < end) {
    return undefined
  }
  if (message.compare(packet, HEADER_BYTES, end, HEADER_BYTES, end) === 0) return { response: message, exact: true }
  const lowered = (bytes: Buffer): string => bytes.toString('latin1', HEADER_BYTES, end - 4).toLowerCase()
  const same = lowered(message) === lowered(packet) && message.compare(packet, end - 4, end, end - 4, end) === 0
  return same ? { response: message, exact: false } : undefined
}
