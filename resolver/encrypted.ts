/** The doors of the resolver that nobody on the way looks through: DNS over HTTPS (RFC 8484) and over TLS (RFC 7858). */
import { isIP } from 'node:net'
import { P2pnsError } from '../node/core/errors.ts'
import type { HostPort } from '../node/core/hosts.ts'
import { serveDoh } from './doh.ts'
import { listenError } from './listen-error.ts'
import type { Responder } from './responder.ts'
import { type Certificate, serveTcp } from './tcp.ts'

export interface EncryptedOptions {
  /** Without `tls` it is plain HTTP, for a proxy on this machine. Port 0 means any, here and below. */
  doh?: HostPort | undefined
  /** Only with `tls`. */
  dot?: HostPort | undefined
  /** For both. */
  tls?: Certificate | undefined
}

export interface Encrypted {
  /** The URL of DNS over HTTPS. */
  readonly doh?: string | undefined
  readonly dot?: HostPort | undefined
  /** Connections from now on get this certificate. */
  renew(tls: Certificate): void
  close(): Promise<void>
}

/** Opens what is asked for, all or nothing. Throws `usage` and `port_in_use`. */
export async function serveEncrypted(options: EncryptedOptions, responder: Responder): Promise<Encrypted> {
  check(options)
  const { doh, dot, tls } = options
  await using opened = new AsyncDisposableStack()
  const open = async <T extends { close(): Promise<void> }>(
    place: HostPort | undefined,
    serve: (host: string, port: number, responder: Responder, tls?: Certificate) => Promise<T>,
  ): Promise<T | undefined> => {
    if (!place) return undefined
    try {
      return opened.adopt(await serve(place.host, place.port, responder, tls), (server) => server.close())
    } catch (error) {
      throw listenError(place, error)
    }
  }
  const [overTls, overHttps] = [await open(dot, serveTcp), await open(doh, serveDoh)]
  const servers = opened.move()
  return {
    ...(overHttps && { doh: overHttps.url }),
    ...(dot && overTls && { dot: { host: dot.host, port: overTls.port } }),
    renew(certificate) {
      overTls?.renew(certificate)
      overHttps?.renew(certificate)
    },
    close: () => servers.disposeAsync(),
  }
}

function check({ doh, dot, tls }: EncryptedOptions): void {
  for (const { host } of [doh, dot].filter((place) => place !== undefined)) {
    if (!isIP(host)) throw new P2pnsError('usage', `"${host}" is not an IP address to listen on`)
  }
  if (dot && !tls) {
    throw new P2pnsError('usage', 'DNS over TLS needs a certificate and its key (--cert FILE --key FILE)')
  }
  if (doh && !tls && !isLoopback(doh.host)) {
    const what = `DNS over HTTPS at ${doh.host}, which others reach, needs a certificate and its key`
    throw new P2pnsError('usage', `${what} (--cert FILE --key FILE); without them it may be at 127.0.0.1`)
  }
}

/** An address to listen on: 0.0.0.0 is every address. */
function isLoopback(host: string): boolean {
  return host === '::1' || host.startsWith('127.')
}
