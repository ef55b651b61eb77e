import assert from 'node:assert/strict'
import { test } from 'node:test'
import { serveNodeMetrics } from '../../cli/metrics.ts'
import { nodeWith } from '../helpers/node.ts'
import { Clock, lookupIn, overTcp, query, startResolver, zoneOf } from '../resolver/harness.ts'

test('the page of a node tells what its resolver answered', async (t) => {
  const clock = new Clock()
  const zone = zoneOf([{ type: 'A', data: '192.0.2.1', ttl: 300 }])
  const resolver = await startResolver(t, { lookup: lookupIn({ 'alice.p2p': zone }, clock.now), now: clock.now })
  const status = async () => ({ peers: 7 }) as never
  const page = await serveNodeMetrics({ host: '127.0.0.1', port: 0 }, nodeWith({ status }), resolver)
  t.after(() => page.stop())
  for (const name of ['alice.p2p', 'alice.p2p', 'nobody.p2p', 'example.com'])
    await overTcp(resolver.port, [query(name)])
  const text = await (await fetch(`http://127.0.0.1:${page.port}/metrics`)).text()
  for (const line of [
    'p2pns_peers 7',
    'p2pns_dns_answers_total{source="hit"} 1',
    'p2pns_dns_answers_total{source="miss"} 2',
    'p2pns_dns_answers_total{source="stale"} 0',
    'p2pns_dns_responses_total{rcode="NXDOMAIN"} 1',
    'p2pns_dns_responses_total{rcode="REFUSED"} 1',
    'p2pns_dns_work_total{kind="lookup"} 2',
    'p2pns_dns_answer_seconds_bucket{le="+Inf"} 4',
    'p2pns_dns_batched 0',
  ]) {
    assert.ok(text.includes(`${line}\n`), `${line} is not in\n${text}`)
  }
  assert.match(text, /^p2pns_dns_answer_p50_seconds 0\.0/m)
})
