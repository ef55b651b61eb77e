/** What whoever runs a node can see of it (node/net/metrics-page.ts). */
import type { P2pnsNode } from '../node/contract.ts'
import { Metrics, type MetricsPage, serveMetrics } from '../node/net/metrics-page.ts'
import type { Resolver } from '../resolver/index.ts'
import { showStats } from '../resolver/metrics.ts'
import type { HostPort } from './options.ts'

/** Errors: port_in_use. */
export async function serveNodeMetrics(
  at: HostPort,
  node: Pick<P2pnsNode, 'status'>,
  resolver: Pick<Resolver, 'stats'> | undefined,
): Promise<MetricsPage> {
  const metrics = new Metrics()
  metrics.gauge('p2pns_peers', 'Peers this node is connected to', async () => (await node.status()).peers)
  if (resolver) showStats(metrics, () => resolver.stats())
  return serveMetrics(at, metrics, () => ({}))
}
