/**
 * `npx node test/bench/kill.ts [--kills 100] [--size 64MiB] [--small 1MiB]`: kill -9 of a fetch as a real process, at random moments, and with
 * strace at every fsync of a small fetch in a home that is new. After each kill: what has the final name is whole, what the map marks is
 * right on disk, the database opens, and the next fetch takes what was marked, fetches the rest, and leaves the file and nothing else.
 * Half of the moments are of the whole process, half of the time from the first file on. Ends with the first thing that is not so.
 */
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import * as path from 'node:path'
import { parseArgs } from 'node:util'
import { Processes, type Ran } from '../../dist/cli/demo/processes.js'
import type { Fetched, Shared } from '../../dist/node/contract.js'
import { CHUNK_SIZE, chunkCount, HASH_SIZE, leavesOf, rootOf } from '../../dist/node/core/tree.js'
import { Layout } from '../../dist/node/files/layout.js'
import { MapShape, readLeavesOf, readMarks } from '../../dist/node/files/map.js'
import { openStore } from '../../dist/node/store.js'
import { fillFile, median, sizeOf, spread } from './measure.ts'

const { values } = parseArgs({
  options: {
    kills: { type: 'string', default: '100' },
    size: { type: 'string', default: '64MiB' },
    small: { type: 'string', default: '1MiB' },
  },
})

const MAIN = path.join(import.meta.dirname, '../../dist/cli/main.js')
const ANY = ['--listen', '/ip4/127.0.0.1/tcp/0']
const folder = fs.mkdtempSync(path.join(tmpdir(), 'p2pns-kill-'))
const home = (name: string): string => path.join(folder, 'homes', name)
const processes = new Processes()

/** One content, and the place that it is fetched to; nothing else is there. */
interface Subject {
  bytes: Buffer
  leaves: Uint8Array
  layout: Layout
  cid: string
  out: string
}

interface Found {
  state: 'nothing' | 'some' | 'all' | 'named'
  /** Bytes of the chunks that are marked. */
  marked: number
}

async function subject(name: string, size: number): Promise<Subject> {
  const source = path.join(folder, name)
  fillFile(source, size)
  const { stdout } = await processes.run(['share', source, '--json', '--home', home('a')])
  const { cid } = JSON.parse(stdout) as Shared
  const bytes = fs.readFileSync(source)
  const leaves = leavesOf(bytes)
  const part = { path: '', size, root: rootOf(leaves), first: 0, count: chunkCount(size) }
  const place = path.join(folder, `${name}-place`)
  fs.mkdirSync(place)
  return { bytes, leaves, layout: new Layout([part]), cid, out: path.join(place, 'got') }
}

function checkWhole({ bytes, out }: Subject): void {
  assert.ok(fs.readFileSync(out).equals(bytes), `${out} has its name and is not whole`)
}

/** What a kill left, after a look at every byte that is said to be there. */
async function look(of: Subject): Promise<Found> {
  const { bytes, leaves, layout, out } = of
  const map = `${out}.part.map`
  if (fs.existsSync(out)) {
    checkWhole(of)
    return { state: 'named', marked: bytes.length }
  }
  if (!fs.existsSync(map)) return { state: 'nothing', marked: 0 }
  const shape = new MapShape(layout)
  const all = { first: 0, count: layout.end }
  const [marks, known] = [await readMarks(map, shape, all), await readLeavesOf(map, shape, all)]
  const part = marks.includes(1) ? fs.readFileSync(`${out}.part`) : Buffer.alloc(0)
  let marked = 0
  for (const [chunk, mark] of marks.entries()) {
    if (mark !== 1) continue
    const [from, to] = [chunk * CHUNK_SIZE, Math.min((chunk + 1) * CHUNK_SIZE, bytes.length)]
    assert.ok(part.subarray(from, to).equals(bytes.subarray(from, to)), `chunk ${chunk} is marked and wrong`)
    const leaf = [chunk * HASH_SIZE, (chunk + 1) * HASH_SIZE] as const
    const same = Buffer.compare(known.subarray(...leaf), leaves.subarray(...leaf)) === 0
    if (layout.end > 1) assert.ok(same, `the leaf of chunk ${chunk} is wrong in the map`)
    marked += to - from
  }
  return { state: marked === 0 ? 'nothing' : marked === bytes.length ? 'all' : 'some', marked }
}

/** Seconds. */
async function reopen(home: string): Promise<number> {
  const started = performance.now()
  const store = await openStore(home)
  const seconds = (performance.now() - started) / 1000
  await store.close()
  return seconds
}

/** Calls `then` when the first file of a fetch to `out` appears or changes. */
function atFirstFile({ out }: Subject, then: () => void): fs.FSWatcher {
  const watcher = fs.watch(path.dirname(out), () => {
    watcher.close()
    then()
  })
  return watcher
}

interface Ended {
  /** Until something changed where the file is made. */
  firstFile: number
  seconds: number
}

/** The fetch that goes on after a kill; seconds from the start of its process. */
async function goOn(of: Subject, args: string[], { state, marked }: Found): Promise<Ended> {
  const started = performance.now()
  const sofar = (): number => (performance.now() - started) / 1000
  let firstFile = Number.NaN
  const watcher = atFirstFile(of, () => (firstFile = sofar()))
  const { code, stdout, stderr } = await processes.run(args)
  const seconds = sofar()
  watcher.close()
  assert.equal(code, 0, stderr)
  const { resumed, peers } = JSON.parse(stdout) as Fetched
  assert.equal(resumed, marked, `what was marked, and what was taken over (${state})`)
  assert.equal(
    peers.reduce((sum, { bytes }) => sum + bytes, resumed),
    of.bytes.length,
    'bytes in all',
  )
  checkWhole(of)
  assert.deepEqual(fs.readdirSync(path.dirname(of.out)), ['got'], `what is left after a kill (${state})`)
  fs.rmSync(of.out)
  return { firstFile, seconds }
}

function tally(found: readonly Found[]): string {
  const states: Record<Found['state'], string> = {
    nothing: 'with no chunk',
    some: 'with some chunks',
    all: 'with every chunk',
    named: 'with the final name',
  }
  return Object.entries(states)
    .map(([state, words]) => `${found.filter((one) => one.state === state).length} ${words}`)
    .join(', ')
}

async function atRandomMoments(of: Subject, args: string[], kills: number): Promise<void> {
  const nothing: Found = { state: 'nothing', marked: 0 }
  const calm: Ended[] = []
  for (let i = 0; i < 5; i++) calm.push(await goOn(of, args, nothing))
  const [found, opened, next]: [Found[], number[], Ended[]] = [[], [], []]
  let tooLate = 0
  while (found.length < kills) {
    // The machine's speed drifts: a moment is one of the fetches just before.
    const latest = [...calm, ...next].filter(({ firstFile }) => firstFile > 0).slice(-5)
    const whole = median(latest.map(({ seconds }) => seconds))
    const late = median(latest.map(({ seconds, firstFile }) => seconds - firstFile))
    const child = spawn(process.execPath, [MAIN, ...args], { stdio: 'ignore' })
    const closed = once(child, 'close')
    const killIn = (seconds: number) => setTimeout(() => child.kill('SIGKILL'), seconds * randomInt(1000))
    let timer: NodeJS.Timeout | undefined
    const watcher = found.length % 2 === 0 ? undefined : atFirstFile(of, () => (timer = killIn(late)))
    if (!watcher) timer = killIn(whole)
    await closed
    watcher?.close()
    clearTimeout(timer)
    const left = await look(of)
    if (child.signalCode !== 'SIGKILL') {
      assert.equal(child.exitCode, 0)
      fs.rmSync(of.out)
      tooLate++
      continue
    }
    found.push(left)
    opened.push(await reopen(home('b')))
    next.push(await goOn(of, args, left))
  }
  const some = found.filter(({ state }) => state === 'some').map(({ marked }) => (marked / of.bytes.length) * 100)
  console.log(`${values.size}, ${kills} kills at random moments, all right: ${tally(found)}`)
  console.log(`${tooLate} more came too late; figures are median / min / max`)
  if (some.length > 0) console.log(`here at a kill between:     ${spread(some, 0)} % of the chunks`)
  console.log(`state reopened:             ${spread(opened, 3)} s`)
  const firsts = next.map(({ firstFile }) => firstFile).filter((seconds) => !Number.isNaN(seconds))
  console.log(`next fetch, to first write: ${spread(firsts, 2)} s`)
  const seconds = (ended: readonly Ended[]) => ended.map(({ seconds }) => seconds)
  console.log(`next fetch, whole process:  ${spread(seconds(next), 2)} s, undisturbed ${spread(seconds(calm), 2)} s`)
}

const SYNCS = ['fsync', 'fdatasync']

/** strace counts the calls of each thread, and of each kind, on their own: one thread makes all, and the kinds take turns. */
async function killedAt(call: string, point: number, args: string[], log: string): Promise<Ran> {
  const inject = `inject=${call}:signal=KILL:when=${point}`
  const within = ['strace', '-f', '-y', '-e', `trace=${call}`, '-e', inject, '-e', 'signal=none', '-o', log]
  return processes.run(args, { within, env: { UV_THREADPOOL_SIZE: '1' } })
}

async function atEveryFsync(of: Subject, fetch: (home: string) => string[]): Promise<void> {
  const log = path.join(folder, 'strace')
  const [found, opened, places]: [Found[], number[], string[]] = [[], [], []]
  for (const call of SYNCS) {
    for (let point = 1; ; point++) {
      const fresh = home(`${call}${point}`)
      const { code, stderr } = await killedAt(call, point, fetch(fresh), log)
      const left = await look(of)
      if (code === 0) break
      assert.ok(code === 128 || code === 137, stderr)
      const calls = [...fs.readFileSync(log, 'utf8').matchAll(/sync\(\d+<([^>]*)>/g)]
      const at = calls.at(-1)?.[1] ?? ''
      places.push(`${call} ${at.startsWith(fresh) ? path.join('HOME', path.relative(fresh, at)) : path.basename(at)}`)
      found.push(left)
      opened.push(await reopen(fresh))
      await goOn(of, fetch(fresh), left)
    }
    fs.rmSync(of.out)
  }
  console.log(`${values.small}, a kill at each of its ${found.length} fsyncs, all right: ${tally(found)}`)
  console.log(`state reopened:             ${spread(opened, 3)} s`)
  for (const [i, place] of places.entries()) console.log(`  ${place}: ${found[i]?.state}`)
}

try {
  const { firstLine: introducer } = await processes.start(['introducer', '--home', home('i'), ...ANY])
  await processes.start(['up', '--json', '--no-dns', '--home', home('a'), '--introducer', introducer, ...ANY])
  const fetch = ({ cid, out }: Subject, home: string): string[] => {
    return ['fetch', cid, '-o', out, '--json', '--home', home, '--introducer', introducer]
  }
  const large = await subject('large', sizeOf(values.size))
  await atRandomMoments(large, fetch(large, home('b')), Number(values.kills))
  if (spawnSync('strace', ['--version']).error) console.log('no strace here: no kills at fsyncs')
  else {
    const small = await subject('small', sizeOf(values.small))
    await atEveryFsync(small, (home) => fetch(small, home))
  }
} finally {
  await processes.stopAll()
  fs.rmSync(folder, { recursive: true, force: true })
}
