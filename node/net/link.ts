/**
 * Links: TLS 1.3 over TCP whose pre-shared key is a single-use ticket (RFC 8446 section 2.2; the key exchange still runs,
 * so a link is forward secret). The ticket travels over the authenticated control connection; there are no certificates.
 *
 * Limits: a ticket lives 30 s and works once; 1024 wait at a time, then the oldest goes; 64 connections may be in their
 * handshake, which has 5 s, then the oldest goes.
 */
import { type AddressInfo, isIPv6, type OnReadOpts, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { setTimeout } from 'node:timers/promises'
import * as tls from 'node:tls'
import { type Bytes, toHex } from '../core/encoding.ts'
import { isError, P2pnsError } from '../core/errors.ts'

/** `id`: 16 bytes, sent in the clear. `secret`: 32 bytes. `expires`: milliseconds since 1970. */
export interface Ticket {
  id: Bytes
  secret: Bytes
  expires: number
}

export interface Candidate {
  host: string
  port: number
}

export interface Dialled {
  socket: tls.TLSSocket
  candidate: Candidate
}

export interface LinkServerOptions<Context> {
  host: string
  /** 0: any. */
  port: number
  /** Milliseconds since 1970. */
  now: () => number
  random: (bytes: number) => Bytes
  /** A peer came with a ticket that was issued for `context`. The socket is the caller's from here on. */
  onLink: (socket: tls.TLSSocket, context: Context) => void
}

export interface LinkServer<Context> {
  readonly port: number
  issue(context: Context): Ticket
  /** Closes the port and the links that came through it. */
  stop(): Promise<void>
}

/** Milliseconds. */
const TICKET_LIFE = 30_000
const HANDSHAKE_TIME = 5_000
/** What a candidate is ahead of the next one (RFC 8305 section 5 recommends 250 ms; ours are ordered by cost). */
const HEAD_START = 150

const MAX_TICKETS = 1024
/** Of one context, which is one peer. */
const MAX_TICKETS_EACH = 32
const MAX_HANDSHAKES = 64

/** Bytes; a TLS record holds 16 KiB. */
const READ_BUFFER = 64 * 1024

/** How the bytes of a dialled socket are read, until somebody else wants them. */
const readers = new WeakMap<Duplex, { consume: (bytes: Bytes) => void }>()

/**
 * Hands every byte of `stream` to `consume` as it comes. The bytes are only valid during the call: a dialled link reads
 * into one buffer again and again, as a fresh one for each 16 KiB is 100 MB of garbage at any moment.
 */
export function readLink(stream: Duplex, consume: (bytes: Bytes) => void): void {
  const reader = readers.get(stream)
  if (reader) reader.consume = consume
  // Also what came before this call.
  stream.on('data', consume)
}

/** No chain, no session tickets: only a ticket of ours opens a link. */
const TLS_OPTIONS = {
  minVersion: 'TLSv1.3',
  ciphers: 'TLS_AES_128_GCM_SHA256',
} as const

/** Throws `port_in_use`. */
export async function createLinkServer<Context>(options: LinkServerOptions<Context>): Promise<LinkServer<Context>> {
  const { now, random, onLink } = options
  const tickets = new Map<string, { ticket: Ticket; context: Context }>()
  const admitted = new WeakMap<tls.TLSSocket, Context>()
  /** By the address it came from, which is all that a raw socket and its TLS socket have in common. */
  const handshakes = new Map<string, Socket>()
  const sockets = new Set<Socket>()

  const redeem = (socket: tls.TLSSocket, identity: string): Buffer | null => {
    const waiting = tickets.get(identity)
    tickets.delete(identity)
    if (!waiting || waiting.ticket.expires <= now()) return null
    admitted.set(socket, waiting.context)
    return Buffer.from(waiting.ticket.secret)
  }
  const server = tls.createServer({
    ...TLS_OPTIONS,
    pskCallback: redeem,
    handshakeTimeout: HANDSHAKE_TIME,
    noDelay: true,
  })
  server.on('connection', (socket) => {
    const from = remoteOf(socket)
    sockets.add(socket)
    handshakes.set(from, socket)
    socket.on('close', () => {
      sockets.delete(socket)
      handshakes.delete(from)
    })
    const [oldest] = handshakes.values()
    if (handshakes.size > MAX_HANDSHAKES) oldest?.destroy()
  })
  server.on('tlsClientError', (_error, socket) => socket.destroy())
  server.on('secureConnection', (socket) => {
    handshakes.delete(remoteOf(socket))
    socket.on('error', () => socket.destroy())
    // TLS would also let a peer resume an earlier session; only the ticket callback admits.
    if (admitted.has(socket)) onLink(socket, admitted.get(socket) as Context)
    else socket.destroy()
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      const at = `${options.host} port ${options.port}`
      const taken = cause.code === 'EADDRINUSE' || cause.code === 'EACCES'
      reject(new P2pnsError(taken ? 'port_in_use' : 'internal', `no link server on ${at} (${cause.code})`, { cause }))
    })
    server.listen({ host: options.host, port: options.port }, resolve)
  })

  return {
    port: (server.address() as AddressInfo).port,
    issue(context) {
      // Who asks for many pushes out its own first.
      const own = [...tickets].filter(([, waiting]) => waiting.context === context)
      if (own.length >= MAX_TICKETS_EACH) tickets.delete((own[0] as [string, unknown])[0])
      const [oldest] = tickets.keys()
      if (oldest !== undefined && tickets.size >= MAX_TICKETS) tickets.delete(oldest)
      const ticket = { id: random(16), secret: random(32), expires: now() + TICKET_LIFE }
      tickets.set(toHex(ticket.id), { ticket, context })
      return ticket
    },
    async stop() {
      tickets.clear()
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      for (const socket of sockets) socket.destroy()
      await closed
    },
  }
}

/**
 * Opens a link to the peer that issued `ticket`, at the first of `candidates` that works: each has a short head start over
 * the next, and a failure starts the next at once. `timeout`: milliseconds for all of it. Throws `ticket_invalid` when a
 * peer answered and refused it, `peer_unreachable`, `timed_out`, or `interrupted` on `signal`.
 */
export async function dialLink(
  candidates: readonly Candidate[],
  ticket: Ticket,
  { signal, timeout }: { signal?: AbortSignal; timeout: number },
): Promise<Dialled> {
  const deadline = AbortSignal.timeout(timeout)
  const done = new AbortController()
  const stop = AbortSignal.any([deadline, done.signal, ...(signal ? [signal] : [])])
  const attempts: Promise<Dialled>[] = []
  try {
    for (const candidate of candidates) {
      const attempt = dialOne(candidate, ticket, stop)
      attempts.push(attempt)
      const failed = attempt.then(
        () => false,
        () => true,
      )
      const next = await Promise.race([failed, headStart(stop)])
      if (!next || stop.aborted) break
    }
    return await Promise.any(attempts)
  } catch (cause) {
    if (signal?.aborted) throw new P2pnsError('interrupted', 'the dial was stopped', { cause })
    const where = candidates.map(nameOf).join(', ') || 'no address'
    if (deadline.aborted) {
      throw new P2pnsError('timed_out', `no link at ${where} within ${timeout} ms`, { cause })
    }
    const failures: unknown[] = cause instanceof AggregateError ? cause.errors : []
    const refused = failures.find((error) => isError(error, 'ticket_invalid'))
    throw refused ?? new P2pnsError('peer_unreachable', `nobody answered at ${where}`, { cause })
  } finally {
    done.abort()
    void discardLosers(attempts)
  }
}

/** Whoever connects after the winner was chosen is closed. */
async function discardLosers(attempts: Promise<Dialled>[]): Promise<void> {
  const winner = await Promise.any(attempts).catch(() => undefined)
  for (const attempt of attempts) {
    const late = await attempt.catch(() => undefined)
    if (late !== winner) late?.socket.destroy()
  }
}

/** True, once the next candidate may start. */
async function headStart(stop: AbortSignal): Promise<boolean> {
  await setTimeout(HEAD_START, undefined, { signal: stop }).catch(() => undefined)
  return true
}

function dialOne(candidate: Candidate, ticket: Ticket, stop: AbortSignal): Promise<Dialled> {
  return new Promise((resolve, reject) => {
    let connected = false
    const reader = { consume: (bytes: Bytes): void => void socket.push(Buffer.from(bytes)) }
    const options: tls.ConnectionOptions & { onread: OnReadOpts } = {
      ...TLS_OPTIONS,
      ...candidate,
      onread: {
        buffer: Buffer.allocUnsafeSlow(READ_BUFFER),
        callback: (length, buffer) => {
          reader.consume(buffer.subarray(0, length))
          return true
        },
      },
      pskCallback: () => ({ identity: toHex(ticket.id), psk: ticket.secret }),
      checkServerIdentity: () => undefined,
    }
    const socket = tls.connect(options)
    readers.set(socket, reader)
    socket.setNoDelay(true)
    const abort = (): void => void socket.destroy(new Error('stopped'))
    stop.addEventListener('abort', abort, { once: true })
    const settle = (): void => stop.removeEventListener('abort', abort)
    socket.once('connect', () => (connected = true))
    socket.once('secureConnect', () => {
      settle()
      resolve({ socket, candidate })
    })
    // Stays for good: a link that breaks later tells by 'close', and must not bring the process down.
    socket.on('error', (cause) => {
      settle()
      socket.destroy()
      const at = nameOf(candidate)
      reject(
        connected && !stop.aborted
          ? new P2pnsError('ticket_invalid', `${at} did not take the ticket`, { cause })
          : new P2pnsError('peer_unreachable', `${at} cannot be reached`, { cause }),
      )
    })
    if (stop.aborted) abort()
  })
}

function remoteOf(socket: Socket): string {
  return `${socket.remoteAddress} ${socket.remotePort}`
}

function nameOf({ host, port }: Candidate): string {
  return isIPv6(host) ? `[${host}]:${port}` : `${host}:${port}`
}
