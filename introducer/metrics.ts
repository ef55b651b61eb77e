/** What whoever runs an introducer can see of it (node/net/metrics-page.ts). */
import { Metrics, type MetricsPage, serveMetrics } from '../node/net/metrics-page.ts'
import type { Counters } from './answer.ts'

export interface Measured {
  connections: () => number
  records: () => number
  counters: Counters
}

/** Errors: port_in_use. */
export function startMetrics(at: { host: string; port: number }, measured: Measured): Promise<MetricsPage> {
  const metrics = new Metrics()
  metrics.gauge('p2pns_connections', 'Open libp2p connections', measured.connections)
  metrics.gauge('p2pns_records', 'DHT records held', measured.records)
  const help = 'Requests since the start, by kind; "refused" counts those of any kind that were'
  metrics.counter('p2pns_requests_total', help, 'kind', () => ({ ...measured.counters }))
  return serveMetrics(at, metrics, () => ({ connections: measured.connections() }))
}
