/**
 * `npx node test/bench/fetch.ts [--size 1GiB] [--rounds 5]`: one file from one process to another on /dev/shm, in paired
 * rounds: a p2pns link (encrypted, every chunk verified), nginx + curl over HTTPS, and plain node:net as the measure of
 * what Node can move at all. nginx, curl and openssl come from the system.
 */
import { type ChildProcess, execFileSync, fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import * as fs from 'node:fs'
import * as net from 'node:net'
import * as path from 'node:path'
import { parseArgs } from 'node:util'
import type { BenchAnswer, BenchRequest } from './fetch-peer.ts'

const { values } = parseArgs({
  options: { size: { type: 'string', default: '1GiB' }, rounds: { type: 'string', default: '5' } },
})
const UNITS: Record<string, number> = { KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 }
const [, amount = '', unit = ''] = /^(\d+)(KiB|MiB|GiB)$/.exec(values.size) ?? []
const size = Number(amount) * (UNITS[unit] ?? Number.NaN)
const rounds = Number(values.rounds)
if (!(size > 0) || !(rounds > 0)) throw new Error('--size takes a number and KiB, MiB or GiB; --rounds a number')

const folder = fs.mkdtempSync('/dev/shm/p2pns-bench-')
const source = path.join(folder, 'source')
const out = path.join(folder, 'out')
const children: ChildProcess[] = []

interface Round {
  seconds: number
  /** Processor seconds of the side that sends, and of the side that receives. */
  cpu?: [number, number]
  /** Peak resident bytes of the two. */
  peak?: [number, number]
}

/** A process of ours that answers one request at a time. */
function peer(): { ask(request: BenchRequest): Promise<BenchAnswer>; end(): void } {
  const child = fork(new URL('./fetch-peer.ts', import.meta.url))
  children.push(child)
  return {
    async ask(request) {
      child.send(request)
      const [answer] = (await once(child, 'message')) as [BenchAnswer]
      return answer
    },
    end: () => child.kill(),
  }
}

async function p2pns(): Promise<() => Promise<Round>> {
  const seeder = peer()
  const { id } = await seeder.ask({ type: 'share', source })
  return async () => {
    const fetcher = peer()
    const { port, tickets } = await seeder.ask({ type: 'ticket' })
    const idle = await seeder.ask({ type: 'usage' })
    const { seconds, cpu, peak } = await fetcher.ask({ type: 'fetch', id, port, tickets, out })
    const sent = await seeder.ask({ type: 'usage' })
    fetcher.end()
    return { seconds, cpu: [sent.cpu - idle.cpu, cpu], peak: [sent.peak, peak] }
  }
}

async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as net.AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

async function httpsCurl(): Promise<() => Promise<Round>> {
  const port = await freePort()
  const [key, certificate] = [path.join(folder, 'key.pem'), path.join(folder, 'cert.pem')]
  const request = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '1']
  execFileSync('openssl', [...request, '-subj', '/CN=localhost', '-keyout', key, '-out', certificate], {
    stdio: 'pipe',
  })
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (name) => `${name}_temp_path ${folder}/tmp;`,
  )
  const config = `daemon off; master_process off; pid ${folder}/nginx.pid; error_log ${folder}/error.log;
    events {} http { access_log off; sendfile on; ${temporary.join(' ')}
    server { listen 127.0.0.1:${port} ssl; root ${folder}; ssl_certificate ${certificate}; ssl_certificate_key ${key}; } }`
  fs.writeFileSync(path.join(folder, 'nginx.conf'), config)
  const nginx = spawn('nginx', ['-e', `${folder}/error.log`, '-c', path.join(folder, 'nginx.conf')], { stdio: 'pipe' })
  children.push(nginx)
  const curl = ['--insecure', '--silent', '--fail', `https://127.0.0.1:${port}`]
  const warm = [...curl.slice(0, 3), '--retry', '20', '--retry-connrefused', '--retry-delay', '1', '--range', '0-0']
  execFileSync('curl', [...warm, `${curl[3]}/source`, '--output', out])
  return async () => {
    const started = performance.now()
    const child = spawn('curl', [...curl.slice(0, 3), `${curl[3]}/source`, '--output', out])
    const [code] = await once(child, 'exit')
    if (code !== 0) throw new Error(`curl ended with ${code}`)
    return { seconds: (performance.now() - started) / 1000 }
  }
}

async function rawSocket(): Promise<() => Promise<Round>> {
  const seeder = peer()
  const { port } = await seeder.ask({ type: 'serveRaw', source })
  return async () => {
    const fetcher = peer()
    const { seconds } = await fetcher.ask({ type: 'fetchRaw', port, out })
    fetcher.end()
    return { seconds }
  }
}

function median(values: number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] as number
}

function spread(values: number[], digits: number): string {
  return [median(values), Math.min(...values), Math.max(...values)].map((value) => value.toFixed(digits)).join(' / ')
}

try {
  const block = Buffer.alloc(2 ** 20)
  const file = fs.openSync(source, 'w')
  for (let done = 0, i = 0; done < size; done += block.length, i++) {
    block.fill(`${i} `)
    fs.writeSync(file, block, 0, Math.min(block.length, size - done))
  }
  fs.closeSync(file)

  const contenders = {
    p2pns: await p2pns(),
    'nginx + curl HTTPS': await httpsCurl(),
    'node:net, raw': await rawSocket(),
  }
  const results = new Map<string, Round[]>(Object.keys(contenders).map((name) => [name, []]))
  for (let round = 0; round < rounds; round++) {
    for (const [name, run] of Object.entries(contenders)) {
      fs.rmSync(out, { force: true })
      const result = await run()
      if (fs.statSync(out).size !== size) throw new Error(`${name} left a file of another size`)
      results.get(name)?.push(result)
    }
  }
  execFileSync('cmp', [source, out])

  console.log(`${values.size}, ${rounds} rounds; median / min / max`)
  const rates = (name: string): number[] => (results.get(name) ?? []).map(({ seconds }) => size / 1e6 / seconds)
  for (const name of results.keys()) console.log(`${name.padEnd(20)} ${spread(rates(name), 0)} MB/s`)
  for (const name of [...results.keys()].slice(1)) {
    const ratios = rates('p2pns').map((rate, i) => rate / (rates(name)[i] as number))
    console.log(`p2pns to ${name.padEnd(20)} ${spread(ratios, 2)}`)
  }
  const ours = results.get('p2pns') ?? []
  for (const [i, side] of ['seeder', 'fetcher'].entries()) {
    const cpu = ours.map((round) => ((round.cpu?.[i] ?? 0) / size) * 1e9)
    const peak = ours.map((round) => (round.peak?.[i] ?? 0) / 2 ** 20)
    console.log(`${side.padEnd(20)} ${spread(cpu, 2)} CPU s/GB, peak ${Math.max(...peak).toFixed(0)} MiB`)
  }
} finally {
  // nginx removes its pid file as it ends, which must not meet our removing.
  const ended = children.filter(({ exitCode, signalCode }) => exitCode === null && signalCode === null)
  await Promise.all(ended.map((child) => (child.kill(), once(child, 'exit'))))
  fs.rmSync(folder, { recursive: true, force: true })
}
