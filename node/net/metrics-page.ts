/** `GET /healthz` and Prometheus `GET /metrics`, for whoever runs a node or an introducer. */
import type { AddressInfo } from 'node:net'
import fastify from 'fastify'
import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client'
import { P2pnsError } from '../core/errors.ts'

export interface MetricsPage {
  host: string
  port: number
  stop(): Promise<void>
}

/** What stands on the page besides the process itself: numbers that go up and down, and numbers by label that only go up. */
export class Metrics {
  readonly registry = new Registry()

  gauge(name: string, help: string, value: () => number | Promise<number>): void {
    const gauge: Gauge = new Gauge({
      name,
      help,
      registers: [this.registry],
      async collect(): Promise<void> {
        gauge.set(await value())
      },
    })
  }

  /** `counts`: by the values of `label`, since the start. */
  counter(name: string, help: string, label: string, counts: () => Readonly<Record<string, number>>): void {
    const counter = new Counter({
      name,
      help,
      labelNames: [label],
      registers: [this.registry],
      collect() {
        counter.reset()
        for (const [value, count] of Object.entries(counts())) counter.inc({ [label]: value }, count)
      },
    })
  }
}

/** `health`: what /healthz says besides that all is well. Errors: port_in_use. */
export async function serveMetrics(
  at: { host: string; port: number },
  { registry }: Metrics,
  health: () => Record<string, number>,
): Promise<MetricsPage> {
  collectDefaultMetrics({ register: registry })
  const server = fastify({
    bodyLimit: 1024,
    requestTimeout: 5_000,
    connectionTimeout: 10_000,
    maxRequestsPerSocket: 100,
    // Otherwise a visitor who never finishes its request holds up a stop.
    forceCloseConnections: true,
  })
  server.server.maxConnections = 64
  server.get('/healthz', () => ({ ok: true, ...health() }))
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
