/** The ways in that the router opens for us, by PCP, NAT-PMP or UPnP: one outside port, for TCP and UDP alike. */
import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import { isDeepStrictEqual } from 'node:util'
import type { HttpRequest, HttpResponse, Mapper, Mapping } from 'port-mapper'

/** One way in from outside. */
export interface Mapped {
  host: string
  port: number
  protocol: 'tcp' | 'udp'
  by: 'upnp' | 'nat-pmp' | 'pcp'
}

export interface PortMapView {
  state: 'off' | 'trying' | 'mapped' | 'failed'
  mapped: readonly Mapped[]
  /** When the mapping ends unless it is renewed (ms since 1970). */
  until?: number
  /** Why nothing is mapped, or why what is mapped is of little use. */
  reason?: string
  /** When it is tried again by itself (ms since 1970). */
  nextTry?: number
}

export interface PortMapperOptions {
  /** The router's IPv4 address; else that of the default route. */
  gateway?: string
  now: () => number
  /** From 0 up to 1, for the port to ask for when ours is taken outside. */
  random?: () => number
  /** Seconds. */
  lease?: number
  protocols?: Protocols
}

type Protocols = ('pcp' | 'natpmp' | 'upnp')[]

const ASKED = 'Asked to start over'
const LEASE = 3600
const NEGOTIATE_MS = 6_000
const MAP_MS = 8_000
const FIRST_RETRY_MS = 30_000
const LAST_RETRY_MS = 30 * 60_000
/** What stop() grants to a request on its way, so that its mapping can be taken back, and then to that. */
const GRACE_MS = 500
const CLOSE_MS = 1_200
const STOP_MS = 2_000
/** An option of port-mapper that its types lack. */
const UNTYPED = { closeTimeout: CLOSE_MS - 200 }
const PRIVATE = /^(10|127|192\.168|169\.254|172\.(1[6-9]|2\d|3[01])|100\.(6[4-9]|[7-9]\d|1[01]\d|12[0-7]))\./
const HTTP_MS = 4_000
const HTTP_BYTES = 256 * 1024

type Done<T> = (error: Error | null, value?: T) => void
/** What one session with the router holds. */
type Held = Omit<PortMapView, 'state' | 'nextTry'>

export class PortMapper {
  /** Called with all that is mapped, whenever that changes; with nothing when it is lost. */
  onChange: (mapped: readonly Mapped[]) => void = () => undefined
  readonly #options: PortMapperOptions
  #stopping = new AbortController()
  #running: Promise<void> | undefined
  #held: Held | undefined
  #reason: string | undefined
  #nextTry: number | undefined
  #wake: () => void = () => undefined

  constructor(options: PortMapperOptions) {
    this.#options = options
  }

  /** Maps `port` and keeps it mapped, in the background. */
  start(port: number): void {
    if (this.#running !== undefined) return
    this.#stopping = new AbortController()
    this.#running = this.#run(port, this.#stopping.signal)
  }

  /** Starts over at once; for when the network has changed. */
  retry(): void {
    this.#wake()
  }

  view(): PortMapView {
    const held = this.#held
    if (this.#running === undefined) return { state: 'off', mapped: [] }
    if (held !== undefined) return { state: 'mapped', ...held }
    const reason = this.#reason === undefined ? {} : { reason: this.#reason }
    if (this.#nextTry === undefined) return { state: 'trying', mapped: [], ...reason }
    return { state: 'failed', mapped: [], ...reason, nextTry: this.#nextTry }
  }

  /** Takes the mapping back; resolves within 2 s, whatever the router does. */
  async stop(): Promise<void> {
    const running = this.#running
    this.#stopping.abort()
    if (running === undefined) return
    await within<void>(STOP_MS, (done) => running.then(() => done(null))).catch(() => undefined)
    if (this.#running === running) this.#running = undefined
  }

  async #run(port: number, signal: AbortSignal): Promise<void> {
    const all: Protocols = this.#options.protocols ?? ['pcp', 'natpmp', 'upnp']
    let protocols = all
    let delay = FIRST_RETRY_MS
    while (!signal.aborted) {
      this.#nextTry = undefined
      let wait = 1_000
      const since = this.#options.now()
      try {
        this.#reason = await this.#hold(port, protocols, signal)
        delay = FIRST_RETRY_MS
        // What worked for a while is worth asking again soon.
        if (this.#reason !== ASKED && this.#options.now() - since < 60_000) wait = delay
      } catch (error) {
        this.#reason = messageOf(error)
        const by = error instanceof Error ? error.cause : undefined
        // A router may answer PCP, refuse to map by it, and still map by UPnP.
        const refused = (by === 'pcp' || by === 'natpmp') && all.includes('upnp')
        protocols = refused ? ['upnp'] : all
        if (!refused) {
          wait = delay
          delay = Math.min(2 * delay, LAST_RETRY_MS)
        }
      }
      if (!signal.aborted) await this.#pause(wait, signal)
    }
  }

  /** Maps, and resolves with the reason once that is over; throws when it cannot map. */
  async #hold(port: number, protocols: Protocols, signal: AbortSignal): Promise<string> {
    const { createMapper } = await import('port-mapper')
    const { gateway, lease = LEASE, now } = this.#options
    const mapper = createMapper({
      ...(gateway !== undefined && { gateway }),
      protocols,
      lifetime: lease,
      description: 'p2pns',
      negotiateTimeout: NEGOTIATE_MS,
      retransmitAttempts: 5,
      checkLocalPort: false,
      cleanupOnExit: false,
      stun: false,
      ...UNTYPED,
      http: (ask, done) => void askRouter(mapper.getConfig().gateway, ask).then((answer) => done(null, answer), done),
    })
    let end: (reason: string) => void = () => undefined
    const ended = new Promise<string>((resolve) => {
      end = resolve
    })
    // Missing in its types; without a listener a failing socket would end the process.
    mapper.on('error' as 'warning', (error: unknown) => end(messageOf(error)))
    for (const loss of ['lost', 'remapped', 'gateway-gone', 'gateway-restarted'] as const) {
      mapper.on(loss, () => end(`The router dropped the mapping (${loss})`))
    }
    let timer: NodeJS.Timeout | undefined
    let over = false
    try {
      if (!mapper.getConfig().gateway) throw new Error('This machine has no default route')
      await within(NEGOTIATE_MS + 2_000, (done) => mapper.start(done), signal)
      const first = await this.#mapBoth(mapper, port, signal).catch((error: unknown) => {
        throw new Error(messageOf(error), { cause: mapper.getProtocol() })
      })
      const keep = (mapping: Mapping, host: string) => {
        // A lease that the router grants without an end does not outlive its restart: renewed by starting over.
        const seconds = mapping.lifetime > 0 ? mapping.lifetime : lease
        clearTimeout(timer)
        timer = setTimeout(() => end('The lease ended'), seconds * 1000).unref()
        const reason = PRIVATE.test(host) && {
          reason: `Another NAT follows: the router's own address ${host} is private`,
        }
        this.#publish({ mapped: waysIn(mapping, host), until: now() + seconds * 1000, ...reason })
      }
      signal.throwIfAborted()
      if (!isUsable(first.externalIp)) throw new Error('The router has no outside address')
      keep(first, first.externalIp)
      mapper.on('renewed', (mapping) => {
        if (mapping.externalPort !== first.externalPort) return end('The router gave another port')
        mapper.getExternalIp((_error, answer) => {
          const host = answer?.externalIp ?? mapping.externalIp
          // An answer of a session that has ended meanwhile changes nothing.
          if (over) return
          if (isUsable(host)) keep(mapping, host)
          else end('The router lost its outside address')
        })
      })
      const woken = new Promise<string>((resolve) => {
        this.#wake = () => resolve(ASKED)
        signal.addEventListener('abort', () => resolve('Stopped'), { once: true })
      })
      return await Promise.race([ended, woken])
    } finally {
      over = true
      clearTimeout(timer)
      this.#publish()
      await within<void>(CLOSE_MS, (done) => mapper.close(done)).catch(() => mapper.stop())
    }
  }

  /** The same outside port for both, ours if it is free there. Resolves with the mapping of TCP. */
  async #mapBoth(mapper: Mapper, port: number, signal: AbortSignal): Promise<Mapping> {
    const { random = Math.random } = this.#options
    const map = (protocol: 'tcp' | 'udp', externalPort: number) =>
      within<Mapping>(MAP_MS, (done) => mapper.map({ internalPort: port, externalPort, protocol }, done), signal)
    let wanted = port
    for (let attempt = 1; ; attempt++) {
      const tcp = await map('tcp', wanted)
      try {
        const udp = await map('udp', tcp.externalPort)
        if (udp.externalPort === tcp.externalPort) return tcp
        throw new Error('The router gives no port for both TCP and UDP')
      } catch (error) {
        if (attempt === 3 || signal.aborted) throw error
        for (const protocol of ['tcp', 'udp'] as const) {
          const unmap = (done: Done<void>) => mapper.unmap({ internalPort: port, protocol }, done)
          await within(1_000, unmap, signal).catch(() => undefined)
        }
        wanted = 20_000 + Math.floor(random() * 40_000)
      }
    }
  }

  #publish(held?: Held): void {
    const mapped = held?.mapped ?? []
    const same = isDeepStrictEqual(mapped, this.#held?.mapped ?? [])
    this.#held = held
    try {
      if (!same) this.onChange(mapped)
    } catch {} // The mapping is right, whatever its listener makes of it.
  }

  #pause(milliseconds: number, signal: AbortSignal): Promise<void> {
    this.#nextTry = this.#options.now() + milliseconds
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer)
        signal.removeEventListener('abort', done)
        resolve()
      }
      const timer = setTimeout(done, milliseconds).unref()
      signal.addEventListener('abort', done)
      this.#wake = done
    })
  }
}

function waysIn({ externalPort: port, via }: Mapping, host: string): Mapped[] {
  const by = via === 'natpmp' ? 'nat-pmp' : via === 'pcp' ? 'pcp' : 'upnp'
  return (['tcp', 'udp'] as const).map((protocol) => ({ host, port, protocol, by }))
}

function isUsable(host: string | null): host is string {
  return host !== null && host !== '0.0.0.0'
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** Rejects when `call` has not called back in time, or a short grace after `signal`. */
function within<T>(ms: number, call: (done: Done<T>) => unknown, signal?: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const late = () => settle(new Error('The router does not answer'))
    const timers = [setTimeout(late, ms)]
    const hurry = () => timers.push(setTimeout(late, GRACE_MS))
    const settle: Done<T> = (error, value) => {
      timers.forEach(clearTimeout)
      signal?.removeEventListener('abort', hurry)
      if (error) reject(error)
      else resolve(value as T)
    }
    if (signal?.aborted) hurry()
    signal?.addEventListener('abort', hurry)
    call(settle)
  })
}

/** HTTP to the router and nowhere else, whatever its description says; bounded in time and size. */
async function askRouter(gateway: string, ask: HttpRequest): Promise<HttpResponse> {
  const url = new URL(ask.url)
  if (url.hostname !== gateway) throw new Error(`${url.hostname} is not the router`)
  const { method, headers } = ask
  const sent = request(url, { method, headers, agent: false, signal: AbortSignal.timeout(HTTP_MS) })
  const responded = once(sent, 'response')
  sent.on('error', () => undefined)
  sent.end(ask.body)
  const [response] = (await responded) as [IncomingMessage]
  const parts: Buffer[] = []
  let size = 0
  for await (const part of response as AsyncIterable<Buffer>) {
    size += part.length
    if (size > HTTP_BYTES) throw new Error('The router answers too much')
    parts.push(part)
  }
  const heads = response.headers as Record<string, string>
  return { statusCode: response.statusCode ?? 0, headers: heads, body: Buffer.concat(parts) }
}
