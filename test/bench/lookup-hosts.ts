/**
 * The processes of `lookups.ts`, as `lookup-hosts.ts ROLE ARGUMENT...`; they do what they are told over IPC (test/nat/calls.ts).
 * `swarm`: some nodes in one process. `person`: whoever sits at the machine under test, starts `p2pns up` there and asks its DNS.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { connect } from 'node:net'
import * as path from 'node:path'
import dnsPacket from 'dns-packet'
import { createNode, type Node } from '../../node/index.ts'
import { lineOf, median } from './measure.ts'

/** What `npm run build` made. */
const MAIN = path.join(import.meta.dirname, '../../dist/cli/main.js')
const DNS_PORT = 5354
const MAX_WAIT = 15_000
const PROBES = 11
/** How often a resolver that is not there yet is asked, in ms. */
const POLL = 3

export interface Answered {
  /** Until the answer came. */
  ms: number
  rcode: string
  addresses: string[]
}

/** ms since the process was spawned. */
export interface Started {
  ready: number
  /** Until the first answer to `first`, which is asked all the time from the start. */
  answered?: number
}

export type ToSwarm = { register: [node: number, name: string, address: string] }
export type ToPerson =
  | { ask: string; type?: 'A' }
  | { up: string[]; first?: string }
  | { down: true }
  | { roundTrip: [host: string, port: number] }
  | { status: string }

async function swarm([home = '', address = '', introducer = '', count = '']: string[]): Promise<void> {
  const nodes: Node[] = []
  for (let i = 0; i < Number(count); i++) {
    nodes.push(
      await createNode({
        home: path.join(home, String(i)),
        introducers: [introducer],
        listen: [`/ip4/${address}/tcp/0`],
        lan: false,
        portMapping: false,
      }),
    )
  }
  serve(async (told) => {
    const [node, name, address] = (told as ToSwarm).register
    const records = [{ type: 'A', data: address, ttl: 3600 }]
    return (await (nodes[node] as Node).register({ name, records })).stored
  })
  process.send?.({ ready: process.memoryUsage().rss })
}

/** One question over UDP; undefined when nobody listens there. */
async function question(name: string, timeout: number): Promise<Answered | undefined> {
  const socket = createSocket('udp4')
  socket.connect(DNS_PORT, '127.0.0.1')
  await once(socket, 'connect')
  try {
    const query = dnsPacket.encode({ type: 'query', id: 1, flags: 0x0100, questions: [{ type: 'A', name }] })
    const answer = once(socket, 'message', { signal: AbortSignal.timeout(timeout) })
    const started = performance.now()
    socket.send(query)
    const [packet] = (await answer) as [Buffer]
    const ms = performance.now() - started
    const { answers = [] } = dnsPacket.decode(packet)
    const addresses = answers.flatMap((one) => (one.type === 'A' ? [one.data] : []))
    return { ms, rcode: RCODES[(packet[3] ?? 0) & 15] ?? 'other', addresses }
  } catch {
    return undefined
  } finally {
    socket.close()
  }
}

const RCODES = ['NOERROR', 'FORMERR', 'SERVFAIL', 'NXDOMAIN']

let node: ChildProcess | undefined

async function up(args: string[], first: string | undefined): Promise<Started> {
  const started = performance.now()
  node = spawn(process.execPath, [MAIN, 'up', '--json', '--dns', `127.0.0.1:${DNS_PORT}`, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const ready = lineOf(node, (line) => line.includes('"ready"')).then(() => performance.now() - started)
  if (first === undefined) return { ready: await ready }
  const answered = await untilAnswered(first, started)
  return { ready: await ready, answered }
}

async function untilAnswered(name: string, started: number): Promise<number> {
  for (;;) {
    const answer = await question(name, MAX_WAIT)
    if (answer?.rcode === 'NOERROR') return performance.now() - started
    if (performance.now() - started > MAX_WAIT) return Number.POSITIVE_INFINITY
    await new Promise((resolve) => setTimeout(resolve, POLL))
  }
}

async function roundTrip(host: string, port: number): Promise<number> {
  const times: number[] = []
  for (let i = 0; i < PROBES; i++) {
    const started = performance.now()
    const socket = connect(port, host)
    await once(socket, 'connect')
    times.push(performance.now() - started)
    socket.destroy()
  }
  return median(times)
}

async function run(args: string[]): Promise<unknown> {
  const child = spawn(process.execPath, [MAIN, '--json', ...args], { stdio: ['ignore', 'pipe', 'inherit'] })
  return JSON.parse(await lineOf(child))
}

async function person(told: ToPerson): Promise<unknown> {
  if ('ask' in told) return question(told.ask, MAX_WAIT)
  if ('up' in told) return up(told.up, told.first)
  if ('roundTrip' in told) return roundTrip(...told.roundTrip)
  if ('status' in told) return run(['status', '--home', told.status])
  const gone = node && once(node, 'exit')
  node?.kill('SIGTERM')
  await gone
  return true
}

function serve(obey: (told: object) => Promise<unknown>): void {
  process.on('message', (message: { id: number }) => {
    obey(message).then(
      (result) => process.send?.({ id: message.id, result }),
      (error: Error) => process.send?.({ id: message.id, error: String(error.stack) }),
    )
  })
}

const [role, ...args] = process.argv.slice(2)
process.on('disconnect', () => {
  node?.kill('SIGKILL')
  process.exit()
})
if (role === 'swarm') await swarm(args)
else {
  serve((told) => person(told as ToPerson))
  process.send?.({ ready: '' })
}
