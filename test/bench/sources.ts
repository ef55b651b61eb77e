/**
 * `npx node test/bench/sources.ts [--size 256MiB] [--rate 20] [--rounds 3]`: one downloader and one, two, four sources that may send
 * `rate` MB/s each; what it gets, against their sum. Real nodes; the sources have the file from the first one.
 */
import { execFileSync } from 'node:child_process'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { parseArgs } from 'node:util'
import { P2pnsNetwork } from './contenders/p2pns.ts'
import { fillFile, sizeOf, spread, stopAll } from './measure.ts'

const { values } = parseArgs({
  options: {
    size: { type: 'string', default: '256MiB' },
    rate: { type: 'string', default: '20' },
    rounds: { type: 'string', default: '3' },
  },
})
const size = sizeOf(values.size)
const folder = fs.mkdtempSync('/dev/shm/p2pns-sources-')
const source = path.join(folder, 'file')

async function measure(count: number): Promise<number> {
  const network = new P2pnsNetwork(path.join(folder, `net${count}`))
  await network.begin()
  const names = Array.from({ length: count }, (_, i) => `source${i}`)
  for (const name of names) await network.up(name)
  const { cid } = await network.run('source0', 'share', source)
  for (const name of names.slice(1)) {
    await network.run(name, 'fetch', String(cid), '-o', path.join(folder, `${count}-${name}`))
  }
  for (const name of names) await network.run(name, 'limits', '--up', `${values.rate}MB`)
  await network.up('fetcher')
  const out = path.join(folder, 'out')
  const started = performance.now()
  await network.run('fetcher', 'fetch', String(cid), '-o', out)
  const seconds = (performance.now() - started) / 1000
  execFileSync('cmp', [source, out])
  for (const name of fs.readdirSync(folder))
    if (name !== 'file') fs.rmSync(path.join(folder, name), { recursive: true, force: true })
  await stopAll()
  return size / 1e6 / seconds
}

try {
  fillFile(source, size)
  const rates = new Map<number, number[]>([1, 2, 4].map((count) => [count, []]))
  for (let round = 0; round < Number(values.rounds); round++) {
    for (const [count, list] of rates) list.push(await measure(count))
  }
  console.log(`${values.size}, ${values.rate} MB/s each; whole command; median / min / max`)
  for (const [count, list] of rates) {
    const shares = list.map((rate) => rate / (count * Number(values.rate)))
    console.log(`${count} sources: ${spread(list, 1)} MB/s, ${spread(shares, 2)} of their sum`)
  }
} finally {
  await stopAll()
  fs.rmSync(folder, { recursive: true, force: true })
}
process.exit()
