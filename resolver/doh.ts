/** DNS over HTTPS (RFC 8484): `/dns-query`, by GET and POST, for browsers. Nothing starts it yet. */
import type { AddressInfo } from 'node:net'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { P2pnsError } from '../node/core/errors.ts'
import { padded } from './padding.ts'
import type { Responder } from './responder.ts'
import { lowestTtl } from './ttl.ts'

const MEDIA_TYPE = 'application/dns-message'
/** Bytes of a query; a name and a few options. */
const MAX_QUERY = 4_096
/** Milliseconds: longer than anything takes to be answered. */
const ANSWER_TIME = 10_000

export interface DohOptions {
  host: string
  port: number
  /** PEM. Without them it is plain HTTP, for a proxy that has a certificate: browsers want https. */
  tls?: { cert: string; key: string }
}

export interface DohServer {
  readonly port: number
  readonly url: string
  stop(): Promise<void>
}

/** Errors: port_in_use. */
export async function serveDoh({ host, port, tls }: DohOptions, responder: Responder): Promise<DohServer> {
  const { fastify } = await import('fastify')
  const common = { bodyLimit: MAX_QUERY, requestTimeout: ANSWER_TIME, forceCloseConnections: true } as const
  // The two differ in the type of the server below only.
  const server = (tls ? fastify({ ...common, https: tls }) : fastify(common)) as unknown as FastifyInstance
  server.removeAllContentTypeParsers()
  server.addContentTypeParser(MEDIA_TYPE, { parseAs: 'buffer' }, (_request, body, done) => done(null, body))
  const answer = async (packet: Buffer, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
    const response = await ask(responder, packet, request.ip)
    if (!response) return reply.code(400).send()
    return reply
      .type(MEDIA_TYPE)
      .header('cache-control', `max-age=${lowestTtl(response)}`)
      .send(padded(packet, response))
  }
  server.get<{ Querystring: { dns?: string } }>('/dns-query', (request, reply) => {
    const text = request.query.dns
    // base64url, unpadded (section 6).
    if (typeof text !== 'string' || !/^[\w-]+$/.test(text) || text.length > (MAX_QUERY * 4) / 3)
      return reply.code(400).send()
    return answer(Buffer.from(text, 'base64url'), request, reply)
  })
  server.post<{ Body: Buffer }>('/dns-query', (request, reply) => answer(request.body, request, reply))
  try {
    await server.listen({ host, port })
  } catch (cause) {
    await server.close()
    throw new P2pnsError('port_in_use', `No DNS over HTTPS at ${host} port ${port} (${(cause as Error).message})`, {
      cause,
    })
  }
  const { port: bound } = server.server.address() as AddressInfo
  const name = host.includes(':') ? `[${host}]` : host
  return { port: bound, url: `http${tls ? 's' : ''}://${name}:${bound}/dns-query`, stop: () => server.close() }
}

/** Undefined when the packet deserves no answer, or gets none in time. */
function ask(responder: Responder, packet: Buffer, address: string): Promise<Buffer | undefined> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(undefined), ANSWER_TIME)
    const done = (response: Buffer | undefined): void => {
      clearTimeout(timer)
      resolve(response)
    }
    if (!responder.handle(packet, 'tcp', address, done)) done(undefined)
  })
}
