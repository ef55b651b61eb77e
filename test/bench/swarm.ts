/**
 * `npx node test/bench/swarm.ts [--size 128MiB] [--peers 6] [--rate 8] [--rounds 1] [--only NAME]`: one seeder and some downloaders that start
 * at once, every upload capped (MiB/s) by the client's own option; the time until the last has everything, against the
 * ideal in which the seeder sends each byte once. p2pns, libtorrent (python3-libtorrent) and aria2 take turns.
 */
import { execFileSync } from 'node:child_process'
import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import * as path from 'node:path'
import { parseArgs } from 'node:util'
import { P2pnsNetwork } from './contenders/p2pns.ts'
import { aria2, Libtorrent, tracker } from './contenders/torrent.ts'
import { fillFile, lineOf, sizeOf, spread, stopAll } from './measure.ts'

const { values } = parseArgs({
  options: {
    size: { type: 'string', default: '128MiB' },
    peers: { type: 'string', default: '6' },
    rate: { type: 'string', default: '8' },
    rounds: { type: 'string', default: '1' },
    only: { type: 'string' },
  },
})
const size = sizeOf(values.size)
const peers = Array.from({ length: Number(values.peers) }, (_, i) => `peer${i}`)
const rate = Number(values.rate) * 2 ** 20
const ideal = size / rate

const base = fs.existsSync('/dev/shm') ? '/dev/shm' : tmpdir()
const folder = fs.mkdtempSync(path.join(base, 'p2pns-swarm-'))
const source = path.join(folder, 'source', 'file')

function fresh(name: string): string {
  const place = path.join(folder, name)
  fs.rmSync(place, { recursive: true, force: true })
  fs.mkdirSync(place, { recursive: true })
  return place
}

async function ours(): Promise<number> {
  const place = fresh('p2pns')
  const network = new P2pnsNetwork(place)
  await network.begin()
  const limit = ['--up-limit', `${values.rate}MiB`]
  await Promise.all(['seeder', ...peers].map((home) => network.up(home, ...limit)))
  const { cid } = await network.run('seeder', 'share', source)
  const started = performance.now()
  const fetched = await Promise.all(
    peers.map((home) => network.run(home, 'fetch', String(cid), '-o', path.join(place, home))),
  )
  const seconds = (performance.now() - started) / 1000
  for (const home of peers) execFileSync('cmp', [source, path.join(place, home)])
  const { peerId } = await network.run('seeder', 'status')
  const rows = fetched.flatMap(({ peers }) => peers as { peer: string; bytes: number }[])
  const given = rows.filter(({ peer }) => peer === peerId).reduce((sum, { bytes }) => sum + bytes, 0)
  const slowest = fetched.map(({ seconds }) => (seconds as number).toFixed(1)).join(' ')
  console.error(`p2pns: the seeder gave ${(given / size).toFixed(2)} copies; each took ${slowest} s`)
  return seconds
}

async function libtorrent(): Promise<number> {
  const place = fresh('libtorrent')
  const { url, server } = await tracker()
  const swarm = new Libtorrent(place)
  swarm.make(source, url)
  await lineOf(swarm.start('seed', path.dirname(source), rate), (line) => line.startsWith('ready'))
  const started = performance.now()
  await Promise.all(
    peers.map(async (name) => {
      fs.mkdirSync(path.join(place, name))
      await lineOf(swarm.start('leech', path.join(place, name), rate), (line) => line === 'done')
    }),
  )
  const seconds = (performance.now() - started) / 1000
  for (const name of peers) execFileSync('cmp', [source, path.join(place, name, 'file')])
  server.close()
  return seconds
}

async function withAria2(): Promise<number> {
  const place = fresh('aria2')
  const { url, server } = await tracker()
  const swarm = new Libtorrent(place)
  swarm.make(source, url)
  fs.writeFileSync(path.join(place, 'hook.sh'), '#!/bin/sh\ntouch "$(dirname "$3")/done"\n', { mode: 0o755 })
  fs.mkdirSync(path.join(place, 'seeder'))
  fs.linkSync(source, path.join(place, 'seeder', 'file'))
  aria2(swarm.torrent, path.join(place, 'seeder'), rate, true)
  await new Promise((resolve) => setTimeout(resolve, 2000))
  const started = performance.now()
  await Promise.all(
    peers.map(async (name) => {
      const to = path.join(place, name)
      fs.mkdirSync(to)
      const seen = new Promise<void>((resolve) => fs.watch(to, () => fs.existsSync(path.join(to, 'done')) && resolve()))
      aria2(swarm.torrent, to, rate, false).stdout?.resume()
      await seen
    }),
  )
  const seconds = (performance.now() - started) / 1000
  for (const name of peers) execFileSync('cmp', [source, path.join(place, name, 'file')])
  server.close()
  return seconds
}

const contenders = Object.entries({ p2pns: ours, libtorrent, aria2: withAria2 }).filter(
  ([name]) => values.only === undefined || values.only === name,
)
try {
  fs.mkdirSync(path.dirname(source))
  fillFile(source, size)
  const times = new Map<string, number[]>(contenders.map(([name]) => [name, []]))
  for (let round = 0; round < Number(values.rounds); round++) {
    for (const [name, run] of contenders) {
      try {
        times.get(name)?.push(await run())
      } catch (error) {
        console.error(`${name}: ${(error as Error).message}`)
      }
      await stopAll()
    }
  }
  console.log(
    `${values.size}, 1 + ${peers.length} peers, ${values.rate} MiB/s each; ideal ${ideal.toFixed(1)} s; median / min / max`,
  )
  for (const [name, seconds] of times) {
    const ratios = seconds.map((time) => time / ideal)
    if (seconds.length > 0) console.log(`${name.padEnd(12)} ${spread(seconds, 1)} s, ${spread(ratios, 2)} of the ideal`)
  }
} finally {
  await stopAll()
  fs.rmSync(folder, { recursive: true, force: true })
}
process.exit()
