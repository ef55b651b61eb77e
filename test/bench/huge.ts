/**
 * `npx node test/bench/huge.ts [--size 100GiB]`: a sparse file with a little in it here and there is shared, and a few ranges of it are
 * read by another node: what that takes in time and memory.
 */
import { createHash } from 'node:crypto'
import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import * as path from 'node:path'
import { parseArgs } from 'node:util'
import { P2pnsNetwork } from './contenders/p2pns.ts'
import { costOf, output, sizeOf, start, stopAll } from './measure.ts'

const { values } = parseArgs({ options: { size: { type: 'string', default: '100GiB' } } })
const size = sizeOf(values.size)
const folder = fs.mkdtempSync(path.join(tmpdir(), 'p2pns-huge-'))
const source = path.join(folder, 'huge')

try {
  const file = fs.openSync(source, 'w')
  fs.ftruncateSync(file, size)
  const places = [0, size / 3, size / 2 + 7, size - 2 ** 20].map(Math.floor)
  for (const at of places) fs.writeSync(file, createHash('sha256').update(`${at}`).digest(), 0, 32, at)
  fs.closeSync(file)

  const network = new P2pnsNetwork(folder)
  await network.begin()
  const seeder = await network.up('seeder')
  const reader = await network.up('reader')
  let started = performance.now()
  const cid = String((await network.run('seeder', 'share', source))['cid'])
  console.log(
    `shared in ${((performance.now() - started) / 1000).toFixed(1)} s, peak ${(costOf(seeder).peak / 2 ** 20).toFixed(0)} MiB`,
  )
  const main = path.join(import.meta.dirname, '../../dist/cli/main.js')
  for (const at of places) {
    started = performance.now()
    const range = `${at}-${at + 31}`
    const home = path.join(folder, 'homes', 'reader')
    const text = await output(
      start('sh', [
        '-c',
        `"${process.execPath}" "${main}" cat --home "${home}" ${cid} --range ${range} | od -An -tx1 | tr -d ' \\n'`,
      ]),
    )
    const right = text === createHash('sha256').update(`${at}`).digest('hex')
    console.log(`bytes ${range}: ${right ? 'right' : 'WRONG'}, ${((performance.now() - started) / 1000).toFixed(2)} s`)
  }
  for (const [name, pid] of Object.entries({ seeder, reader })) {
    console.log(`${name}: peak ${(costOf(pid).peak / 2 ** 20).toFixed(0)} MiB`)
  }
} finally {
  await stopAll()
  fs.rmSync(folder, { recursive: true, force: true })
}
process.exit()
