/**
 * Punching through NATs over TCP: both sides connect to each other at once (TCP simultaneous open, RFC 9293 section 3.5).
 * Each does it from one local port whose public port it knows, since a connection from there to a reflector stays open.
 */
import * as net from 'node:net'
import { parseSeen, TCP_ANSWER_SIZE, TCP_QUESTION } from '../core/datagram.ts'
import { type HostPort, sameHost, scopeOf } from '../core/hosts.ts'
import { freePort } from './free-port.ts'
import { readExactly } from './stream-duplex.ts'
import { publicIpv6 } from './whereabouts.ts'

const PUNCH_TIME = 3_000
/** Milliseconds until a connection that was refused is tried again. */
const AGAIN = 100
const REFLECT_TIME = 5_000
const FIRST_PAUSE = 1_000
const MAX_PAUSE = 60_000

/** The local port from which punches start, as reflectors see it. */
export class PunchPort {
  /** When the public address is another one than before. */
  onChange: () => void = () => undefined
  readonly #reflectors: readonly HostPort[]
  readonly #seen = new Map<HostPort, HostPort>()
  readonly #sockets = new Set<net.Socket>()
  readonly #timers = new Set<NodeJS.Timeout>()
  #port = 0
  #stopped = false

  constructor(reflectors: readonly HostPort[]) {
    this.#reflectors = reflectors
  }

  /** Resolves when the reflectors have answered, or will not. */
  async start(): Promise<void> {
    if (this.#reflectors.length === 0) return
    // A port that is asked for by its number may carry several connections at once; one that the system chose may not.
    this.#port = await freePort()
    await Promise.all(this.#reflectors.map((reflector) => this.#keep(reflector)))
  }

  /** 0: none yet. */
  get port(): number {
    return this.#port
  }

  /** Where others see it, in IPv4 if any of them does; undefined when that is not known, or another for each. */
  get mapped(): HostPort | undefined {
    const all = [...this.#seen.values()]
    const four = all.filter(({ host }) => !host.includes(':'))
    const [first, ...others] = four.length > 0 ? four : all
    return first && others.every((other) => sameHost(first, other)) ? first : undefined
  }

  /** The addresses of this machine changed. */
  renew(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  stop(): void {
    this.#stopped = true
    for (const timer of this.#timers) clearTimeout(timer)
    for (const socket of this.#sockets) socket.destroy()
  }

  async #keep(reflector: HostPort, pause = FIRST_PAUSE): Promise<void> {
    if (this.#stopped) return
    const socket = net.connect({ ...reflector, ...from(this.#port, reflector), keepAlive: true })
    this.#sockets.add(socket)
    socket.on('error', () => undefined)
    let worked = false
    socket.once('close', () => {
      this.#sockets.delete(socket)
      if (this.#seen.delete(reflector)) this.onChange()
      if (this.#stopped) return
      const next = worked ? FIRST_PAUSE : Math.min(2 * pause, MAX_PAUSE)
      const timer = setTimeout(() => {
        this.#timers.delete(timer)
        void this.#keep(reflector, next)
      }, next).unref()
      this.#timers.add(timer)
    })
    try {
      socket.write(TCP_QUESTION)
      const answer = await readExactly(socket, TCP_ANSWER_SIZE, AbortSignal.timeout(REFLECT_TIME))
      const seen = parseSeen(answer)
      if (!seen) throw new Error('that is no answer')
      worked = true
      this.#seen.set(reflector, seen)
      // It says nothing more; what it says all the same is dropped.
      socket.resume()
      socket.unref()
      this.onChange()
    } catch {
      socket.destroy()
    }
  }
}

/** Resolves to the first connection that comes about. Errors: `signal`, or that time is over. */
export async function punchTcp(
  localPort: number,
  theirs: readonly HostPort[],
  signal: AbortSignal,
): Promise<net.Socket> {
  const won = new AbortController()
  const stop = AbortSignal.any([signal, AbortSignal.timeout(PUNCH_TIME), won.signal])
  try {
    const winner = await Promise.any(theirs.map((host) => connectAgain(localPort, host, stop)))
    return winner
  } finally {
    won.abort()
  }
}

function connectAgain(localPort: number, to: HostPort, signal: AbortSignal): Promise<net.Socket> {
  return new Promise((resolve, reject) => {
    let current: net.Socket | undefined
    let timer: NodeJS.Timeout | undefined
    const stopped = (): void => {
      clearTimeout(timer)
      current?.destroy()
      reject(signal.reason as Error)
    }
    const attempt = (): void => {
      const socket = net.connect({ ...to, ...from(localPort, to), noDelay: true })
      current = socket
      const failed = (): void => {
        timer = setTimeout(attempt, AGAIN)
      }
      socket.once('error', failed)
      socket.once('connect', () => {
        signal.removeEventListener('abort', stopped)
        socket.off('error', failed)
        resolve(socket)
      })
    }
    signal.addEventListener('abort', stopped, { once: true })
    if (signal.aborted) stopped()
    else attempt()
  })
}

/** In IPv6 a machine has several addresses, and others are told of one. */
function from(localPort: number, { host }: HostPort): { localPort: number; localAddress?: string } {
  const localAddress = host.includes(':') && scopeOf(host) === 'public' ? publicIpv6() : undefined
  return localAddress === undefined ? { localPort } : { localPort, localAddress }
}
