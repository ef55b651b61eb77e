/**
 * `npx node test/bench/share.ts [--size 1GiB] [--rounds 5]`: hashing a file for `share`, against as many threads as there are cores that
 * hash SHA-256 of as much in a bare loop, in turns. The file is on /dev/shm; the loop reads nothing.
 */
import * as crypto from 'node:crypto'
import * as fs from 'node:fs'
import { availableParallelism } from 'node:os'
import * as path from 'node:path'
import { parseArgs } from 'node:util'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { hashContent } from '../../node/files/share.ts'
import { fillFile, sizeOf, spread } from './measure.ts'

const BLOCK = 256 * 1024

async function bare(size: number): Promise<number> {
  const cores = availableParallelism()
  const workers = Array.from(
    { length: cores },
    () => new Worker(new URL(import.meta.url), { workerData: { bytes: size / cores } }),
  )
  const next = () => Promise.all(workers.map((worker) => new Promise((resolve) => worker.once('message', resolve))))
  await next()
  const started = performance.now()
  for (const worker of workers) worker.postMessage('go', [])
  await next()
  const seconds = (performance.now() - started) / 1000
  await Promise.all(workers.map((worker) => worker.terminate()))
  return seconds
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { size: { type: 'string', default: '1GiB' }, rounds: { type: 'string', default: '5' } },
  })
  const size = sizeOf(values.size)
  const folder = fs.mkdtempSync('/dev/shm/p2pns-share-')
  const file = path.join(folder, 'file')
  try {
    fillFile(file, size)
    const rounds: [number, number][] = []
    for (let round = 0; round < Number(values.rounds); round++) {
      const started = performance.now()
      await hashContent(file, { leaves: path.join(folder, `leaves${round}`) })
      rounds.push([(performance.now() - started) / 1000, await bare(size)])
    }
    console.log(`${values.size}; median / min / max`)
    console.log(
      `share, whole:     ${spread(
        rounds.map(([ours]) => size / 1e6 / ours),
        0,
      )} MB/s`,
    )
    console.log(
      `SHA-256, bare:    ${spread(
        rounds.map(([, loop]) => size / 1e6 / loop),
        0,
      )} MB/s`,
    )
    console.log(
      `share : bare      ${spread(
        rounds.map(([ours, loop]) => loop / ours),
        2,
      )}`,
    )
  } finally {
    fs.rmSync(folder, { recursive: true, force: true })
  }
}

if (isMainThread) await main()
else {
  const block = crypto.randomBytes(BLOCK)
  parentPort?.once('message', () => {
    for (let done = 0; done < (workerData as { bytes: number }).bytes; done += BLOCK)
      crypto.hash('sha256', block, 'buffer')
    parentPort?.postMessage('done', [])
  })
  parentPort?.postMessage('ready', [])
}
