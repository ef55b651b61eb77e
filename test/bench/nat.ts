/**
 * `npx node test/bench/nat.ts [--kinds open,symmetric] [--with hyperdht]`: every ordered pair of NAT kinds in network namespaces (test/nat/lab.ts),
 * 40 ms between any two public addresses: by which path they are joined, when the first byte came, and when it came directly. Needs root.
 * With hyperdht, which npm brings, each pair is tried by both, taking turns, within 20 s.
 */
import type { ChildProcess } from 'node:child_process'
import * as path from 'node:path'
import { parseArgs } from 'node:util'
import { ask, ready } from '../nat/calls.ts'
import { canBeDirect, KINDS, type Kind } from '../nat/kinds.ts'
import { Lab, whyNoLab } from '../nat/lab.ts'
import type { Opened } from '../nat/reach-peer.ts'
import { startHyperdht } from './contenders/hyperdht.ts'
import { type Result, table, totals } from './nat-table.ts'

const { values } = parseArgs({ options: { kinds: { type: 'string' }, with: { type: 'string' } } })
const kinds = values.kinds ? (values.kinds.split(',') as Kind[]) : KINDS
const why = whyNoLab()
if (why) {
  console.log(`The lab cannot be built here: ${why}.`)
  process.exit(1)
}

/** Milliseconds for one pair. */
const TIMEOUT = 20_000
const NAT = path.join(import.meta.dirname, '..', 'nat')

const hosts: Record<string, { kind: Kind }> = {}
for (const kind of kinds) for (const side of ['a', 'b']) hosts[`${kind}-${side}`] = { kind }
await using lab = await Lab.create({ hosts })
const introducers = ['introducer1', 'introducer2'].map((name, i) =>
  lab.spawn(name, path.join(NAT, 'introducer-host.ts'), [path.join(lab.folder, name), `/ip4/50.0.0.${i + 1}/tcp/4001`]),
)
const addresses = await Promise.all(introducers.map(ready))
const peers = new Map<string, { child: ChildProcess; id: string }>()
for (const name of Object.keys(hosts)) {
  const child = lab.spawn(name, path.join(NAT, 'reach-peer.ts'), addresses)
  peers.set(name, { child, id: await ready(child) })
}
const contenders: Record<string, (from: Kind, to: Kind) => Promise<Opened[]>> = {
  p2pns: async (from, to) => {
    const [caller, callee] = [peers.get(`${from}-a`), peers.get(`${to}-b`)]
    if (!caller || !callee) throw new Error('there is no such peer')
    const opened = await ask<Opened[]>(caller.child, { call: 'reach', peer: callee.id })
    return opened.filter(({ ms }) => ms <= TIMEOUT)
  },
}
if (values.with === 'hyperdht') {
  const reach = await startHyperdht(lab, Object.keys(hosts))
  contenders.hyperdht = (from, to) => reach(`${from}-a`, `${to}-b`, TIMEOUT)
}
await new Promise((resolve) => setTimeout(resolve, 6_000))
for (const kind of kinds) {
  const peer = peers.get(`${kind}-a`)
  if (peer) console.log(kind.padEnd(20), JSON.stringify(await ask(peer.child, { call: 'judgement' })))
}
const results: Result[] = []
let [possible, pairs] = [0, 0]
for (const from of kinds) {
  for (const to of kinds) {
    const turns = Object.entries(contenders)
    if ((kinds.indexOf(from) + kinds.indexOf(to)) % 2 === 1) turns.reverse()
    pairs++
    if (canBeDirect(from, to)) possible++
    for (const [contender, reach] of turns) {
      let failure = 'none'
      const opened = await reach(from, to).catch((error: Error) => {
        failure = error.message
        return []
      })
      results.push({ contender, from, to, opened })
      const told = opened.map(({ path, open, ms }) => `${path} ${open}/${ms}`).join(', ') || failure
      const missing =
        canBeDirect(from, to) && opened.every(({ path }) => path === 'relayed') ? '  <- could be direct' : ''
      console.log(`${from.padEnd(20)} ${to.padEnd(20)} ${contender.padEnd(10)} ${told}${missing}`)
    }
  }
}
console.log(`\n${table(results)}\n\n${totals(results)}\n${possible} of ${pairs} pairs can be direct`)
process.exitCode = 0
for (const child of [...introducers, ...[...peers.values()].map(({ child }) => child)]) child.kill()
