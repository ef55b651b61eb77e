/**
 * Links: TLS 1.3 over TCP whose pre-shared key is a single-use ticket (RFC 8446 section 2.2; the key exchange still runs,
 * so a link is forward secret). Both sides know the ticket from their meeting (core/meeting.ts); there are no certificates.
 *
 * Limits: a ticket lives 30 s and works once; 1024 wait at a time, then the oldest goes; 64 connections may be in their
 * handshake, which has 5 s, then the oldest goes.
 */
import { isIPv6, type OnReadOpts } from 'node:net'
import type { Duplex } from 'node:stream'
import { setTimeout as wait } from 'node:timers/promises'
import * as tls from 'node:tls'
import { type Bytes, toHex } from '../core/encoding.ts'
import { isError, P2pnsError } from '../core/errors.ts'

/** `id`: 16 bytes, sent in the clear. `secret`: 32 bytes. */
export interface Ticket {
  id: Bytes
  secret: Bytes
}

export interface Candidate {
  host: string
  port: number
}

export interface Dialled {
  socket: tls.TLSSocket
  candidate: Candidate
}

export interface LinkServerOptions {
  /** Milliseconds since 1970. */
  now: () => number
}

/** Takes connections that begin with a TLS handshake, and gives them to whoever waits for the ticket they bring. */
export interface LinkServer {
  /** `onLink` gets the one link that comes with `ticket`, in the next 30 s; `peer` is who may bring it. */
  expect(ticket: Ticket, peer: string, onLink: (socket: tls.TLSSocket) => void): void
  /** A connection in which nothing was read yet. */
  accept(raw: Duplex): void
  /** Forgets the tickets and ends the links. */
  stop(): void
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

export function createLinkServer({ now }: LinkServerOptions): LinkServer {
  const tickets = new Map<string, { secret: Bytes; expires: number; peer: string; onLink: OnLink }>()
  const handshakes = new Set<Duplex>()
  const links = new Set<Duplex>()

  return {
    expect({ id, secret }, peer, onLink) {
      // Who asks for many pushes out its own first.
      const own = [...tickets].filter(([, waiting]) => waiting.peer === peer)
      if (own.length >= MAX_TICKETS_EACH) tickets.delete((own[0] as [string, unknown])[0])
      const [oldest] = tickets.keys()
      if (oldest !== undefined && tickets.size >= MAX_TICKETS) tickets.delete(oldest)
      tickets.set(toHex(id), { secret, expires: now() + TICKET_LIFE, peer, onLink })
    },
    accept(raw) {
      let onLink: OnLink | undefined
      const socket = new tls.TLSSocket(raw, {
        ...TLS_OPTIONS,
        isServer: true,
        pskCallback: (_: tls.TLSSocket, identity: string) => {
          const waiting = tickets.get(identity)
          tickets.delete(identity)
          if (!waiting || waiting.expires <= now()) return null
          onLink = waiting.onLink
          return waiting.secret
        },
      } as tls.TLSSocketOptions)
      const timer = setTimeout(() => raw.destroy(), HANDSHAKE_TIME)
      handshakes.add(raw)
      links.add(raw)
      const [oldest] = handshakes
      if (handshakes.size > MAX_HANDSHAKES) oldest?.destroy()
      const decided = (): void => {
        clearTimeout(timer)
        handshakes.delete(raw)
      }
      const ended = (): void => {
        decided()
        links.delete(raw)
        raw.destroy()
        socket.destroy()
      }
      raw.once('close', ended)
      socket.once('close', ended)
      raw.on('error', () => raw.destroy())
      socket.on('error', () => raw.destroy())
      socket.once('secure', () => {
        decided()
        // TLS would also let a peer resume an earlier session; only a ticket admits.
        if (onLink) onLink(socket)
        else raw.destroy()
      })
    },
    stop() {
      tickets.clear()
      for (const link of links) link.destroy()
    },
  }
}

/** The client's side of a link over a connection that is open. Throws as `dialLink`. */
export function openLink(raw: Duplex, ticket: Ticket, signal: AbortSignal): Promise<tls.TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = tls.connect({ ...TLS_OPTIONS, socket: raw, ...withTicket(ticket) })
    const timer = setTimeout(() => socket.destroy(new Error('it took too long')), HANDSHAKE_TIME)
    const stopped = (): void => void socket.destroy(new Error('stopped'))
    signal.addEventListener('abort', stopped, { once: true })
    const settle = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', stopped)
    }
    socket.once('secureConnect', () => {
      settle()
      resolve(socket)
    })
    // Stays for good, as a link may break at any time.
    socket.on('error', (cause) => {
      settle()
      raw.destroy()
      reject(new P2pnsError('ticket_invalid', 'the other side did not take the ticket', { cause }))
    })
    socket.once('close', () => {
      settle()
      raw.destroy()
      reject(new P2pnsError('peer_unreachable', 'the connection ended before it was a link'))
    })
    if (signal.aborted) stopped()
  })
}

type OnLink = (socket: tls.TLSSocket) => void

function withTicket({ id, secret }: Ticket) {
  return { pskCallback: () => ({ identity: toHex(id), psk: secret }), checkServerIdentity: () => undefined }
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
  await wait(HEAD_START, undefined, { signal: stop }).catch(() => undefined)
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
      ...withTicket(ticket),
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

function nameOf({ host, port }: Candidate): string {
  return isIPv6(host) ? `[${host}]:${port}` : `${host}:${port}`
}
