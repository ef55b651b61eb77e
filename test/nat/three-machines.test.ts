/** The main job on three machines with addresses of their own, as real processes: a name, a lookup and a file. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import * as path from 'node:path'
import { type TestContext, test } from 'node:test'
import { Processes } from '../../cli/demo/processes.ts'
import type { Fetched, Resolved } from '../../node/contract.ts'
import { temporaryFolder } from '../helpers/folder.ts'
import { cannotRun, createMachines, type Machine } from './machines.ts'

const hasDig = spawnSync('dig', ['-v']).error === undefined

/** Data enough to be seen moving, small enough for every run. */
const SIZE = 20_000_000

async function sha256Of(file: string): Promise<string> {
  return createHash('sha256')
    .update(await readFile(file))
    .digest('hex')
}

async function startNetwork(t: TestContext) {
  const folder = await temporaryFolder(t)
  const processes = new Processes()
  t.after(() => processes.stopAll())
  const [hub, a, b] = createMachines(t, 3) as [Machine, Machine, Machine]
  const home = (name: string) => path.join(folder, name)
  const hubArgs = ['introducer', '--home', home('hub'), '--listen', `/ip4/${hub.address}/tcp/4001`]
  const introducer = await processes.start(hubArgs, hub)
  const up = (name: string, machine: Machine) =>
    processes.start(['up', '--json', '--home', home(name), '--introducer', introducer.firstLine], machine)
  const run = async <T>(name: string, machine: Machine, ...args: string[]): Promise<T> => {
    const { code, stdout, stderr } = await processes.run([...args, '--json', '--home', home(name)], machine)
    assert.equal(code, 0, `${args.join(' ')}: ${stdout}${stderr}`)
    return JSON.parse(stdout || '{}') as T
  }
  const dig = (machine: Machine, ...args: string[]): string => {
    const [command = '', ...rest] = [...machine.within, 'dig', '@127.0.0.1', '-p', '5354', ...args]
    return spawnSync(command, rest, { encoding: 'utf8' }).stdout.trim()
  }
  return { folder, hub, a, b, introducer, up, run, dig }
}

test('a name registered on one machine resolves on another and its file comes straight from the first, also when the introducer is gone', {
  skip: cannotRun(),
}, async (t) => {
  const { folder, a, b, introducer, up, run, dig } = await startNetwork(t)
  const source = path.join(folder, 'film.bin')
  await writeFile(source, randomBytes(SIZE))
  await up('a', a)
  const nodeB = await up('b', b)
  const addressOf = async (...args: string[]) =>
    (await run<Resolved>('b', b, 'resolve', 'alice.p2p', 'A', ...args)).records.map(({ data }) => data)
  const fetchTo = async (name: string): Promise<Fetched> => {
    const out = path.join(folder, name)
    const fetched = await run<Fetched>('b', b, 'fetch', 'alice.p2p', '-o', out)
    assert.equal(await sha256Of(out), await sha256Of(source))
    return fetched
  }

  await run('a', a, 'register', 'alice.p2p', '--a', '192.0.2.7')
  await run('a', a, 'share', source, '--as', 'alice.p2p')
  if (hasDig) {
    assert.equal(dig(b, 'alice.p2p', 'A', '+short'), '192.0.2.7')
    assert.equal(dig(b, 'alice.p2p', 'A', '+short', '+tcp'), '192.0.2.7')
  }
  assert.deepEqual(await addressOf(), ['192.0.2.7'])
  const { peers } = await fetchTo('first.bin')
  // By whichever direct way is up first.
  assert.ok(peers.every(({ path: way }) => way !== 'relayed'))
  assert.equal(
    peers.reduce((sum, { bytes }) => sum + bytes, 0),
    SIZE,
  )

  await introducer.kill()
  await run('b', b, 'cache', 'clear')
  assert.deepEqual(await addressOf(), ['192.0.2.7'])

  await nodeB.kill()
  await up('b', b)
  await run('b', b, 'cache', 'clear')
  assert.deepEqual(await addressOf(), ['192.0.2.7'])
  await rm(path.join(folder, 'first.bin'))
  await fetchTo('second.bin')

  await run('a', a, 'register', 'alice.p2p', '--a', '192.0.2.8')
  assert.deepEqual(await addressOf('--policy', 'network'), ['192.0.2.8'])
})

test('a folder fetched by name on another machine is the same, file by file', { skip: cannotRun() }, async (t) => {
  const { folder, a, b, up, run } = await startNetwork(t)
  const source = path.join(folder, 'site')
  await mkdir(path.join(source, 'deep', 'deeper'), { recursive: true })
  await writeFile(path.join(source, 'index.html'), '<h1>hello</h1>\n')
  await writeFile(path.join(source, 'empty'), '')
  await writeFile(path.join(source, 'deep', 'deeper', 'data'), randomBytes(700_000))
  await up('a', a)
  await up('b', b)
  await run('a', a, 'share', source, '--as', 'site.p2p')
  await run('b', b, 'fetch', 'site.p2p', '-o', path.join(folder, 'copy'))
  const { status, stdout } = spawnSync('diff', ['-r', source, path.join(folder, 'copy')], { encoding: 'utf8' })
  assert.equal(status, 0, stdout)
})
