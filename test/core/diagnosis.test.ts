import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Facts, findingsOf } from '../../node/core/diagnosis.ts'
import { type Judgement, judge } from '../../node/core/nat.ts'

const UNKNOWN = judge({ local: [], seen: [], silent: [] })
const NAT: Judgement = {
  ...UNKNOWN,
  mapping: 'independent',
  filtering: 'address-and-port',
  translated: true,
  keepsPort: true,
  address: '198.51.100.7',
}
const INTRODUCER = { address: '/ip4/192.0.2.5/tcp/4001', connected: true, rtt: 12, meeting: true, reflects: true }
const GOOD: Facts = {
  nat: NAT,
  addresses: ['192.168.1.2'],
  hasUdp: true,
  punch: { host: '198.51.100.7', port: 4002 },
  portMapping: { state: 'off', mapped: [] },
  introducers: [INTRODUCER],
}

const told = (facts: Partial<Facts>): string[] =>
  findingsOf({ ...GOOD, ...facts }).map(({ level, what, todo }) => `${level}: ${what}${todo ? ` -> ${todo}` : ''}`)

test('where all is well every finding is good, and asks for nothing', () => {
  assert.deepEqual(told({}), [
    'good: IPv4, no public IPv6',
    'good: the introducer /ip4/192.0.2.5/tcp/4001 answers in 12 ms',
    'good: UDP works through a NAT that can be punched (keeps ports) as 198.51.100.7',
    'good: TCP goes out as 198.51.100.7:4002, from where it can be punched',
  ])
})

test('every bad finding says what to do', () => {
  const away = { ...INTRODUCER, connected: false, meeting: false, reflects: false }
  for (const facts of [
    { addresses: [] },
    { introducers: [] },
    { introducers: [away] },
    { introducers: [{ ...INTRODUCER, meeting: false }] },
    { nat: { ...NAT, mapping: 'blocked' as const } },
    { nat: { ...NAT, mapping: 'symmetric' as const } },
    { hasUdp: false },
    { peer: { whom: 'alice.p2p', error: 'nobody answers' } },
  ]) {
    const bad = findingsOf({ ...GOOD, ...facts }).filter(({ level }) => level !== 'good')
    assert.ok(bad.length > 0, JSON.stringify(facts))
    assert.ok(
      bad.some(({ todo }) => todo),
      JSON.stringify(bad),
    )
  }
})

test('what is worst stands last', () => {
  const levels = findingsOf({
    ...GOOD,
    nat: { ...NAT, mapping: 'symmetric' },
    introducers: [{ ...INTRODUCER, connected: false }],
  }).map(({ level }) => level)
  assert.deepEqual(
    levels,
    levels.toSorted((a, b) => ['good', 'warning', 'bad'].indexOf(a) - ['good', 'warning', 'bad'].indexOf(b)),
  )
  assert.equal(levels.at(-1), 'bad')
})

test('a router that maps no port matters only where a port is needed', () => {
  const failed = { state: 'failed', mapped: [], reason: 'no router answered' } as const
  assert.ok(
    told({ portMapping: failed }).includes('good: the router maps no port (no router answered); none is needed'),
  )
  const symmetric = { nat: { ...NAT, mapping: 'symmetric' as const }, portMapping: failed }
  assert.ok(told(symmetric).some((line) => line.startsWith('warning: the router maps no port')))
  assert.ok(!told({ nat: { ...NAT, translated: false }, portMapping: failed }).some((line) => line.includes('router')))
})

test('a peer that is reached over a relay comes with the reason', () => {
  const peer = { whom: 'alice.p2p', path: 'relayed', rtt: 80.04, rate: 4e6, why: 'both NATs are symmetric' }
  assert.ok(
    told({ peer }).includes('warning: alice.p2p is reached by relayed, 80.0 ms, 4.0 MB/s: both NATs are symmetric'),
  )
})
