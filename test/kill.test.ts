/** kill -9 of a fetch, as real processes: what was verified stays, what is not whole never has the final name. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, watch } from 'node:fs'
import { readFile, rm, writeFile } from 'node:fs/promises'
import * as path from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { Processes } from '../cli/demo/processes.ts'
import type { Fetched } from '../node/contract.ts'
import { CHUNK_SIZE } from '../node/core/tree.ts'
import { MAP_HEAD } from '../node/files/map.ts'
import { temporaryFolder } from './helpers/folder.ts'

const MAIN = fileURLToPath(new URL('../cli/main.ts', import.meta.url))
const LISTEN = ['--listen', '/ip4/127.0.0.1/tcp/0']
const ROUNDS = 20
const SIZE = 80_000_000
const CHUNKS = Math.ceil(SIZE / CHUNK_SIZE)
/** Milliseconds from the first byte on disk to the kill, at most; the whole fetch takes about twice that. */
const LATEST = 100

/** Chunks that the map of a broken download says are there. */
async function marked(out: string): Promise<number> {
  if (!existsSync(`${out}.part.map`)) return 0
  const marks = (await readFile(`${out}.part.map`)).subarray(MAP_HEAD, MAP_HEAD + CHUNKS)
  return marks.filter((mark) => mark === 1).length
}

test('a fetch that is killed twenty times goes on where it was and ends right', async (t) => {
  const folder = await temporaryFolder(t)
  const processes = new Processes()
  t.after(() => processes.stopAll())
  const [source, out] = [path.join(folder, 'film.bin'), path.join(folder, 'got.bin')]
  const content = randomBytes(SIZE)
  await writeFile(source, content)
  const isRight = async () =>
    createHash('sha256')
      .update(await readFile(out))
      .digest()
      .equals(createHash('sha256').update(content).digest())

  const introducer = (await processes.start(['introducer', '--home', path.join(folder, 'i'), ...LISTEN])).firstLine
  await processes.start([
    'up',
    '--json',
    '--no-dns',
    '--home',
    path.join(folder, 'a'),
    '--introducer',
    introducer,
    ...LISTEN,
  ])
  await processes.run(['share', source, '--as', 'film.p2p', '--home', path.join(folder, 'a')])
  const fetch = ['fetch', 'film.p2p', '-o', out, '--json', '--home', path.join(folder, 'b'), '--introducer', introducer]

  let before = 0
  for (let round = 0; round < ROUNDS; round++) {
    const child = spawn(process.execPath, [MAIN, ...fetch], { stdio: 'ignore' })
    const closed = once(child, 'close')
    const begun = watch(folder, (_event, file) => {
      if (file === 'got.bin.part.map') setTimeout(() => child.kill('SIGKILL'), (LATEST * round) / ROUNDS)
    })
    await closed
    begun.close()
    if (existsSync(out)) {
      assert.ok(await isRight(), 'what has the final name is whole')
      await rm(out)
      before = 0
      continue
    }
    const after = await marked(out)
    assert.ok(after >= before, `${before} chunks were there, now ${after}`)
    before = after
  }

  const { stdout, code } = await processes.run(fetch)
  assert.equal(code, 0, stdout)
  const { resumed, peers } = JSON.parse(stdout) as Fetched
  const fetched = peers.reduce((sum, { bytes }) => sum + bytes, 0)
  assert.equal(resumed + fetched, SIZE)
  assert.ok(resumed >= before * CHUNK_SIZE - CHUNK_SIZE, 'no chunk that was marked is fetched again')
  assert.ok(await isRight())
})
