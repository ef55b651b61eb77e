/** `GET /healthz` and Prometheus `GET /metrics`, for whoever runs an introducer. */
import type { AddressInfo } from 'node:net'
import fastify from 'fastify'
import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client'
import { P2pnsError } from '../node/core/errors.ts'
import type { Counters } from './answer.ts'

export interface HttpServer {
  host: string
  port: number
  stop(): Promise<void>
}

export interface Measured {
  connections: () => number
  records: () => number
  counters: Counters
}

/** Errors: port_in_use. */
export async function startHttp(at: { host: string; port: number }, measured: Measured): Promise<HttpServer> {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  const gauge = (name: string, help: string, value: () => number) =>
    new Gauge({
      name,
      help,
      registers: [registry],
      collect() {
        this.set(value())
      },
    })
  gauge('p2pns_connections', 'Open libp2p connections', measured.connections)
  gauge('p2pns_records', 'DHT records held', measured.records)
  registry.registerMetric(
    new Counter({
      name: 'p2pns_requests_total',
      help: 'Requests since the start, by kind; "refused" counts those of any kind that were',
      labelNames: ['kind'],
      registers: [],
      collect() {
        this.reset()
        for (const [kind, count] of Object.entries(measured.counters)) this.inc({ kind }, count)
      },
    }),
  )

  const server = fastify({
    bodyLimit: 1024,
    requestTimeout: 5_000,
    connectionTimeout: 10_000,
    maxRequestsPerSocket: 100,
    // Otherwise a visitor who never finishes its request holds up a stop.
    forceCloseConnections: true,
  })
  server.server.maxConnections = 64
  server.get('/healthz', () => ({ ok: true, connections: measured.connections() }))
  server.get('/metrics', async (_request, reply) => reply.type(registry.contentType).send(await registry.metrics()))
  try {
    await server.listen({ host: at.host, port: at.port })
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    throw new P2pnsError('port_in_use', `It is not possible to listen on ${at.host} port ${at.port} (${code})`, {
      cause,
    })
  }
  const { address, port } = server.server.address() as AddressInfo
  return { host: address, port, stop: () => server.close() }
}
