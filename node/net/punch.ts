/**
 * Punching through NATs over UDP: both sides probe each other's addresses at once, answer what comes, and probe back to where
 * it came from, as ICE does (RFC 8445 section 7.3; docs/spec/reaching.md, "Punched UDP").
 */
import type { Duplex } from 'node:stream'
import type { UdxSocket } from 'udx-native'
import { encodeProbe, type Probe, parseProbe, streamIds } from '../core/datagram.ts'
import type { Bytes } from '../core/encoding.ts'
import { type HostPort, hostText, scopeOf } from '../core/hosts.ts'
import type { From, UdpPort } from './udp.ts'

/** Milliseconds between two probes to an address: at first, how they grow, and at most. */
const FIRST_PAUSE = 25
const SLOWER = 1.3
const MAX_PAUSE = 500
/** Milliseconds. */
const PUNCH_TIME = 5_000
/** How long a private address may still answer after a public one has. */
const PREFER_NEAR = 20
/** Addresses that are probed because something came from there. */
const MAX_TRIGGERED = 16

/** The birthday method: sockets of the symmetric side, probes a second of the other, and milliseconds for all of it. */
const SOCKETS = 256
const GUESSES_A_SECOND = 100
const GUESS_TIME = 20_000
const LOWEST_GUESS = 1024

export interface PunchOptions {
  port: UdpPort
  isCaller: boolean
  /** Of the meeting. */
  nonce: Bytes
  key: Bytes
  /** Where the other side may be. */
  theirs: readonly HostPort[]
  /** What one side's NAT makes necessary: that it opens many sockets, or that the other guesses. Undefined: none of it. */
  birthday?: 'open' | 'guess'
  /** A whole number from 0 to `end - 1`. */
  random: (end: number) => number
  signal: AbortSignal
}

/** Resolves to a stream that carries bytes both ways, and is not encrypted. Errors: `signal`, or that time is over. */
export async function punchUdp(options: PunchOptions): Promise<Duplex> {
  const time = AbortSignal.timeout(options.birthday ? GUESS_TIME : PUNCH_TIME)
  const punch = new Punch({ ...options, signal: AbortSignal.any([options.signal, time]) })
  try {
    return await punch.run()
  } finally {
    punch.stop()
  }
}

class Punch {
  readonly #options: PunchOptions
  readonly #done = new AbortController()
  readonly #extra: UdxSocket[] = []
  /** Addresses that are probed, each with the extra socket that it is probed from; and those from which something valid came. */
  readonly #targets = new Set<string>()
  readonly #proven = new Set<string>()
  readonly #seen = new Set<number>()
  readonly #timers = new Set<NodeJS.Timeout>()
  readonly #chosen = Promise.withResolvers<From>()
  #best: From | undefined
  #seq = 0
  #triggered = 0

  constructor(options: PunchOptions) {
    this.#options = options
  }

  async run(): Promise<Duplex> {
    const { port, nonce, key, isCaller, theirs, birthday, signal } = this.#options
    const forget = port.onProbe(nonce, (bytes, from) => this.#heard(bytes, from))
    this.#done.signal.addEventListener('abort', forget)
    const ids = streamIds(key)
    const stopped = (): void => this.#chosen.reject(signal.reason as Error)
    signal.addEventListener('abort', stopped, { once: true })
    this.#done.signal.addEventListener('abort', () => signal.removeEventListener('abort', stopped))
    if (signal.aborted) stopped()
    const isKnown = (from: HostPort): boolean => this.#proven.has(hostText(from))
    const accepted = isCaller
      ? undefined
      : port.accept({ own: ids.callee, theirs: ids.caller }, isKnown, AbortSignal.any([signal, this.#done.signal]))
    if (birthday === 'open') this.#openMany()
    for (const target of theirs) this.#probe(target)
    if (birthday === 'guess') this.#guess()
    if (accepted) return accepted
    const from = await this.#chosen.promise
    return port.connect({ own: ids.caller, theirs: ids.callee }, from)
  }

  stop(): void {
    this.#done.abort()
    this.#chosen.promise.catch(() => undefined)
    for (const timer of this.#timers) clearTimeout(timer)
    // One of them may carry the stream, and udx closes that when the stream has ended.
    for (const socket of this.#extra) void socket.close()
  }

  #probe(target: HostPort & { socket?: UdxSocket }): void {
    this.#targets.add(this.#nameOf(target))
    let pause = FIRST_PAUSE
    const again = (): void => {
      this.#say('probe', target)
      this.#later(pause, again)
      pause = Math.min(pause * SLOWER, MAX_PAUSE)
    }
    again()
  }

  #later(ms: number, work: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer)
      work()
    }, ms)
    this.#timers.add(timer)
  }

  #say(type: Probe['type'], to: HostPort & { socket?: UdxSocket }, seq = this.#seq++): void {
    const { nonce, key, isCaller, port } = this.#options
    port.send(encodeProbe({ type, nonce, seq, fromCaller: isCaller }, key), to, to.socket)
  }

  #heard(bytes: Bytes, from: From): void {
    const { key, isCaller } = this.#options
    const probe = parseProbe(bytes, key)
    if (!probe || probe.fromCaller === isCaller) return
    this.#proven.add(hostText(from))
    if (probe.type === 'echo') return this.#echoed(from)
    // Somebody on the way may send the same again, to have us say more than we were asked.
    if (this.#seen.has(probe.seq)) return
    this.#seen.add(probe.seq)
    this.#say('echo', from, probe.seq)
    if (!this.#targets.has(this.#nameOf(from)) && this.#triggered++ < MAX_TRIGGERED) this.#probe(from)
  }

  #nameOf(host: HostPort & { socket?: UdxSocket }): string {
    return `${hostText(host)} ${host.socket ? this.#extra.indexOf(host.socket) : -1}`
  }

  /** Both ways work there. */
  #echoed(from: From): void {
    const isNear = scopeOf(from.host) !== 'public'
    if (isNear) return this.#chosen.resolve(from)
    if (this.#best) return
    this.#best = from
    const hopesNear = this.#options.theirs.some(({ host }) => scopeOf(host) !== 'public')
    if (hopesNear) this.#later(PREFER_NEAR, () => this.#chosen.resolve(from))
    else this.#chosen.resolve(from)
  }

  /** Each of its sockets gets a public port of its own, one of which the other side may guess. */
  #openMany(): void {
    const { port, theirs } = this.#options
    for (let i = 0; i < SOCKETS; i++) {
      const socket = port.extraSocket()
      if (!socket) return
      this.#extra.push(socket)
      const say = (): void => {
        for (const target of theirs) if (scopeOf(target.host) === 'public') this.#say('probe', { ...target, socket })
        // Before a mapping that nothing came in by is forgotten.
        this.#later(10_000, say)
      }
      this.#later(2 * i, say)
    }
  }

  #guess(): void {
    const { theirs, random } = this.#options
    const hosts = [...new Set(theirs.map(({ host }) => host))].filter(
      (host) => scopeOf(host) === 'public' && !host.includes(':'),
    )
    const began = performance.now()
    let sent = 0
    // A timer alone is late each time, and a tenth of the guesses would be missing.
    const again = (): void => {
      for (const due = ((performance.now() - began) * GUESSES_A_SECOND) / 1000; sent < due; sent++) {
        for (const host of hosts) this.#say('probe', { host, port: LOWEST_GUESS + random(65_536 - LOWEST_GUESS) })
      }
      this.#later(1000 / GUESSES_A_SECOND, again)
    }
    again()
  }
}
