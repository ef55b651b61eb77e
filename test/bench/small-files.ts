/**
 * `npx node test/bench/small-files.ts [--files 10000] [--rounds 3]`: many files of 10 KiB, and one of a byte, on a real disk: a whole
 * `p2pns fetch` by name with running nodes, libtorrent (python3-libtorrent) and rsync from a daemon, in turns.
 */
import { execFileSync } from 'node:child_process'
import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import * as path from 'node:path'
import { parseArgs } from 'node:util'
import { P2pnsNetwork } from './contenders/p2pns.ts'
import { Libtorrent } from './contenders/torrent.ts'
import { freePort, lineOf, output, spread, start, stopAll } from './measure.ts'

const { values } = parseArgs({
  options: { files: { type: 'string', default: '10000' }, rounds: { type: 'string', default: '3' } },
})
const folder = fs.mkdtempSync(path.join(tmpdir(), 'p2pns-small-'))
const source = path.join(folder, 'source')
/** ext4 is slow to give out inodes that were freed a moment ago: nothing is removed before the end. */
let out = ''
let runs = 0

async function timed(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now()
  await work()
  return (performance.now() - started) / 1000
}

try {
  for (let i = 0; i < Number(values.files); i++) {
    const file = path.join(source, `${i % 100}`, `${i}.bin`)
    fs.mkdirSync(path.dirname(file), { recursive: true })
    fs.writeFileSync(file, Buffer.alloc(10_240, `${i} `))
  }
  const byte = path.join(folder, 'byte')
  fs.writeFileSync(byte, 'x')

  const network = new P2pnsNetwork(folder)
  await network.begin()
  await network.up('seeder')
  await network.up('fetcher')
  const shared = await timed(() => network.run('seeder', 'share', source, '--as', 'many.p2p'))
  await network.run('seeder', 'share', byte, '--as', 'byte.p2p')

  const swarm = new Libtorrent(folder)
  const made = await timed(async () => swarm.make(source))
  const seeder = swarm.start('seed', folder, 0)
  const [, port = ''] = (await lineOf(seeder, (line) => line.startsWith('ready'))).split(' ')

  const rsyncPort = await freePort()
  const config = path.join(folder, 'rsyncd.conf')
  fs.writeFileSync(config, `use chroot = no\n[x]\npath = ${source}\n`)
  // With a socket for stdin it would take itself for a child of inetd.
  const daemon = `exec rsync --daemon --no-detach --port=${rsyncPort} --address=127.0.0.1 --config='${config}' </dev/null`
  start('sh', ['-c', daemon])

  const contenders: Record<string, () => Promise<unknown>> = {
    p2pns: () => network.run('fetcher', 'fetch', 'many.p2p', '-o', out),
    libtorrent: async () => {
      fs.mkdirSync(out)
      const child = swarm.start('leech', out, 0, port)
      await lineOf(child, (line) => line === 'done')
      child.kill('SIGKILL')
    },
    rsync: () => output(start('rsync', ['-a', `rsync://127.0.0.1:${rsyncPort}/x/`, out])),
  }
  const times = new Map<string, number[]>(Object.keys(contenders).map((name) => [name, []]))
  const bytes: number[] = []
  for (let round = 0; round < Number(values.rounds); round++) {
    for (const [name, work] of Object.entries(contenders)) {
      out = path.join(folder, `out${runs++}`)
      times.get(name)?.push(await timed(work))
      execFileSync('diff', ['-r', source, name === 'libtorrent' ? path.join(out, 'source') : out])
      // What is here already would not be fetched again.
      if (name === 'p2pns') await network.run('fetcher', 'unshare', out)
    }
    const file = path.join(folder, `byte${round}`)
    bytes.push(await timed(() => network.run('fetcher', 'fetch', 'byte.p2p', '-o', file)))
  }
  console.log(`${values.files} files of 10 KiB; whole commands; seconds, median / min / max`)
  console.log(`sharing first: p2pns ${shared.toFixed(2)}, libtorrent ${made.toFixed(2)}`)
  for (const [name, seconds] of times) console.log(`${name.padEnd(12)} ${spread(seconds, 2)}`)
  console.log(`1 byte by name: ${spread(bytes, 3)}`)
} finally {
  await stopAll()
  fs.rmSync(folder, { recursive: true, force: true })
}
process.exit()
