/** The numbers of a resolver as Prometheus reads them (docs/spec/resolver.md, "Seeing it"). */
import { BOUNDS, type ResolverStats } from './tally.ts'

/** Where they are shown; node/net/metrics-page.ts is one. */
export interface Board {
  gauge(name: string, help: string, value: () => number): void
  counter(name: string, help: string, label: string, counts: () => Readonly<Record<string, number>>): void
}

export function showStats(board: Board, stats: () => ResolverStats): void {
  board.counter('p2pns_dns_answers_total', 'DNS answers by where they came from', 'source', () => {
    const { hits, stale, misses, refused } = stats()
    return { hit: hits, stale, miss: misses, refused }
  })
  board.counter('p2pns_dns_responses_total', 'DNS answers by their code', 'rcode', () => stats().rcodes)
  board.counter('p2pns_dns_work_total', 'Lookups of zones, questions for other names, packets dropped', 'kind', () => {
    const { lookups, forwarded, dropped } = stats()
    return { lookup: lookups, forwarded, dropped }
  })
  // A histogram by its parts: ours counts in two threads, and those of prom-client in the one that shows them.
  board.counter('p2pns_dns_answer_seconds_bucket', 'DNS answers that took at most so many seconds', 'le', () => {
    const { upTo, count } = stats().times
    return Object.fromEntries([...upTo.map((some, i) => [(BOUNDS[i] as number).toFixed(5), some]), ['+Inf', count]])
  })
  board.gauge('p2pns_dns_answer_p50_seconds', 'Half of the DNS answers took at most so long', () => stats().times.p50)
  board.gauge('p2pns_dns_answer_p95_seconds', '95 of 100 DNS answers took at most so long', () => stats().times.p95)
  board.gauge('p2pns_dns_batched', 'Whether many datagrams are taken at once', () => (stats().batched ? 1 : 0))
}
