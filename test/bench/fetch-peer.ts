/** One side of bench/fetch.ts: shares or fetches as it is told over IPC, and says what that cost. */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import * as fs from 'node:fs'
import * as net from 'node:net'
import { pipeline } from 'node:stream/promises'
import { toHex } from '../../node/core/encoding.ts'
import { keyPairFromSeed } from '../../node/core/keys.ts'
import { fetchContent } from '../../node/files/fetch.ts'
import { Seeder } from '../../node/files/seed.ts'
import { sharePath } from '../../node/files/share.ts'
import { createLinkServer, dialLink, type LinkServer } from '../../node/net/link.ts'
import type { Link } from '../../node/net/paths.ts'

export type BenchRequest =
  | { type: 'share' | 'serveRaw'; source: string }
  | { type: 'ticket' | 'usage' }
  | { type: 'fetch'; id: string; port: number; ticket: BenchAnswer['ticket']; out: string }
  | { type: 'fetchRaw'; port: number; out: string }

export interface BenchAnswer {
  id: string
  port: number
  ticket: { id: string; secret: string }
  seconds: number
  /** Processor seconds so far. */
  cpu: number
  /** Most resident bytes so far. */
  peak: number
}

const HOST = '127.0.0.1'
let server: LinkServer<string>

async function share(source: string): Promise<Partial<BenchAnswer>> {
  const seeder = new Seeder()
  const shared = await sharePath(source, { pair: keyPairFromSeed(randomBytes(32)), created: 0 })
  seeder.add(shared)
  server = await createLinkServer<string>({
    host: HOST,
    port: 0,
    now: Date.now,
    random: randomBytes,
    onLink: (socket) => void seeder.serve(socket, 'fetcher'),
  })
  return { id: shared.manifest.id }
}

async function fetchOver(request: BenchRequest & { type: 'fetch' }): Promise<Partial<BenchAnswer>> {
  const { id, port, ticket, out } = request
  const started = performance.now()
  const secret = { id: Buffer.from(ticket.id, 'hex'), secret: Buffer.from(ticket.secret, 'hex'), expires: 0 }
  const { socket } = await dialLink([{ host: HOST, port }], secret, { timeout: 5000 })
  async function* links(): AsyncGenerator<Link> {
    yield { peer: 'seeder', path: 'lan', stream: socket }
  }
  await fetchContent({ id, links: links(), out, signal: new AbortController().signal })
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
      const { id, secret } = server.issue('bench')
      return { port: server.port, ticket: { id: toHex(id), secret: toHex(secret) } }
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
