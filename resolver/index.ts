/**
 * A DNS server for our names: `query packet -> cache -> zone -> answer packet`. It is handed the function that finds
 * zones and knows nothing of the network behind it. docs/spec/resolver.md says how it behaves.
 */
import { isIP } from 'node:net'
import { P2pnsError } from '../node/core/errors.ts'
import type { KnownZone, ZoneLookup } from './answer.ts'
import { serveBatched } from './batch/index.ts'
import { type Encrypted, type EncryptedOptions, serveEncrypted } from './encrypted.ts'
import { type ForwardingOptions, openForwarding } from './forwarding.ts'
import { listenError } from './listen-error.ts'
import { type Answered, Responder } from './responder.ts'
import { type ResolverStats, Tally } from './tally.ts'
import { serveTcp, type TcpServer } from './tcp.ts'
import { serveUdp, type UdpServer } from './udp.ts'

export type { FoundZone, KnownZone, ZoneLookup } from './answer.ts'
export type { EncryptedOptions } from './encrypted.ts'
export type { ForwardingOptions } from './forwarding.ts'
export type { Answered } from './responder.ts'
export type { ResolverStats } from './tally.ts'
export type { Certificate } from './tcp.ts'

export interface ResolverOptions extends ForwardingOptions, EncryptedOptions {
  lookup: ZoneLookup
  /** Asked first, so that what needs no network waits for nobody. Default: nothing is known. */
  known?: KnownZone
  /** An IP address of this machine. */
  host: string
  /** 0: any that is free for both UDP and TCP. */
  port: number
  /** ms since 1970. */
  now: () => number
  /**
   * Takes many datagrams at once in a thread of its own, where the system has that (Linux). What it keeps it keeps by the system's
   * clock. Default: false.
   */
  batch?: boolean
  /** Over UDP a query with a wrong server cookie gets BADCOOKIE (RFC 7873) and no answer. Default: false. */
  requireCookies?: boolean
  /** How long a zone may take to be found, in ms. Default 4000: a stub resolver waits 5 s. */
  lookupTimeout?: number
}

/** `doh`, `dot`: where it answers over HTTPS and TLS, when it does. */
export interface Resolver extends Omit<Encrypted, 'close'> {
  readonly host: string
  readonly port: number
  /** Forgets every answer about our names. */
  clear(): void
  stats(): ResolverStats
  /** Calls `listener` with each question when it is answered, until what comes back is called; nothing is kept of them. */
  watch(listener: (answered: Answered) => void): () => void
  stop(): Promise<void>
}

const LOOKUP_TIMEOUT = 4_000
/** With port 0: how many free UDP ports are tried until one is free for TCP as well. */
const PORT_TRIES = 20

/**
 * Serves DNS over UDP and TCP on one port, and over HTTPS and TLS where that is asked for: all or nothing. Throws `usage` (a bad
 * address, a port that is not allowed, no certificate) and `port_in_use`.
 */
export async function createResolver(options: ResolverOptions): Promise<Resolver> {
  const { host, lookup, known, now, requireCookies = false, lookupTimeout = LOOKUP_TIMEOUT } = options
  if (!isIP(host)) throw new P2pnsError('usage', `"${host}" is not an IP address to listen on`)
  const self = { host, port: options.port }
  const { forwarder: upstream, mayBePrivate } = openForwarding(options, self, now)
  const responder = new Responder({ lookup, known, upstream, mayBePrivate, requireCookies, lookupTimeout, now })
  await using opened = new AsyncDisposableStack()
  const encrypted = await serveEncrypted(options, responder)
  opened.defer(() => encrypted.close())
  const { udp, tcp } = await serveBoth(options, responder)
  opened.move()
  self.port = udp.port
  let stopped: Promise<unknown> | undefined
  const listeners = new Set<(answered: Answered) => void>()
  const watch = (): void => {
    udp.watch(listeners.size > 0)
    responder.onAnswered =
      listeners.size > 0 ? (answered) => listeners.forEach((listener) => listener(answered)) : undefined
  }
  return {
    host,
    port: udp.port,
    doh: encrypted.doh,
    dot: encrypted.dot,
    renew: (tls) => encrypted.renew(tls),
    clear: () => responder.clear(),
    stats: () => Tally.sum(udp.tally ? [responder.tally, udp.tally] : [responder.tally], udp.isBatched()),
    watch(listener) {
      listeners.add(listener)
      watch()
      return () => {
        listeners.delete(listener)
        watch()
      }
    },
    async stop() {
      responder.stop()
      upstream?.stop()
      stopped ??= Promise.all([udp.close(), tcp.close(), encrypted.close()])
      await stopped
    },
  }
}

/** UDP picks the port, TCP follows; with port 0 another is picked when TCP cannot. */
async function serveBoth(
  { host, port, batch = false }: Pick<ResolverOptions, 'host' | 'port' | 'batch'>,
  responder: Responder,
): Promise<{ udp: UdpServer; tcp: TcpServer }> {
  for (let left = port === 0 ? PORT_TRIES : 1; ; left--) {
    let udp: UdpServer | undefined
    try {
      udp = (batch ? await serveBatched(host, port, responder) : undefined) ?? (await serveUdp(host, port, responder))
      return { udp, tcp: await serveTcp(host, udp.port, responder) }
    } catch (error) {
      await udp?.close()
      const code = (error as NodeJS.ErrnoException).code
      if (code === 'EADDRINUSE' && left > 1) continue
      throw listenError({ host, port }, error)
    }
  }
}
