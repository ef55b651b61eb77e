/**
 * `npx node test/bench/lookups.ts [--nodes 20,100,300] [--names 60] [--round-trip 50]`: names that a node looks up for the first time,
 * through an introducer and through the DHT alone, and its first answer after a restart. A real node (`p2pns up`) in a network
 * namespace of its own, at the end of a link with a delay (test/nat/wire.ts); beyond it an introducer and the other nodes, some in
 * each process, without a delay between them. The questions are asked by DNS over UDP, one after another. Needs root, and `npm run build`.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import * as fs from 'node:fs'
import { loadavg, tmpdir } from 'node:os'
import * as path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { ask, ready } from '../nat/calls.ts'
import { cannotRun, createFarMachine, createMachines, type FarMachine, type Machine } from '../nat/machines.ts'
import type { Answered, Started, ToPerson, ToSwarm } from './lookup-hosts.ts'
import { costOf, median } from './measure.ts'

const { values } = parseArgs({
  options: {
    nodes: { type: 'string', default: '20,100,300' },
    names: { type: 'string', default: '60' },
    'round-trip': { type: 'string', default: '50' },
    restarts: { type: 'string', default: '5' },
  },
})
const names = Array.from({ length: Number(values.names) }, (_, i) => `name${i}.p2p`)
const why = cannotRun()
if (why) {
  console.log(`The network cannot be built here: it ${why}.`)
  process.exit(1)
}

/** Nodes, at most; and processes, at least: a witness signs 20 new names a day for one address block. */
const IN_A_PROCESS = 25
const PROCESSES = Math.ceil(names.length / 20) + 1
const INTRODUCER_PORT = 4001
/** ms; from a node's ready line until it is asked. */
const SETTLE = 5_000
/** ms between an answer and the next question: an answer leaves work behind. */
const GAP = 250
/** The other nodes share this machine's cores: they are left alone until they take less than that part of one, or that long (ms). */
const QUIET = 0.3
const MAX_UNREST = 120_000
/** Of a registration, after the first. */
const TRIES = 5
const NAT = path.join(import.meta.dirname, '..', 'nat')
const addressOf = (i: number): string => `93.184.${i >> 8}.${i & 255}`

class Network {
  readonly #after: (() => unknown)[] = []
  readonly #children: ChildProcess[] = []
  readonly folder = fs.mkdtempSync(path.join(fs.existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'p2pns-lookups-'))
  readonly #nodes: number
  person!: ChildProcess
  far!: FarMachine
  introducer = ''
  #introducing!: ChildProcess
  hub!: Machine

  constructor(nodes: number) {
    this.#nodes = nodes
  }

  async begin(): Promise<void> {
    const t = { after: (end: () => unknown) => void this.#after.push(end) }
    const each = Math.min(IN_A_PROCESS, Math.ceil(this.#nodes / PROCESSES))
    const processes = Math.ceil(this.#nodes / each)
    const [hub, ...machines] = createMachines(t, processes + 1) as [Machine, ...Machine[]]
    this.hub = hub
    this.far = await createFarMachine(t, hub.router, Number(values['round-trip']) / 2)
    const listen = `/ip4/${hub.address}/tcp/${INTRODUCER_PORT}`
    const home = path.join(this.folder, 'introducer')
    this.#introducing = this.#spawn(hub, path.join(NAT, 'introducer-host.ts'), home, listen)
    this.introducer = await ready(this.#introducing)
    const swarm: ChildProcess[] = []
    let memory = 0
    for (const [i, machine] of machines.entries()) {
      const count = Math.min(each, this.#nodes - i * each)
      const args = [path.join(this.folder, `swarm${i}`), machine.address, this.introducer, String(count)]
      const child = this.#spawn(machine, path.join(import.meta.dirname, 'lookup-hosts.ts'), 'swarm', ...args)
      memory += Number(await ready(child))
      swarm.push(child)
    }
    console.error(
      `${this.#nodes} nodes in ${processes} processes, ${(memory / 2 ** 20 / this.#nodes).toFixed(1)} MiB each`,
    )
    // Spread over all of them; each process registers its own one after another.
    const registrations = swarm.map(async (child, process) => {
      const stored: number[] = []
      for (const [i, name] of names.entries()) {
        const node = Math.floor((i * this.#nodes) / names.length)
        if (Math.floor(node / each) !== process) continue
        const told: ToSwarm = { register: [node % each, name, addressOf(i)] }
        stored.push(await patiently(() => ask<number>(child, told)))
      }
      return stored
    })
    const stored = (await Promise.all(registrations)).flat()
    console.error(
      `${names.length} names, each on ${median(stored)} other nodes, the introducer among them (median; least ${Math.min(...stored)})`,
    )
    this.person = this.#spawn(this.far, path.join(import.meta.dirname, 'lookup-hosts.ts'), 'person')
    await ready(this.person)
  }

  tell<T>(told: ToPerson): Promise<T> {
    return ask<T>(this.person, told)
  }

  roundTrip(): Promise<number> {
    return this.tell<number>({ roundTrip: [this.hub.address, INTRODUCER_PORT] })
  }

  /** A node of the far machine, with a home of that name; `first` is asked from the start. */
  up(home: string, first?: string): Promise<Started> {
    const args = ['--home', path.join(this.folder, home), '--introducer', this.introducer, '--no-port-mapping']
    return this.tell({ up: args, ...(first ? { first } : {}) })
  }

  /** Until the other nodes have done what they do when they come in; real ones have processors of their own. */
  async quiet(): Promise<void> {
    const used = () => this.#others().reduce((sum, { pid }) => sum + costOf(pid as number).cpu, 0)
    const began = performance.now()
    for (let before = used(); ; before = used()) {
      await sleep(2_000)
      const share = (used() - before) / 2
      if (share > QUIET && performance.now() - began < MAX_UNREST) continue
      console.error(`the other nodes take ${share.toFixed(2)} of a core; load ${loadavg()[0]?.toFixed(1)}`)
      return
    }
  }

  #others(): ChildProcess[] {
    return this.#children.filter(
      (child) => child !== this.person && child.exitCode === null && child.signalCode === null,
    )
  }

  async killIntroducer(): Promise<void> {
    const gone = once(this.#introducing, 'exit')
    this.#introducing.kill('SIGKILL')
    await gone
  }

  async end(): Promise<void> {
    for (const child of this.#children) {
      if (child.exitCode !== null || child.signalCode !== null) continue
      const gone = once(child, 'exit')
      child.kill('SIGKILL')
      await gone
    }
    for (const end of this.#after.toReversed()) await end()
    fs.rmSync(this.folder, { recursive: true, force: true })
  }

  #spawn({ within: [command = '', ...rest] }: Machine, script: string, ...args: string[]): ChildProcess {
    const child = spawn(command, [...rest, process.execPath, script, ...args], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    })
    this.#children.push(child)
    return child
  }
}

/** So many nodes on one machine are slow at times; that is no matter while nothing is measured. */
async function patiently<T>(work: () => Promise<T>): Promise<T> {
  for (let left = TRIES; ; left--) {
    try {
      return await work()
    } catch (error) {
      if (left === 0) throw error
      await sleep(SETTLE)
    }
  }
}

interface Row {
  what: string
  nodes: number
  times: number[]
}
const rows: Row[] = []
let roundTrip = Number(values['round-trip'])

function tellRow({ what, nodes, times }: Row): string {
  const sorted = times.toSorted((a, b) => a - b)
  const at = (part: number): number =>
    sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] ?? Number.NaN
  const cells = [at(0.5), at(0.9), at(1)]
  const ms = cells.map((time) => time.toFixed(0)).join(' / ')
  const trips = cells.map((time) => (time / roundTrip).toFixed(1)).join(' / ')
  return `| ${nodes} | ${what} | ${times.length} | ${ms} | ${trips} |`
}

function show(row: Row): void {
  rows.push(row)
  console.error(tellRow(row))
}

async function askAll(network: Network): Promise<number[]> {
  const times: number[] = []
  for (const [i, name] of names.entries()) {
    await sleep(GAP)
    const answer = await network.tell<Answered | null>({ ask: name })
    if (answer?.rcode !== 'NOERROR' || answer.addresses[0] !== addressOf(i)) {
      console.error(`${name}: ${JSON.stringify(answer)}`)
      times.push(Number.POSITIVE_INFINITY)
    } else times.push(answer.ms)
  }
  return times
}

async function askMissing(network: Network, word: string): Promise<number[]> {
  const times: number[] = []
  for (let i = 0; i < 20; i++) {
    await sleep(GAP)
    const answer = await network.tell<Answered | null>({ ask: `${word}${i}.p2p` })
    if (answer?.rcode !== 'NXDOMAIN') console.error(`${word}${i}: ${JSON.stringify(answer)}`)
    times.push(answer?.rcode === 'NXDOMAIN' ? answer.ms : Number.POSITIVE_INFINITY)
  }
  return times
}

async function peersOf(network: Network, home: string): Promise<void> {
  const status = await network.tell<{ peers: number }>({ status: path.join(network.folder, home) })
  console.error(`connected to ${status.peers} peers`)
}

async function restarts(network: Network, nodes: number, home: string, what: string): Promise<void> {
  if (Number(values.restarts) === 0) return
  const [first, ready]: [number[], number[]] = [[], []]
  for (let i = 0; i < Number(values.restarts); i++) {
    const started = await network.up(home, names[i])
    first.push(started.answered ?? Number.NaN)
    ready.push(started.ready)
    await network.tell({ down: true })
  }
  show({ what: `restart, ${what}: spawn to first answer`, nodes, times: first })
  show({ what: `restart, ${what}: spawn to \`ready\``, nodes, times: ready })
}

async function measure(nodes: number): Promise<void> {
  const network = new Network(nodes)
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => void network.end().finally(() => process.exit(130)))
  }
  try {
    await network.begin()
    roundTrip = await network.roundTrip()
    console.error(`round trip, measured by TCP: ${roundTrip.toFixed(1)} ms`)
    const { ready } = await network.up('a')
    console.error(`first start: ready after ${ready.toFixed(0)} ms`)
    await sleep(SETTLE)
    await network.quiet()
    await peersOf(network, 'a')
    show({ what: 'through an introducer', nodes, times: await askAll(network) })
    show({ what: 'no such name, with an introducer', nodes, times: await askMissing(network, 'missing') })
    await network.tell({ down: true })
    await restarts(network, nodes, 'a', 'network there')
    network.far.lose(1)
    await restarts(network, nodes, 'a', 'network dead')
    network.far.lose(0)
    await network.up('b')
    await sleep(SETTLE)
    await network.quiet()
    await peersOf(network, 'b')
    await network.killIntroducer()
    await sleep(500)
    show({ what: 'through the DHT alone', nodes, times: await askAll(network) })
    show({ what: 'no such name, DHT alone', nodes, times: await askMissing(network, 'nobody') })
    await network.tell({ down: true })
  } finally {
    await network.end()
  }
}

for (const nodes of values.nodes.split(',').map(Number)) await measure(nodes)
console.log(`round trip ${roundTrip.toFixed(1)} ms; median / p90 / max`)
console.log('| nodes | what | n | ms | round trips |\n|---|---|---|---|---|')
for (const row of rows) console.log(tellRow(row))
process.exit()
