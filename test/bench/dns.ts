/**
 * `npx node test/bench/dns.ts [--rounds 5] [--seconds 3]`: 1,000 hot names over UDP, dnsperf on one core and each server in turn on the
 * other: ours, ours without its thread for many datagrams, dnsmasq, unbound (Debian: dnsperf, dnsmasq, unbound).
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { parseArgs } from 'node:util'
import { keyPairFromSeed } from '../../node/core/keys.ts'
import { rrFromText } from '../../node/core/rdata.ts'
import { signZone } from '../../node/core/zone.ts'
import { freePort } from '../../node/net/free-port.ts'
import { createResolver } from '../../resolver/index.ts'
import { spread } from './measure.ts'

const NAMES = 1_000
const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '3' },
    serve: { type: 'string' },
  },
})
const names = Array.from({ length: NAMES }, (_, i) => `host${i}.p2p`)

if (values.serve !== undefined) await serve(values.serve === 'batch')
else await measure()

async function serve(batch: boolean): Promise<void> {
  const pair = keyPairFromSeed(Buffer.alloc(32, 1))
  const zone = signZone(pair, 1n, [rrFromText({ type: 'A', data: '192.0.2.1', ttl: 86_400 })])
  const lookup = async () => ({ zone, expiresAt: Date.now() + 86_400_000, stale: false })
  const resolver = await createResolver({ host: '127.0.0.1', port: 0, now: Date.now, lookup, batch })
  process.send?.(resolver.port)
  process.on('disconnect', () => process.exit())
}

interface Server {
  name: string
  child: ChildProcess
  port: number
}

async function measure(): Promise<void> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'p2pns-dns-'))
  const questions = path.join(folder, 'questions')
  fs.writeFileSync(questions, names.map((name) => `${name} A\n`).join(''))
  const servers = [
    await ours('p2pns', 'batch'),
    await ours('p2pns, node:dgram', 'dgram'),
    await dnsmasq(folder),
    await unbound(folder),
  ]
  try {
    for (const server of servers) await answers(server.port)
    for (const { port } of servers) perf(questions, port, 1)
    const rates = new Map<string, number[]>(servers.map(({ name }) => [name, []]))
    for (let round = 0; round < Number(values.rounds); round++) {
      for (const { name, port } of servers) rates.get(name)?.push(perf(questions, port, Number(values.seconds)))
    }
    console.log(`${NAMES} names, UDP, queries per second; median / min / max`)
    for (const [name, list] of rates) console.log(`${name.padEnd(20)} ${spread(list, 0)}`)
    for (const other of ['dnsmasq', 'unbound']) {
      const ratios = (rates.get('p2pns') ?? []).map((rate, i) => rate / (rates.get(other)?.[i] ?? Number.NaN))
      console.log(`p2pns : ${other.padEnd(12)} ${spread(ratios, 2)}`)
    }
    for (const { name, child } of servers) console.log(`${name.padEnd(20)} ${rss(child.pid ?? 0)} MiB`)
  } finally {
    for (const { child } of servers) child.kill('SIGKILL')
    fs.rmSync(folder, { recursive: true, force: true })
  }
}

function onCore(core: number, command: string, args: string[], ipc = false): ChildProcess {
  return spawn('taskset', ['-c', String(core), command, ...args], {
    stdio: ipc ? ['ignore', 'inherit', 'inherit', 'ipc'] : ['ignore', 'ignore', 'inherit'],
  })
}

async function ours(name: string, kind: string): Promise<Server> {
  const child = onCore(0, process.execPath, [import.meta.filename, '--serve', kind], true)
  const [port] = (await once(child, 'message')) as [number]
  return { name, child, port }
}

async function dnsmasq(folder: string): Promise<Server> {
  const port = await freePort()
  const hosts = path.join(folder, 'hosts')
  fs.writeFileSync(hosts, names.map((name) => `192.0.2.1 ${name}\n`).join(''))
  const args = [
    '-k',
    '-C',
    '/dev/null',
    '-p',
    String(port),
    '-i',
    'lo',
    '-z',
    '-h',
    '-R',
    `--addn-hosts=${hosts}`,
    '-u',
    'root',
    '--pid-file=',
  ]
  return { name: 'dnsmasq', child: onCore(0, 'dnsmasq', args), port }
}

async function unbound(folder: string): Promise<Server> {
  const port = await freePort()
  const config = path.join(folder, 'unbound.conf')
  const data = names.map((name) => `  local-data: "${name}. 86400 IN A 192.0.2.1"`).join('\n')
  fs.writeFileSync(
    config,
    `server:
  interface: 127.0.0.1@${port}
  do-daemonize: no
  username: ""
  chroot: ""
  pidfile: ""
  use-syslog: no
  num-threads: 1
  access-control: 127.0.0.0/8 allow
  local-zone: "p2p." static
${data}
`,
  )
  return { name: 'unbound', child: onCore(0, 'unbound', ['-d', '-c', config]), port }
}

async function answers(port: number): Promise<void> {
  const socket = createSocket('udp4')
  const question = Buffer.from('00010100000100000000000005686f737430037032700000010001', 'hex')
  for (let i = 0; i < 100; i++) {
    socket.send(question, port, '127.0.0.1')
    const heard = once(socket, 'message').then(() => true)
    if (await Promise.race([heard, new Promise<boolean>((resolve) => setTimeout(resolve, 50, false))])) break
  }
  socket.close()
}

function perf(questions: string, port: number, seconds: number): number {
  const args = [
    '-c',
    '1',
    'dnsperf',
    '-s',
    '127.0.0.1',
    '-p',
    String(port),
    '-d',
    questions,
    '-l',
    String(seconds),
    '-c',
    '8',
    '-q',
    '400',
  ]
  const text = execFileSync('taskset', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
  const [, lost = ''] = /Queries lost:\s+(\d+)/.exec(text) ?? []
  if (Number(lost) > 100) console.log(`${lost} queries were lost`)
  return Number(/Queries per second:\s+([\d.]+)/.exec(text)?.[1])
}

function rss(pid: number): number {
  const status = fs.readFileSync(`/proc/${pid}/status`, 'utf8')
  return Math.round(Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1024)
}
