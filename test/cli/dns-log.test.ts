import assert from 'node:assert/strict'
import { test } from 'node:test'
import { dnsLog } from '../../cli/dns-log.ts'
import { run } from '../../cli/run.ts'
import type { DnsAnswered } from '../../node/contract.ts'
import type { Answered } from '../../resolver/index.ts'
import { fakeWorld } from './fake-world.ts'

const ANSWERED: Answered = {
  at: Date.UTC(2026, 0, 2, 3, 4, 5, 678),
  client: '127.0.0.1',
  transport: 'udp',
  name: 'alice.p2p',
  type: 65_280,
  rcode: 3,
  source: 'cached',
  took: 0.123_456,
}

/** A resolver whose questions are told by hand. */
function byHand() {
  const listeners = new Set<(answered: Answered) => void>()
  return {
    listeners,
    tell: (answered = ANSWERED) => listeners.forEach((listener) => listener(answered)),
    watch(listener: (answered: Answered) => void) {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
  }
}

test('the log tells names and codes as people write them, and ends when nobody wants it any more', async () => {
  const resolver = byHand()
  const ended = new AbortController()
  const log = dnsLog(resolver, ended.signal)
  const first = log.next()
  resolver.tell()
  assert.deepEqual((await first).value, {
    at: '2026-01-02T03:04:05.678Z',
    client: '127.0.0.1',
    transport: 'udp',
    name: 'alice.p2p',
    type: 'TYPE65280',
    rcode: 'NXDOMAIN',
    source: 'cached',
    took: 0.123,
  } satisfies DnsAnswered)
  const last = log.next()
  ended.abort()
  assert.equal((await last).done, true)
  assert.equal(resolver.listeners.size, 0)
})

test('what comes faster than it is read is left out and counted, and costs no memory', async () => {
  const resolver = byHand()
  const log = dnsLog(resolver)
  const first = log.next()
  for (let i = 0; i < 5_000; i++) resolver.tell()
  assert.equal((await first).value?.missed, undefined)
  let shown = 1
  let missed = 0
  while (missed === 0) {
    shown++
    missed = (await log.next()).value?.missed ?? 0
  }
  assert.deepEqual([shown, missed], [1_000, 4_000])
  await log.return(undefined)
  assert.equal(resolver.listeners.size, 0)
})

test('`dns log` prints a line for each question until Ctrl-C, which is no error', async () => {
  const resolver = byHand()
  const world = fakeWorld({ running: true, node: { dnsLog: (signal) => dnsLog(resolver, signal) } })
  const ended = run(['dns', 'log'], world)
  while (resolver.listeners.size === 0) await new Promise(setImmediate)
  resolver.tell()
  await world.firstLine
  world.press('SIGINT')
  assert.equal(await ended, 0)
  assert.equal(world.out(), '03:04:05.678  127.0.0.1 udp  alice.p2p. TYPE65280  NXDOMAIN cached  0.1 ms\n')
})

test('`dns log` without a running node says so', async () => {
  const world = fakeWorld()
  assert.equal(await run(['dns', 'log'], world), 2)
  assert.match(world.err(), /No node runs in .*: start `p2pns up`/)
})
