/**
 * Every command that README.md and docs/cli.md show is run, each document against an introducer and two nodes of its own on
 * this machine, and the output shown must be like the real one. In a ```console block a line `$ COMMAND` is run; the word
 * after `console` is the machine, `a` (the default) or `b`; the lines after it are what it printed, `...` stands for any
 * lines. `INTRODUCER` is the address of the introducer, `CID` what the last `share` printed, `ID` the transfer that changed
 * last. A fetch that ends with `&` is left running as soon as it is under way.
 */
import assert from 'node:assert/strict'
import { execFile, spawnSync } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import * as os from 'node:os'
import * as path from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import type { Command } from 'commander'
import { Processes, type Ran } from '../cli/demo/processes.ts'
import { createProgram } from '../cli/program.ts'
import { realWorld } from '../cli/world.ts'
import type { Transfer } from '../node/contract.ts'

const ROOT = path.join(import.meta.dirname, '..')
const LOOPBACK = ['--listen', '/ip4/127.0.0.1/tcp/0']

interface Example {
  machine: string
  command: string
  shown: string[]
}

function examplesOf(markdown: string): Example[] {
  const examples: Example[] = []
  for (const [, machine, body = ''] of markdown.matchAll(/^```console ?(\w*)\n(.*?)^```$/gms)) {
    for (const line of body.trimEnd().split('\n')) {
      if (line.startsWith('$ ')) examples.push({ machine: machine || 'a', command: line.slice(2), shown: [] })
      else examples.at(-1)?.shown.push(line)
    }
  }
  return examples
}

/** Words as a shell splits them; quotes and blanks are all that the documents use. */
function words(command: string): string[] {
  return [...command.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain ?? '')
}

/** The ids of this run, the figures of this machine and where its folders stand, made alike. */
const ALIKE: [RegExp, string][] = [
  [/[A-Za-z0-9]{46,}/g, 'ID'],
  [/^\w{5} +(?=running |paused |done |is forgotten)/, 'TRANSFER '],
  [/^[0-7]{3} +(?=\S+ )/, 'MODE '],
  [/\d+(\.\d+)? [kM]?B\b/g, 'SIZE'],
  [/\d+(\.\d+)? s\b/g, 'TIME'],
  [/\((direct-tcp|reversed-tcp|punched-tcp|punched-udp|lan)\)/g, '(PATH)'],
  [/(?<![\w.])\/(?!ip4\/)(?:[\w.-]+\/)+/g, '/'],
]

/** What of a line must agree: of an error, a transfer and a line of figures all that can be alike, else the first word. */
function gist(line: string): string {
  const alike = ALIKE.reduce((text, [what, name]) => text.replaceAll(new RegExp(what, 'g'), name), line.trim())
  if (/^(error: |SIZE|MODE|\d+ )/.test(alike)) return alike.replaceAll(/\s+/g, ' ')
  const [first = '', second = ''] = alike.split(/\s+/)
  if (first.startsWith('/ip4/')) return '/ip4/'
  return first === 'TRANSFER' ? `${first} ${second}` : first
}

/** An object is like another that has at least its keys. */
function isLike(shown: string, real: string): boolean {
  if (!shown.startsWith('{')) return gist(shown) === gist(real)
  if (!real.startsWith('{')) return false
  const keys = Object.keys(JSON.parse(real) as object)
  return Object.keys(JSON.parse(shown) as object).every((key) => keys.includes(key))
}

/** Every line shown is there, in the order shown. */
function assertLike(shown: string[], real: string): void {
  const found = real.split('\n')
  for (const line of shown.filter((text) => text !== '...')) {
    const at = found.findIndex((candidate) => isLike(line, candidate))
    assert.notEqual(at, -1, `the documents show "${line}"; really printed:\n${real}`)
    found.splice(0, at + 1)
  }
}

interface Machine {
  home: string
  cwd: string
  dnsPort: string
}

/** An introducer and two nodes, `a` and `b`, each with a folder to work in. */
async function startNetwork(processes: Processes, folder: string) {
  const ready = async <T>(...args: string[]): Promise<T> => JSON.parse((await processes.start(args)).firstLine) as T
  const introducer = await ready<{ address: string }>(
    'introducer',
    '--json',
    '--home',
    path.join(folder, 'm'),
    ...LOOPBACK,
  )
  const machines = new Map<string, Machine>()
  for (const machine of ['a', 'b']) {
    const [home, cwd] = [path.join(folder, machine), path.join(folder, `${machine}-work`)]
    await mkdir(path.join(cwd, 'photos', '2026'), { recursive: true })
    await writeFile(path.join(cwd, 'photos', 'readme.txt'), 'Pictures of the sea.\n')
    await writeFile(path.join(cwd, 'photos', 'empty.txt'), '')
    await writeFile(path.join(cwd, 'photos', '2026', 'beach.raw'), Buffer.alloc(300_000, machine))
    await writeFile(path.join(cwd, 'notes.txt'), 'Remember the milk.\n')
    if (machine === 'a') await writeFile(path.join(cwd, 'film.mkv'), Buffer.alloc(5_000_000, 'film'))
    const network = ['--introducer', introducer.address, '--dns', '127.0.0.1:0', ...LOOPBACK]
    const { dns } = await ready<{ dns: string }>('up', '--json', '--home', home, ...network)
    machines.set(machine, { home, cwd, dnsPort: dns.slice(dns.lastIndexOf(':') + 1) })
  }
  return { introducer: introducer.address, machines }
}

test('every command in the documents works as shown', async (t) => {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'p2pns-docs-'))
  const processes = new Processes()
  t.after(async () => {
    await processes.stopAll()
    await rm(folder, { recursive: true, force: true })
  })
  const scripts = (JSON.parse(await readFile(path.join(ROOT, 'package.json'), 'utf8')) as { scripts: object }).scripts
  const hasDig = spawnSync('dig', ['-v']).error === undefined
  let fresh = 0

  /** Long-running commands run in a home of their own until they are ready; ports are any, addresses loopback. */
  async function runStaying(args: string[], cwd: string): Promise<Ran> {
    const local = args.map((arg) =>
      arg.replace('/ip4/0.0.0.0/tcp/4001', '/ip4/127.0.0.1/tcp/0').replace(/^127\.0\.0\.1:\d+$/, '127.0.0.1:0'),
    )
    if (!local.includes('--listen')) local.push(...LOOPBACK)
    if (local[0] === 'up' && !local.includes('--dns')) local.push('--dns', '127.0.0.1:0')
    const started = await processes.start([...local, '--home', path.join(folder, `fresh${++fresh}`)], { cwd })
    return started.stop()
  }

  /** The one that changed last; undefined: there is none. */
  async function transferOf({ home, cwd }: Machine): Promise<Transfer | undefined> {
    const { stdout } = await processes.run(['transfers', '--json', '--home', home], { cwd })
    const [first] = stdout.split('\n')
    return first ? (JSON.parse(first) as Transfer) : undefined
  }

  /** Until bytes came; nobody waits for its end. */
  async function runBehind(args: string[], machine: Machine): Promise<void> {
    let ended: Ran | undefined
    void processes.run([...args, '--home', machine.home], { cwd: machine.cwd }).then((ran) => (ended = ran))
    for (;;) {
      const transfer = await transferOf(machine)
      if (transfer?.state === 'running' && transfer.done > 0) return
      assert.equal(ended, undefined, 'it ended before it was under way')
    }
  }

  for (const file of ['README.md', 'docs/cli.md']) {
    const network = await startNetwork(processes, path.join(folder, path.basename(file)))
    let cid = 'CID'
    for (const { machine, command, shown } of examplesOf(await readFile(path.join(ROOT, file), 'utf8'))) {
      await t.test(`${file}: ${command}`, async (t) => {
        const place = network.machines.get(machine)
        assert.ok(place, `there is no machine "${machine}"`)
        let line = command.replace('INTRODUCER', network.introducer).replace('-p 5354', `-p ${place.dnsPort}`)
        line = line.replace(/\bCID\b/, cid)
        if (/\bID\b/.test(line)) line = line.replace(/\bID\b/, (await transferOf(place))?.id ?? 'none')
        const [program, ...args] = words(line)

        if (program === 'npm') {
          for (const [, script] of line.matchAll(/npm (?:run )?(\w+)/g)) {
            assert.ok(script === 'ci' || (script && script in scripts), `there is no script "${script}"`)
          }
        } else if (program === 'dig') {
          if (!hasDig) return t.skip('dig is not installed')
          assertLike(shown, (await promisify(execFile)('dig', args)).stdout)
        } else {
          assert.equal(`${program} ${args[0]}`, 'npx p2pns')
          const p2pns = args.slice(1)
          if (p2pns.at(-1) === '&') return runBehind(p2pns.slice(0, -1), place)
          const stays = p2pns[0] === 'up' || p2pns[0] === 'introducer'
          const { code, stdout, stderr } = stays
            ? await runStaying(p2pns, place.cwd)
            : await processes.run([...p2pns, '--home', place.home], { cwd: place.cwd })
          const fails = shown.some((text) => /^(error: |\{"error")/.test(text))
          assert.equal(code !== 0, fails, `exit code ${code}: ${stdout}${stderr}`)
          if (p2pns[0] === 'share') cid = /bafy\w+/.exec(stdout)?.[0] ?? cid
          // Which of the two streams a line is on is told by the tests of the commands.
          assertLike(shown, `${stdout}\n${stderr}`)
        }
      })
    }
    // Both tell of the same names: they must not meet on this machine.
    await processes.stopAll()
  }
})

test('the command line is told of as a whole', async () => {
  const told = await readFile(path.join(ROOT, 'docs', 'cli.md'), 'utf8')
  const check = (command: Command, names: string[]): void => {
    for (const { long } of command.options) {
      assert.match(told, new RegExp(`${long}(?![\\w-])`), `docs/cli.md lacks ${[...names, long].join(' ')}`)
    }
    for (const inner of command.commands) {
      const title = [...names, inner.name()].join(' ')
      assert.match(told, new RegExp(`\\b${title}\\b`), `docs/cli.md lacks \`${title}\``)
      check(inner, [...names, inner.name()])
    }
  }
  check(createProgram(realWorld(), new AbortController().signal), [])
})
