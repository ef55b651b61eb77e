/**
 * `npx node test/bench/fetch.ts [--size 1GiB] [--rounds 5] [--only NAME]`: one file from one process to another on /dev/shm, in paired
 * rounds: a p2pns link (encrypted, every chunk verified), nginx + curl over HTTPS, libtorrent, webtorrent, and plain node:net as
 * the measure of what Node can move at all. nginx, curl, openssl and python3-libtorrent come from the system; webtorrent is
 * installed from npm into the bench's folder. Whatever is missing is left out.
 */
import { type ChildProcess, execFileSync, fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { parseArgs } from 'node:util'
import { installWebtorrent, Libtorrent, webtorrent } from './contenders/torrent.ts'
import type { BenchAnswer, BenchRequest } from './fetch-peer.ts'
import { costOf, fillFile, freePort, lineOf, sizeOf, spread, stopAll } from './measure.ts'

const { values } = parseArgs({
  options: {
    size: { type: 'string', default: '1GiB' },
    rounds: { type: 'string', default: '5' },
    only: { type: 'string' },
  },
})
const size = sizeOf(values.size)
const rounds = Number(values.rounds)

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

async function torrent(leech: (out: string) => ChildProcess, seeder: ChildProcess): Promise<Round> {
  const idle = costOf(seeder.pid as number)
  const place = path.join(folder, 'leech')
  fs.rmSync(place, { recursive: true, force: true })
  fs.mkdirSync(place)
  const started = performance.now()
  const child = leech(place)
  await lineOf(child, (line) => line === 'done')
  const seconds = (performance.now() - started) / 1000
  const [sent, got] = [costOf(seeder.pid as number), costOf(child.pid as number)]
  child.kill('SIGKILL')
  fs.renameSync(path.join(place, 'source'), out)
  return { seconds, cpu: [sent.cpu - idle.cpu, got.cpu], peak: [sent.peak, got.peak] }
}

async function libtorrent(): Promise<() => Promise<Round>> {
  const swarm = new Libtorrent(folder)
  swarm.make(source)
  const seeder = swarm.start('seed', folder, 0)
  const [, port = ''] = (await lineOf(seeder, (line) => line.startsWith('ready'))).split(' ')
  return () => torrent((place) => swarm.start('leech', place, 0, port), seeder)
}

async function withWebtorrent(): Promise<() => Promise<Round>> {
  const modules = installWebtorrent(folder)
  const seeder = webtorrent(modules, 'seed', source)
  const [, port = '', file = ''] = (await lineOf(seeder, (line) => line.startsWith('ready'))).split(' ')
  return () => torrent((place) => webtorrent(modules, 'leech', place, file, port), seeder)
}

try {
  fillFile(source, size)

  const contenders: Record<string, () => Promise<Round>> = {}
  const all = {
    p2pns,
    'nginx + curl HTTPS': httpsCurl,
    libtorrent,
    webtorrent: withWebtorrent,
    'node:net, raw': rawSocket,
  }
  for (const [name, prepare] of Object.entries(all)) {
    if (values.only !== undefined && name !== values.only) continue
    try {
      contenders[name] = await prepare()
    } catch (error) {
      console.error(`${name} is left out: ${(error as Error).message}`)
    }
  }
  const results = new Map<string, Round[]>(Object.keys(contenders).map((name) => [name, []]))
  // Pages that the system has never handed out before cost several times as much, and would be the first one's loss.
  for (const name of ['warm1', 'warm2']) fillFile(path.join(folder, name), size)
  for (const name of ['warm1', 'warm2']) fs.rmSync(path.join(folder, name))
  for (let round = 0; round < rounds; round++) {
    const turns = Object.entries(contenders)
    for (const [name, run] of [...turns.slice(round % turns.length), ...turns.slice(0, round % turns.length)]) {
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
  for (const [name, measured] of results) {
    for (const [i, side] of ['seeder', 'fetcher'].entries()) {
      const cpu = measured.flatMap((round) => (round.cpu ? [((round.cpu[i] as number) / size) * 1e9] : []))
      const peak = measured.flatMap((round) => (round.peak ? [(round.peak[i] as number) / 2 ** 20] : []))
      if (cpu.length > 0)
        console.log(`${name}, ${side}: ${spread(cpu, 2)} CPU s/GB, peak ${Math.max(...peak).toFixed(0)} MiB`)
    }
  }
} finally {
  // nginx removes its pid file as it ends, which must not meet our removing.
  const ended = children.filter(({ exitCode, signalCode }) => exitCode === null && signalCode === null)
  await Promise.all(ended.map((child) => (child.kill(), once(child, 'exit'))))
  await stopAll()
  fs.rmSync(folder, { recursive: true, force: true })
}
process.exit()
