/**
 * `npx node test/bench/dns.ts [--rounds 5] [--seconds 3]`: 1,000 hot names, dnsperf on one core and each server in turn on the other:
 * ours, ours without its thread for many datagrams, dnsmasq, unbound (Debian: dnsperf, dnsmasq, unbound). As fast as it goes over
 * UDP and over TCP with many queries in a row, and the time to an answer at 5,000 queries a second.
 */
import { execFileSync } from 'node:child_process'
import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { parseArgs } from 'node:util'
import { NAMES, rss, type Server, serve, startServers } from './dns-servers.ts'
import { costOf, spread } from './measure.ts'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '3' },
    serve: { type: 'string' },
  },
})
const CORE = '1'
const LATENCY_RATE = 5_000

interface Figures {
  figure: number
  /** Microseconds of a core. */
  cost: number
}

interface Kind {
  title: string
  /** Of dnsperf. */
  args: string[]
  digits: number
  /** One number from what dnsperf prints. */
  read: (text: string) => number
}

const KINDS: Kind[] = [
  { title: 'UDP, as fast as it goes, queries per second', args: ['-c', '8', '-q', '200'], digits: 0, read: rate },
  {
    title: 'TCP, 8 connections, 400 in flight, queries per second',
    args: ['-m', 'tcp', '-c', '8', '-q', '400'],
    digits: 0,
    read: rate,
  },
  {
    title: `UDP, ${LATENCY_RATE} queries per second, p50 in us`,
    args: ['-c', '4', '-Q', String(LATENCY_RATE), '-v'],
    digits: 0,
    read: p50,
  },
]

if (values.serve !== undefined) await serve(values.serve === 'batch')
else await measure(Number(values.rounds))

async function measure(rounds: number): Promise<void> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'p2pns-dns-'))
  const questions = path.join(folder, 'questions')
  fs.writeFileSync(questions, NAMES.map((name) => `${name} A\n`).join(''))
  const servers: Server[] = []
  try {
    servers.push(...(await startServers(import.meta.filename, folder)))
    for (const kind of KINDS) {
      for (const server of servers) perf(questions, server, kind, 1)
      const taken = new Map(servers.map(({ name }) => [name, [] as Figures[]]))
      for (let round = 0; round < rounds; round++) {
        for (const server of servers)
          taken.get(server.name)?.push(perf(questions, server, kind, Number(values.seconds)))
      }
      report(kind, taken)
    }
    console.log('resident memory, MiB')
    for (const server of servers) console.log(`  ${server.name.padEnd(20)} ${rss(server)}`)
  } finally {
    for (const { child } of servers) child.kill('SIGKILL')
    fs.rmSync(folder, { recursive: true, force: true })
  }
}

function report({ title, digits }: Kind, taken: Map<string, Figures[]>): void {
  const column = (of: (figures: Figures) => number, name: string): number[] => (taken.get(name) ?? []).map(of)
  const show = (what: string, of: (figures: Figures) => number, places: number): void => {
    console.log(`${title}: ${what}; median / min / max`)
    for (const name of taken.keys()) console.log(`  ${name.padEnd(20)} ${spread(column(of, name), places)}`)
    for (const other of ['dnsmasq', 'unbound']) {
      const theirs = column(of, other)
      const ratios = column(of, 'p2pns').map((value, i) => value / (theirs[i] ?? Number.NaN))
      console.log(`  ${`p2pns : ${other}`.padEnd(20)} ${spread(ratios, 2)}`)
    }
  }
  show('as dnsperf sees it', ({ figure }) => figure, digits)
  // When the generator is the slower side, its figure says little about the server.
  show('processor time of the server for a query, us', ({ cost }) => cost, 2)
}

function perf(questions: string, { name, port, child }: Server, { args, read }: Kind, seconds: number): Figures {
  const where = ['-s', '127.0.0.1', '-p', String(port), '-d', questions, '-l', String(seconds)]
  const before = costOf(child.pid ?? 0).cpu
  const text = execFileSync('taskset', ['-c', CORE, 'dnsperf', ...where, ...args], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
    maxBuffer: 64 * 1024 * 1024,
  })
  const used = costOf(child.pid ?? 0).cpu - before
  const lost = Number(/Queries lost:\s+(\d+)/.exec(text)?.[1])
  if (lost > 100) console.log(`${name} lost ${lost} queries`)
  return { figure: read(text), cost: (used * 1e6) / Number(/Queries completed:\s+(\d+)/.exec(text)?.[1]) }
}

function rate(text: string): number {
  return Number(/Queries per second:\s+([\d.]+)/.exec(text)?.[1])
}

/** Of lines such as `> NOERROR host1.p2p A 0.000123`. */
function p50(text: string): number {
  const times = [...text.matchAll(/^> \S+ \S+ \S+ ([\d.]+)$/gm)].map((match) => Number(match[1]) * 1e6)
  return times.toSorted((a, b) => a - b)[times.length >> 1] ?? Number.NaN
}
