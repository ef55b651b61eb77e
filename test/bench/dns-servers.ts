/** The DNS servers that test/bench/dns.ts compares, each in a process on one core with the same names: ours, dnsmasq, unbound. */
import { type ChildProcess, spawn } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { keyPairFromSeed } from '../../node/core/keys.ts'
import { rrFromText } from '../../node/core/rdata.ts'
import { signZone } from '../../node/core/zone.ts'
import { freePort } from '../../node/net/free-port.ts'
import { createResolver } from '../../resolver/index.ts'

const CORE = '0'
export const NAMES = Array.from({ length: 1_000 }, (_, i) => `host${i}.p2p`)
/** `host0.p2p A`. */
const QUESTION = Buffer.from('00010100000100000000000005686f737430037032700000010001', 'hex')

export interface Server {
  name: string
  child: ChildProcess
  port: number
}

/** In the process that `ours` starts: tells its parent the port. */
export async function serve(batch: boolean): Promise<void> {
  const pair = keyPairFromSeed(Buffer.alloc(32, 1))
  const zone = signZone(pair, 1n, [rrFromText({ type: 'A', data: '192.0.2.1', ttl: 86_400 })])
  const lookup = async () => ({ zone, expiresAt: Date.now() + 86_400_000, stale: false })
  const resolver = await createResolver({ host: '127.0.0.1', port: 0, now: Date.now, lookup, batch })
  process.send?.(resolver.port)
  process.on('disconnect', () => process.exit())
}

export async function startServers(script: string, folder: string): Promise<Server[]> {
  const servers = [
    await ours(script, 'p2pns', 'batch'),
    await ours(script, 'p2pns, node:dgram', 'dgram'),
    await dnsmasq(folder),
    await unbound(folder),
  ]
  for (const { port } of servers) await answers(port)
  return servers
}

async function ours(script: string, name: string, kind: string): Promise<Server> {
  const child = spawn('taskset', ['-c', CORE, process.execPath, script, '--serve', kind], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  const [port] = (await once(child, 'message')) as [number]
  return { name, child, port }
}

async function dnsmasq(folder: string): Promise<Server> {
  const port = await freePort()
  const hosts = path.join(folder, 'hosts')
  fs.writeFileSync(hosts, NAMES.map((name) => `192.0.2.1 ${name}\n`).join(''))
  const alone = ['-k', '-C', '/dev/null', '-i', 'lo', '-z', '-h', '-R', '-u', 'root', '--pid-file=']
  return { name: 'dnsmasq', child: onCore('dnsmasq', [...alone, '-p', String(port), `--addn-hosts=${hosts}`]), port }
}

async function unbound(folder: string): Promise<Server> {
  const port = await freePort()
  const config = path.join(folder, 'unbound.conf')
  const data = NAMES.map((name) => `  local-data: "${name}. 86400 IN A 192.0.2.1"`).join('\n')
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
  incoming-num-tcp: 100
  access-control: 127.0.0.0/8 allow
  local-zone: "p2p." static
${data}
`,
  )
  return { name: 'unbound', child: onCore('unbound', ['-d', '-c', config]), port }
}

function onCore(command: string, args: string[]): ChildProcess {
  return spawn('taskset', ['-c', CORE, command, ...args], { stdio: 'ignore' })
}

/** Asked again while nobody listens: a system that nobody listens to on that port says so. */
async function answers(port: number): Promise<void> {
  const socket = createSocket('udp4')
  socket.connect(port, '127.0.0.1')
  await once(socket, 'connect')
  for (let answered = false; !answered; ) {
    socket.send(QUESTION)
    answered = await once(socket, 'message').then(
      () => true,
      () => false,
    )
  }
  socket.close()
}

/** Resident memory in MiB. */
export function rss({ child }: Server): number {
  const status = fs.readFileSync(`/proc/${child.pid}/status`, 'utf8')
  return Math.round(Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1024)
}
