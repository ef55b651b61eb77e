/** Asks another resolver for the names that are not ours, and hands its answer on as it is. */
import { randomInt } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { on, once } from 'node:events'
import { connect, isIP, isIPv6 } from 'node:net'
import { HEADER_BYTES } from '../node/core/dns.ts'
import { P2pnsError } from '../node/core/errors.ts'
import type { Reply, Transport } from './responder.ts'
import { EDE, errorAnswer, extendedError, FLAG_QR, FLAG_TC, type Query, RCODE, udpLimit } from './wire.ts'

/** How long one try may take, in ms, and how many there are over UDP, where a datagram can get lost. */
const TRY_TIMEOUT = 2_000
const TRIES = 2
/** Questions in flight; each has a socket of its own, so that its port cannot be guessed (RFC 5452 section 9.2). */
const MAX_IN_FLIGHT = 256

export class Upstream {
  readonly #host: string
  readonly #port: number
  readonly #stopped = new AbortController()
  #inFlight = 0

  /** `address`: `IP:port`, `[IPv6]:port` or an IP, whose port is then 53. Throws `usage`. */
  constructor(address: string) {
    const match = /^\[?([^\]]+?)\]?(?::(\d{1,5}))?$/.exec(isIPv6(address) ? `[${address}]` : address)
    const [, host = '', port = '53'] = match ?? []
    if (!isIP(host) || Number(port) < 1 || Number(port) > 65_535) {
      throw new P2pnsError('usage', `"${address}" is not the address of a DNS server, such as 192.0.2.1:53`)
    }
    this.#host = host
    this.#port = Number(port)
  }

  forward(query: Query, transport: Transport, reply: Reply): void {
    void this.#answer(query, transport).then((response) => {
      if (!this.#stopped.signal.aborted) reply(response)
    })
  }

  stop(): void {
    this.#stopped.abort()
  }

  async #answer(query: Query, transport: Transport): Promise<Buffer> {
    const failed = (text: string): Buffer => errorAnswer(query, RCODE.SERVFAIL, extendedError(EDE.NETWORK, text))
    if (this.#inFlight >= MAX_IN_FLIGHT) return failed('Too many questions are waiting for the upstream resolver')
    this.#inFlight++
    try {
      const response = await this.#ask(query, transport)
      query.packet.copy(response, 0, 0, 2)
      query.packet.copy(response, HEADER_BYTES, HEADER_BYTES, query.end)
      return transport === 'udp' && response.length > udpLimit(query) ? truncate(query, response) : response
    } catch {
      return failed('The upstream resolver did not answer')
    } finally {
      this.#inFlight--
    }
  }

  /** Over UDP first; a truncated answer is asked for again over TCP, unless the asker can do that as well. */
  async #ask(query: Query, transport: Transport): Promise<Buffer> {
    const packet = Buffer.from(query.packet)
    packet.writeUInt16BE(randomInt(0x10000))
    for (let left = TRIES; ; left--) {
      const signal = AbortSignal.any([AbortSignal.timeout(TRY_TIMEOUT), this.#stopped.signal])
      try {
        const response = await this.#askUdp(packet, query, signal)
        const truncated = ((response[2] as number) & FLAG_TC) !== 0
        return truncated && transport === 'tcp' ? await this.#askTcp(packet, query, signal) : response
      } catch (error) {
        if (left <= 1 || this.#stopped.signal.aborted) throw error
      }
    }
  }

  async #askUdp(packet: Buffer, query: Query, signal: AbortSignal): Promise<Buffer> {
    const socket = createSocket(isIPv6(this.#host) ? 'udp6' : 'udp4')
    try {
      // A connected socket hears nobody but the one it asked.
      socket.connect(this.#port, this.#host)
      await once(socket, 'connect', { signal })
      const messages = on(socket, 'message', { signal })
      socket.send(packet)
      for await (const [message] of messages as AsyncIterable<[Buffer]>) {
        if (answers(message, packet, query)) return message
      }
      throw new P2pnsError('timed_out', 'The upstream socket was closed')
    } finally {
      socket.close()
    }
  }

  async #askTcp(packet: Buffer, query: Query, signal: AbortSignal): Promise<Buffer> {
    const socket = connect({ port: this.#port, host: this.#host, signal })
    const prefix = Buffer.alloc(2)
    prefix.writeUInt16BE(packet.length)
    socket.write(Buffer.concat([prefix, packet]))
    let received = Buffer.alloc(0)
    for await (const chunk of socket as AsyncIterable<Buffer>) {
      received = Buffer.concat([received, chunk])
      if (received.length < 2 || received.length < 2 + received.readUInt16BE(0)) continue
      const message = received.subarray(2, 2 + received.readUInt16BE(0))
      if (answers(message, packet, query)) return message
      break
    }
    throw new P2pnsError('malformed', 'The upstream resolver gave no answer over TCP')
  }
}

/** Whether `message` is the response to `packet`: its id and its question, in whatever case. */
function answers(message: Buffer, packet: Buffer, query: Query): boolean {
  if (message.length < query.end || ((message[2] as number) & FLAG_QR) === 0) return false
  if (message.readUInt16BE(0) !== packet.readUInt16BE(0) || message.readUInt16BE(4) !== 1) return false
  const nameEnd = query.end - 4
  const asked = packet.toString('latin1', HEADER_BYTES, nameEnd)
  const echoed = message.toString('latin1', HEADER_BYTES, nameEnd)
  return (
    asked.toLowerCase() === echoed.toLowerCase() &&
    message.compare(packet, nameEnd, query.end, nameEnd, query.end) === 0
  )
}

/** Header and question only, with TC, for an asker that has no room for more. */
function truncate(query: Query, response: Buffer): Buffer {
  const out = Buffer.from(response.subarray(0, query.end))
  out[2] = (out[2] as number) | FLAG_TC
  return out.fill(0, 6, HEADER_BYTES)
}
