/**
 * `npx node test/bench/floods.ts [--only idle]`: two peers behind NATs call each other while somebody floods their introducer, and
 * newcomers come to it: how long that takes, what the introducer's memory does, and whether its reflector is of use to whoever wants
 * to have somebody else flooded. Needs root. The lab's wire carries no such flood: it comes from within the introducer's host.
 */
import type { ChildProcess } from 'node:child_process'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { ask, ready } from '../nat/calls.ts'
import { Lab, whyNoLab } from '../nat/lab.ts'
import type { Opened } from '../nat/reach-peer.ts'
import type { Flood, Sent, Welcome } from './flood-host.ts'

const { values } = parseArgs({ options: { only: { type: 'string', default: '' } } })
const why = whyNoLab()
if (why) {
  console.log(`The lab cannot be built here: ${why}.`)
  process.exit(1)
}

const CALLS = 4
const NEWCOMERS = 3
const TARGET = '50.0.0.1'
const PORT = 4001

interface Phase {
  name: string
  /** From within the introducer's host, and over the wire. */
  near: Flood[]
  far?: Flood
}

interface Row {
  phase: string
  called: number[]
  came: Welcome[]
  /** MB: before, at most, and after. */
  memory: [number, number, number]
  sent: Sent
  /** Of datagrams, as the introducer's host counts them: bytes in and out. */
  bytes: [number, number]
}

const kind = 'port-restricted'
const hosts = { ann: { kind }, bob: { kind }, attacker: { kind: 'open' }, newcomer: { kind: 'open' } } as const
await using lab = await Lab.create({ hosts })
// Every address of 60.0.0.0/8 is one of the introducer's host, so that a flood comes from many.
lab.run('introducer1', 'ip', 'route', 'add', 'local', '60.0.0.0/8', 'dev', 'lo')
const NAT = path.join(import.meta.dirname, '..', 'nat')
const home = path.join(lab.folder, 'introducer')
const place = lab.spawn('introducer1', path.join(NAT, 'introducer-host.ts'), [home, `/ip4/${TARGET}/tcp/${PORT}`])
const address = await ready(place)
const peers = await Promise.all(
  ['ann', 'bob'].map(async (host) => {
    const child = lab.spawn(host, path.join(NAT, 'reach-peer.ts'), [address])
    return { child, id: await ready(child) }
  }),
)
const [near1, near2, far, guest] = ['introducer1', 'introducer1', 'attacker', 'newcomer'].map((host) =>
  lab.spawn(host, path.join(import.meta.dirname, 'flood-host.ts'), [TARGET, String(PORT)]),
) as [ChildProcess, ChildProcess, ChildProcess, ChildProcess]
const near = [near1, near2] as const
await Promise.all([...near, far, guest].map(ready))
const ports = udpPorts()
countDatagrams()
await setTimeout(6_000)
console.log(JSON.stringify(await Promise.all(peers.map(({ child }) => ask(child, { call: 'judgement' })))))

/** `count` addresses in as many blocks of 60.0.0.0/8. */
function addresses(count: number, blocks: number): string[] {
  return Array.from({ length: count }, (_, i) => {
    const block = i % blocks
    return `60.${block >> 8}.${block & 255}.${1 + (Math.floor(i / blocks) % 250)}`
  })
}

function udpPorts(): number[] {
  const lines = lab.run('introducer1', 'ss', '-Huanp').split('\n')
  const own = lines.filter((line) => line.includes(`pid=${place.pid},`))
  return [...new Set(own.map((line) => Number(/0\.0\.0\.0:(\d+) /.exec(line)?.[1] ?? 0)))].filter((one) => one > 0)
}

function countDatagrams(): void {
  const of = ports.join()
  const rules = `table inet flood {
    counter in {
    }
    counter out {
    }
    chain input {
      type filter hook input priority 0
      udp dport { ${of} } counter name in
    }
    chain output {
      type filter hook output priority 0
      udp sport { ${of} } counter name out
    }
  }`
  const file = path.join(lab.folder, 'count.nft')
  fs.writeFileSync(file, rules)
  lab.run('introducer1', 'nft', '-f', file)
}

function counted(): [number, number] {
  const said = JSON.parse(lab.run('introducer1', 'nft', '-j', 'reset', 'counters')) as {
    nftables: { counter?: { name: string; bytes: number } }[]
  }
  const of = (name: string): number => said.nftables.find(({ counter }) => counter?.name === name)?.counter?.bytes ?? 0
  return [of('in'), of('out')]
}

/** MB that the introducer's process has, or had at most since `forget`. */
function memory(what: 'VmRSS' | 'VmHWM'): number {
  const status = fs.readFileSync(`/proc/${place.pid}/status`, 'utf8')
  return Math.round(Number(new RegExp(`${what}:\\s+(\\d+)`).exec(status)?.[1]) / 1024)
}

function forget(): void {
  fs.writeFileSync(`/proc/${place.pid}/clear_refs`, '5')
}

async function measure({ name, near: floods, far: wired }: Phase): Promise<Row> {
  counted()
  forget()
  const before = memory('VmRSS')
  const started = await Promise.all([
    ...floods.map((flood, i) => ask<Sent>(i === 0 ? near1 : near2, flood)),
    ...(wired ? [ask<Sent>(far, wired)] : []),
  ])
  await setTimeout(2_000)
  const called: number[] = []
  for (let i = 0; i < CALLS; i++) {
    const [from, to] = (i % 2 === 0 ? peers : peers.toReversed()) as [(typeof peers)[number], (typeof peers)[number]]
    const opened = await ask<Opened[]>(from.child, { call: 'reach', peer: to.id }).catch(() => [])
    called.push(Math.min(...opened.map(({ open }) => open)))
    console.log(`  ${name}: ${opened.map(({ path, open }) => `${path} ${open}`).join(', ') || 'not reached'}`)
  }
  const came: Welcome[] = []
  for (let i = 0; i < NEWCOMERS; i++) came.push(await ask<Welcome>(guest, { call: 'newcomer', address }))
  const ended = await Promise.all([...near, far].map((one) => ask<Sent>(one, { call: 'stop' })))
  const most = memory('VmHWM')
  const bytes = counted()
  await setTimeout(5_000)
  const sum = (key: keyof Sent): number => ended.reduce((total, one) => total + one[key], 0)
  const sent = { datagrams: sum('datagrams'), connections: sum('connections') }
  console.log(`  ${name}: ${JSON.stringify({ started: started.map(({ connections }) => connections), sent, bytes })}`)
  return { phase: name, called, came, memory: [before, most, memory('VmRSS')], sent, bytes }
}

const half = 25_000
const junk = (rate: number, from: string[], kind: 'junk' | 'questions' = 'junk'): Flood => ({
  call: 'datagrams',
  kind,
  ports,
  rate,
  from,
})
const idle = (from: string[]): Flood => ({ call: 'idle', address, count: 1_000, from })
const everywhere = addresses(600, 600)
const phases: Phase[] = [
  { name: 'quiet', near: [] },
  {
    name: '50,000 junk datagrams/s',
    near: [junk(half, addresses(16, 2)), junk(half, addresses(16, 2))],
  },
  { name: '10,000 questions/s of 600 hosts', near: [junk(10_000, everywhere, 'questions')] },
  {
    name: '500 half-open, one block',
    near: [{ call: 'halfOpen', count: 400, from: addresses(50, 1) }],
    far: { call: 'halfOpen', count: 100, from: ['0.0.0.0'] },
  },
  { name: '500 half-open, 50 blocks', near: [{ call: 'halfOpen', count: 500, from: addresses(50, 50) }] },
  { name: '2,000 idle, one block', near: [idle(addresses(50, 1)), idle(addresses(50, 1))] },
  { name: '2,000 idle, 50 blocks', near: [idle(addresses(50, 50)), idle(addresses(50, 50))] },
  { name: 'quiet again', near: [] },
]

const rows: Row[] = []
for (const phase of phases.filter(({ name }) => name.includes(values.only))) rows.push(await measure(phase))

const median = (values: number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN
const texts = rows.map(({ phase, called, came, memory, sent, bytes: [come, gone] }) => [
  phase,
  `${median(called)} / ${Math.max(...called)}`,
  came.map(({ ms }) => ms ?? '-').join(' '),
  `${Math.round((100 * came.reduce((sum, { reflected }) => sum + reflected, 0)) / came.length)} %`,
  memory.join(' / '),
  `${sent.datagrams || sent.connections}`,
  come === 0 ? '-' : (gone / come).toFixed(3),
])
texts.unshift([
  'flood',
  'call, ms: median / worst',
  'newcomers, ms',
  'reflector answers',
  'MB: before / peak / after',
  'sent, or held',
  'bytes out / in',
])
const widths = texts[0]?.map((_, i) => Math.max(...texts.map((row) => (row[i] ?? '').length))) ?? []
console.log(`\n${texts.map((row) => row.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join('  ')).join('\n')}`)
process.exitCode = 0
for (const child of [place, ...peers.map((one) => one.child), ...near, far, guest]) child.kill()
