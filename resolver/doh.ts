/** DNS over HTTPS (RFC 8484): `/dns-query` and nothing else, by GET and POST, over HTTP/2 and 1.1. */
import { X509Certificate } from 'node:crypto'
import type { Server as HttpsServer } from 'node:https'
import { type AddressInfo, isIP } from 'node:net'
import type { FastifyInstance, FastifyReply, FastifyRequest, FastifyServerOptions } from 'fastify'
import { type HostPort, hostText } from '../node/core/hosts.ts'
import { Connections } from './connections.ts'
import { padded } from './padding.ts'
import type { Responder } from './responder.ts'
import type { Certificate } from './tcp.ts'
import { lowestTtl } from './ttl.ts'

const PATH = '/dns-query'
const MEDIA_TYPE = 'application/dns-message'
/** Bytes of a query; a name and a few options. */
const MAX_QUERY = 4_096
/** A browser asks again soon, and a new connection costs it more than one over TCP. ms. */
const IDLE = 60_000
/** Of one HTTP/2 connection: queries at once, and MB for all that it holds. RFC 9113 section 5.1.2 wants 100 at least. */
const MAX_STREAMS = 100
const MAX_SESSION_MEMORY = 1

export interface DohServer {
  readonly port: number
  readonly url: string
  /** Connections from now on get this certificate. Without one from the start there is no TLS. */
  renew(tls: Certificate): void
  /** Ends every connection as well. */
  close(): Promise<void>
}

/** Without a certificate it is plain HTTP/1.1, for a proxy that has one. Rejects with the system's error when it cannot listen. */
export async function serveDoh(
  host: string,
  port: number,
  responder: Responder,
  tls?: Certificate,
): Promise<DohServer> {
  const connections = new Connections(IDLE)
  const server = await makeServer(tls)
  connections.watch(server.server)
  // Of HTTP/1.1, which also a server of HTTP/2 speaks.
  server.server.keepAliveTimeout = IDLE
  server.addHook('onRequest', async (request, reply) => {
    connections.usedBy(request.raw.socket)()
    // A page whose name was made to lead here (DNS rebinding) comes under that name, and over HTTPS has no certificate for it.
    if (!tls && !isOwnName(request.hostname)) await reply.code(421).send()
  })
  server.removeAllContentTypeParsers()
  server.addContentTypeParser(MEDIA_TYPE, { parseAs: 'buffer' }, (_request, body, done) => done(null, body))
  // An error says its number and nothing more: nobody needs to know what answers here.
  server.setErrorHandler<{ statusCode?: number } & Error>((error, _request, reply) =>
    reply.code(error.statusCode ?? 500).send(),
  )
  server.setNotFoundHandler((request, reply) => {
    if (request.url.split('?', 1)[0] !== PATH) return reply.code(404).send()
    return reply.code(405).header('allow', 'GET, HEAD, POST').send()
  })
  server.get<{ Querystring: { dns?: unknown } }>(PATH, (request, reply) => {
    const text = request.query.dns
    const packet = typeof text === 'string' ? Buffer.from(text, 'base64url') : undefined
    // Only the one form that the bytes have in base64url, unpadded (section 6).
    if (!packet || packet.toString('base64url') !== text) return reply.code(400).send()
    if (packet.length > MAX_QUERY) return reply.code(414).send()
    return answer(responder, packet, request, reply)
  })
  server.post<{ Body: unknown }>(PATH, (request, reply) => {
    const packet = request.body
    return Buffer.isBuffer(packet) ? answer(responder, packet, request, reply) : reply.code(400).send()
  })
  try {
    await server.listen({ host, port })
  } catch (error) {
    await server.close()
    throw error
  }
  const { port: bound } = server.server.address() as AddressInfo
  return {
    port: bound,
    url: urlOf({ host, port: bound }, tls),
    renew(certificate) {
      if (tls) (server.server as HttpsServer).setSecureContext(certificate)
    },
    async close() {
      const closed = server.close()
      connections.closeAll()
      await closed
    },
  }
}

async function makeServer(tls: Certificate | undefined): Promise<FastifyInstance> {
  const { fastify } = await import('fastify')
  const settings = { maxConcurrentStreams: MAX_STREAMS }
  const https = { ...tls, allowHTTP1: true, settings, maxSessionMemory: MAX_SESSION_MEMORY }
  const options: FastifyServerOptions = {
    bodyLimit: MAX_QUERY,
    frameworkErrors: (_error: Error, _request: FastifyRequest, reply: FastifyReply) => void reply.code(400).send(),
    clientErrorHandler: (_error, socket) => {
      if (socket.writable) socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n')
    },
    ...(tls && { http2: true, http2SessionTimeout: IDLE, https }),
  }
  return fastify(options)
}

function answer(responder: Responder, packet: Buffer, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const send = (response: Buffer): void => {
    void reply
      .type(MEDIA_TYPE)
      .header('cache-control', `max-age=${lowestTtl(response)}`)
      .send(padded(packet, response))
  }
  if (!responder.handle(packet, 'https', request.ip, send)) void reply.code(400).send()
  return reply
}

/** An address or localhost, which nobody else can own. */
function isOwnName(hostname: string): boolean {
  return hostname === 'localhost' || isIP(hostname.replace(/^\[|\]$/g, '')) !== 0
}

/** Under a name that the certificate holds for, since clients take no other: the address itself, or the first name in it. */
function urlOf({ host, port }: HostPort, tls: Certificate | undefined): string {
  const certificate = tls && new X509Certificate(tls.cert)
  const named = certificate?.checkIP(host) ? undefined : /\bDNS:([\w.-]+)/.exec(certificate?.subjectAltName ?? '')?.[1]
  return new URL(PATH, `http${tls ? 's' : ''}://${hostText({ host: named ?? host, port })}`).href
}
