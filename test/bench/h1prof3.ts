/**
 * Cached DNS answers per second over UDP, against the limit of node:dgram itself. `npx node test/bench/resolve.ts`
 *
 * Four processes: our resolver with 1,000 warm names; a bare node:dgram responder that sends one fixed packet for
 * whatever comes; the same with the socket options that ours uses; and a load generator that keeps a window of queries in
 * flight. Rounds alternate, so that a noisy machine is noisy for all. The servers also report the processor time they
 * used: when the generator is the slower side, queries per second say nothing, but queries per processor second do.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { keyPairFromSeed } from '../../node/core/keys.ts'
import { rrFromText } from '../../node/core/rdata.ts'
import { signZone } from '../../node/core/zone.ts'
import { createResolver } from '../../resolver/index.ts'

const NAMES = 1_000
const ROUNDS = 4
const ROUND_MS = 1_500
const WARM_UP_MS = 1_000
/** Queries in flight. */
const WINDOW = 200

type Kind = 'resolver' | 'bare' | 'bare-tuned'|'alloc'|'allocread'|'read'
const KINDS: Kind[] = ['alloc','resolver','bare-tuned','allocread','resolver2' as Kind,'alloc2' as Kind]
const LABELS: Record<Kind, string> = {alloc:'alloc',allocread:'alloc+read',read:'read',
  resolver: 'p2pns resolver, warm cache',
  bare: 'bare node:dgram, as anyone writes it',
  'bare-tuned': 'bare node:dgram, with our socket options',
}

function nameOf(i: number): string {
  return `host${i}.p2p`
}

/** A query for an A record, without EDNS. */
function queryFor(name: string): Buffer {
  const labels = name.split('.').flatMap((label) => [Buffer.from([label.length]), Buffer.from(label)])
  const head = Buffer.from('000001000001000000000000', 'hex')
  return Buffer.concat([head, ...labels, Buffer.from('0000010001', 'hex')])
}

async function serveResolver(): Promise<number> {
  const pair = keyPairFromSeed(Buffer.alloc(32, 1))
  const zone = signZone(pair, 1n, [rrFromText({ type: 'A', data: '192.0.2.1', ttl: 86_400 })])
  const lookup = async () => ({ zone, expiresAt: Date.now() + 86_400_000, stale: false })
  return (await createResolver({ host: '127.0.0.1', port: 0, now: Date.now, lookup })).port
}

async function serveBare(tuned: boolean, role: string): Promise<number> {
  // As long as the answer of the resolver: question, and one A record with a compressed owner.
  const fixed = Buffer.alloc(queryFor(nameOf(500)).length + 16)
  fixed[2] = 0x80
  const socket = tuned
    ? createSocket({ type: 'udp4', recvBufferSize: 1024 * 1024, lookup: (host, _options, done) => done(null, host, 4) })
    : createSocket('udp4')

  let h = 0
  socket.on('message', (packet, { port, address }) => {
    let out = fixed
    if (role.startsWith('alloc')) { out = Buffer.allocUnsafe(fixed.length); out.set(fixed) }
    if (role.endsWith('read')) { for (let i = 0; i < packet.length; i++) h = Math.imul(h ^ (packet[i] as number), 17) }
    socket.send(out, port, address)
  })
  const listening = once(socket, 'listening')
  socket.bind(0, '127.0.0.1')
  await listening
  return socket.address().port
}

/** One round: the answers that came within `ms`. */
async function load(port: number, ms: number): Promise<number> {
  const queries = Array.from({ length: NAMES }, (_, i) => queryFor(nameOf(i)))
  const socket = createSocket({ type: 'udp4', recvBufferSize: 1024 * 1024 })
  socket.connect(port, '127.0.0.1')
  await once(socket, 'connect')
  let sent = 0
  let answered = 0
  const send = (): void => {
    socket.send(queries[sent++ % Number(process.env.NN)] as Buffer)
  }
  socket.on('message', (answer) => {
    if (((answer[2] as number) & 0x80) === 0 || ((answer[3] as number) & 0x0f) !== 0) throw new Error('a wrong answer')
    answered++
    send()
  })
  for (let i = 0; i < WINDOW; i++) send()
  // What got lost is sent again, or the window would shrink.
  let before = 0
  const refill = setInterval(() => {
    if (answered === before) for (let i = 0; i < WINDOW; i++) send()
    before = answered
  }, 50)
  const start = performance.now()
  await new Promise((resolve) => setTimeout(resolve, ms))
  const perSecond = (answered * 1000) / (performance.now() - start)
  clearInterval(refill)
  socket.close()
  return perSecond
}

type Order = { load: { port: number; ms: number } } | { cpu: true }

async function child(role: string): Promise<void> {
  if (role !== 'load')
    process.send?.(role.startsWith('resolver') ? await serveResolver() : await serveBare(role !== 'bare', role))
  process.on('message', (order: Order) => {
    if ('load' in order) void load(order.load.port, order.load.ms).then((perSecond) => process.send?.(perSecond))
    else process.send?.(process.cpuUsage().user + process.cpuUsage().system)
  })
  process.on('disconnect', () => process.exit(0))
}

function start(role: string): ChildProcess {
  return spawn(process.execPath, [...(role===process.env.PROF?['--cpu-prof','--cpu-prof-interval','300','--cpu-prof-dir=/tmp/prof']:[]),import.meta.filename, role], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
}

async function ask(process: ChildProcess, order: Order): Promise<number> {
  const answer = once(process, 'message')
  process.send(order)
  return ((await answer) as [number])[0]
}

function spread(values: number[], digits: number): string {
  const sorted = values.toSorted((a, b) => a - b)
  const pick = [sorted[0], sorted[sorted.length >> 1], sorted.at(-1)] as [number, number, number]
  return pick.map((value) => value.toFixed(digits).padStart(8)).join('')
}

async function main(): Promise<void> {
  const generator = start('load')
  const servers = new Map<
    Kind,
    { process: ChildProcess; port: number; wall: number[]; cpu: number[]; busy: number[] }
  >()
  for (const kind of KINDS) {
    const process = start(kind)
    const [port] = (await once(process, 'message')) as [number]
    servers.set(kind, { process, port, wall: [], cpu: [], busy: [] })
    await ask(generator, { load: { port, ms: WARM_UP_MS } })
  }
  for (let round = 0; round < ROUNDS; round++) {
    for (const server of servers.values()) {
      const before = await ask(server.process, { cpu: true })
      const perSecond = await ask(generator, { load: { port: server.port, ms: ROUND_MS } })
      const used = ((await ask(server.process, { cpu: true })) - before) / 1e6
      server.wall.push(perSecond)
      server.cpu.push((perSecond * ROUND_MS) / 1000 / used)
      server.busy.push((used * 1000) / ROUND_MS)
    }
  }
  console.log(`${ROUNDS} rounds of ${ROUND_MS} ms, ${NAMES} names, ${WINDOW} in flight        min  median     max`)
  for (const [kind, { wall, cpu, busy }] of servers) {
    console.log(LABELS[kind])
    console.log(`  queries per second                            ${spread(wall, 0)}`)
    console.log(`  queries per processor second                  ${spread(cpu, 0)}`)
    console.log(`  share of one core used                        ${spread(busy, 2)}`)
  }
  const ours = servers.get('resolver')
  for (const kind of ['allocread'] as const) {
    const theirs = servers.get(kind)
    if (!ours || !theirs) continue
    const ratio = (mine: number[], other: number[]) => mine.map((value, i) => value / (other[i] as number))
    console.log(`ratio to ${LABELS[kind]}`)
    console.log(`  queries per second                            ${spread(ratio(ours.wall, theirs.wall), 2)}`)
    console.log(`  queries per processor second                  ${spread(ratio(ours.cpu, theirs.cpu), 2)}`)
  }
  generator.disconnect()
  for (const { process } of servers.values()) process.disconnect()
}

const role = process.argv[2]
await (role === undefined ? main() : child(role))
