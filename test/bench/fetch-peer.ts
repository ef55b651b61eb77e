/** One side of bench/fetch.ts, as `npm run build` made it: shares or fetches as it is told over IPC, and says what that cost. */
import { randomBytes, randomInt } from 'node:crypto'
import { once } from 'node:events'
import * as fs from 'node:fs'
import * as net from 'node:net'
import * as path from 'node:path'
import { PassThrough } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { toHex } from '../../dist/node/core/encoding.js'
import { keyPairFromSeed } from '../../dist/node/core/keys.js'
import { fetchContent } from '../../dist/node/files/fetch.js'
import type { PeerWay } from '../../dist/node/files/peer-link.js'
import { Seeder } from '../../dist/node/files/seed.js'
import { sharePath } from '../../dist/node/files/share.js'
import { shareSource } from '../../dist/node/files/share-source.js'
import { createLinkServer } from '../../dist/node/net/link.js'
import { type LinkPort, linkPort } from '../helpers/link-port.ts'

export type BenchRequest =
  | { type: 'share' | 'serveRaw'; source: string }
  | { type: 'ticket' | 'usage' }
  | { type: 'fetch'; id: string; port: number; tickets: BenchTicket[]; out: string }
  | { type: 'fetchRaw'; port: number; out: string }

export interface BenchTicket {
  id: string
  secret: string
}

export interface BenchAnswer {
  id: string
  port: number
  tickets: BenchTicket[]
  seconds: number
  /** Processor seconds so far. */
  cpu: number
  /** Most resident bytes so far. */
  peak: number
}

const HOST = '127.0.0.1'
let server: LinkPort

async function share(source: string): Promise<Partial<BenchAnswer>> {
  const seeder = new Seeder({ now: () => performance.now(), random: (end) => randomInt(end) })
  const leaves = path.join(path.dirname(source), 'leaves')
  const shared = await sharePath(source, { pair: keyPairFromSeed(randomBytes(32)), created: 0, leaves })
  seeder.add(shared.manifest.id, shareSource(shared))
  server = await linkPort({ createServer: createLinkServer, onLink: (socket) => void seeder.serve(socket, 'fetcher') })
  return { id: shared.manifest.id }
}

async function fetchOver(request: BenchRequest & { type: 'fetch' }): Promise<Partial<BenchAnswer>> {
  const { id, port, tickets, out } = request
  const started = performance.now()
  const ways = new PassThrough({ objectMode: true })
  const open = (): void => {
    const { id, secret } = tickets.pop() as BenchTicket
    const ticket = { id: Buffer.from(id, 'hex'), secret: Buffer.from(secret, 'hex') }
    const way: PeerWay = {
      peer: 'seeder',
      way: { candidates: [{ host: HOST, port }], ticket },
      again: async () => open(),
      ended: () => ways.end(),
    }
    ways.write(way)
  }
  open()
  const { signal } = new AbortController()
  await fetchContent({ id, links: ways as AsyncIterable<PeerWay>, out, random: (end) => randomInt(end), signal })
  return { seconds: (performance.now() - started) / 1000 }
}

async function serveRaw(source: string): Promise<Partial<BenchAnswer>> {
  const raw = net.createServer((socket) => {
    pipeline(fs.createReadStream(source, { highWaterMark: 2 ** 20 }), socket).catch((error) => console.error(error))
  })
  raw.listen(0, HOST)
  await once(raw, 'listening')
  return { port: (raw.address() as net.AddressInfo).port }
}

async function fetchRaw(port: number, out: string): Promise<Partial<BenchAnswer>> {
  const started = performance.now()
  await pipeline(net.connect(port, HOST), fs.createWriteStream(out, { highWaterMark: 2 ** 20 }))
  return { seconds: (performance.now() - started) / 1000 }
}

async function perform(request: BenchRequest): Promise<Partial<BenchAnswer>> {
  switch (request.type) {
    case 'share':
      return share(request.source)
    case 'serveRaw':
      return serveRaw(request.source)
    case 'ticket': {
      const tickets = Array.from({ length: 4 }, () => server.issue('bench'))
      return { port: server.port, tickets: tickets.map(({ id, secret }) => ({ id: toHex(id), secret: toHex(secret) })) }
    }
    case 'fetch':
      return fetchOver(request)
    case 'fetchRaw':
      return fetchRaw(request.port, request.out)
    default:
      return {}
  }
}

process.on('message', (request: BenchRequest) => {
  void perform(request).then((answer) => {
    const { user, system } = process.cpuUsage()
    const [, peak] = /VmHWM:\s+(\d+) kB/.exec(fs.readFileSync('/proc/self/status', 'utf8')) ?? []
    process.send?.({ ...answer, cpu: (user + system) / 1e6, peak: Number(peak) * 1024 })
  })
})
