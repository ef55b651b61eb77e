/** Doing a plan and taking it back, below a folder in the place of the root. */
import assert from 'node:assert/strict'
import { chmod, mkdir, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import * as path from 'node:path'
import { type TestContext, test } from 'node:test'
import { Command } from 'commander'
import { defineDns } from '../../cli/commands/dns.ts'
import { applySetup, undoSetup } from '../../cli/dns-setup/apply.ts'
import type { System } from '../../cli/dns-setup/detect.ts'
import { readFacts } from '../../cli/dns-setup/facts.ts'
import type { Answers, Machine } from '../../cli/dns-setup/machine.ts'
import type { Plan } from '../../cli/dns-setup/plan.ts'
import { planFor } from '../../cli/dns-setup/plans.ts'
import { sessionOpener } from '../../cli/session.ts'
import { temporaryFolder } from '../helpers/folder.ts'
import { fakeWorld } from './fake-world.ts'

const AT_53 = { host: '127.0.0.1', port: 53 }

interface Fake extends Machine {
  ran: string[]
  /** Commands that fail. */
  failing: Set<string>
  answers: Answers
}

async function fakeMachine(t: TestContext, files: Record<string, string> = {}): Promise<Fake> {
  const root = await temporaryFolder(t)
  for (const [file, text] of Object.entries(files)) {
    await mkdir(path.dirname(path.join(root, file)), { recursive: true })
    await writeFile(path.join(root, file), text)
  }
  const machine: Fake = {
    platform: 'linux',
    root,
    env: { PATH: '/usr/bin' },
    ran: [],
    failing: new Set(),
    answers: 'all',
    run: async (command) => {
      machine.ran.push(command.join(' '))
      if (machine.failing.has(command[0] ?? '')) throw new Error('exit code 1')
      return ''
    },
    answersAt: async () => machine.answers,
  }
  return machine
}

/** Every file and folder with its mode, and what is in it. */
async function everything({ root }: Machine): Promise<string[]> {
  const names = (await readdir(root, { recursive: true })).sort()
  return Promise.all(
    names.map(async (name) => {
      const file = path.join(root, name)
      const stats = await stat(file)
      return [name, stats.mode.toString(8), stats.isFile() ? await readFile(file, 'latin1') : ''].join(' ')
    }),
  )
}

async function planOn(machine: Machine, system: System, dns = AT_53): Promise<Plan> {
  return planFor(system, await readFacts(machine), dns)
}

const UNBOUND = { '/etc/unbound/unbound.conf': 'include-toplevel: "/etc/unbound/unbound.conf.d/*.conf"\n' }

test('after --undo all files, modes and folders are as they were, byte for byte', async (t) => {
  const text = 'nameserver 192.0.2.1\r\n# caf\xe9 \0'
  const machine = await fakeMachine(t, { ...UNBOUND, '/etc/resolv.conf': '', '/etc/resolvconf.conf': '' })
  await writeFile(path.join(machine.root, 'etc/resolv.conf'), Buffer.from(text, 'latin1'))
  await chmod(path.join(machine.root, 'etc/resolv.conf'), 0o640)
  const before = await everything(machine)
  for (const system of ['resolv.conf', 'unbound', 'systemd-resolved', 'networkmanager', 'resolvconf'] as const) {
    const { blocked: _, ...plan } = await planOn(machine, system)
    assert.equal(await applySetup(plan, machine), true, system)
    assert.notDeepEqual(await everything(machine), before)
    assert.deepEqual((await undoSetup(machine))?.changed, [])
    assert.deepEqual(await everything(machine), before, system)
  }
  assert.equal(await undoSetup(machine), undefined)
})

test('a second --apply does nothing, one with another address first takes the old one back', async (t) => {
  const machine = await fakeMachine(t, { '/etc/resolv.conf': 'nameserver 192.0.2.1\n' })
  const before = await everything(machine)
  assert.equal(await applySetup(await planOn(machine, 'resolv.conf'), machine), true)
  const after = await everything(machine)
  assert.equal(await applySetup(await planOn(machine, 'resolv.conf'), machine), false)
  assert.deepEqual(await everything(machine), after)
  const other = { host: '127.0.0.2', port: 53 }
  assert.equal(await applySetup(await planOn(machine, 'resolv.conf', other), machine), true)
  const text = await readFile(path.join(machine.root, 'etc/resolv.conf'), 'utf8')
  assert.deepEqual(text.match(/^nameserver.*$/gm), ['nameserver 127.0.0.2', 'nameserver 192.0.2.1'])
  await undoSetup(machine)
  assert.deepEqual(await everything(machine), before)
})

test('a setup for another system takes back the one before', async (t) => {
  const machine = await fakeMachine(t, UNBOUND)
  const before = await everything(machine)
  await applySetup(await planOn(machine, 'systemd-resolved'), machine)
  await applySetup(await planOn(machine, 'unbound'), machine)
  assert.equal(
    (await everything(machine)).some((line) => line.includes('resolved')),
    false,
  )
  await undoSetup(machine)
  assert.deepEqual(await everything(machine), before)
})

test('a foreign file, a link and a folder in the place of ours are refused, and nothing is changed', async (t) => {
  const place = 'etc/unbound/unbound.conf.d/p2pns.conf'
  const put: [string, (file: string) => Promise<unknown>][] = [
    ['not made by p2pns', (file) => writeFile(file, 'server:\n')],
    ['not a plain file', (file) => symlink('/dev/null', file)],
    ['not a plain file', (file) => mkdir(file)],
  ]
  for (const [why, make] of put) {
    const machine = await fakeMachine(t, UNBOUND)
    await mkdir(path.dirname(path.join(machine.root, place)))
    await make(path.join(machine.root, place))
    const before = await everything(machine)
    const plan = await planOn(machine, 'unbound')
    await assert.rejects(applySetup(plan, machine), (error: Error) => error.message.includes(why))
    assert.deepEqual([await everything(machine), machine.ran], [before, []])
  }
})

test('when a command fails everything is put back', async (t) => {
  const machine = await fakeMachine(t, UNBOUND)
  const before = await everything(machine)
  machine.failing.add('unbound-checkconf')
  await assert.rejects(applySetup(await planOn(machine, 'unbound'), machine), { code: 'dns_setup_failed' })
  assert.deepEqual(await everything(machine), before)
})

test('when a command of --undo fails the files are back, and --undo can be run again', async (t) => {
  const machine = await fakeMachine(t, { '/etc/resolvconf.conf': '' })
  const before = await everything(machine)
  await applySetup(await planOn(machine, 'resolvconf'), machine)
  machine.failing.add('resolvconf')
  await assert.rejects(undoSetup(machine), { code: 'dns_setup_failed' })
  assert.equal(await readFile(path.join(machine.root, 'etc/resolvconf.conf'), 'utf8'), '')
  machine.failing.clear()
  assert.ok(await undoSetup(machine))
  assert.deepEqual(await everything(machine), before)
})

test('a setup that was cut off can be undone', async (t) => {
  const machine = await fakeMachine(t, { '/etc/NetworkManager/NetworkManager.conf': '' })
  const before = await everything(machine)
  const { blocked: _, ...plan } = await planOn(machine, 'networkmanager')
  await applySetup(plan, machine)
  // As after the receipt and the first of two files.
  await rm(path.join(machine.root, plan.files[1]?.path ?? ''))
  assert.deepEqual((await undoSetup(machine))?.changed, [])
  assert.deepEqual(await everything(machine), before)
})

test('of a file that others have changed since only our lines are taken out', async (t) => {
  const machine = await fakeMachine(t, { '/etc/resolv.conf': 'nameserver 192.0.2.1\n' })
  await applySetup(await planOn(machine, 'resolv.conf'), machine)
  const file = path.join(machine.root, 'etc/resolv.conf')
  await writeFile(file, `${await readFile(file, 'utf8')}search lan\n`)
  assert.deepEqual(await undoSetup(machine), { system: 'resolv.conf', restored: [], changed: ['/etc/resolv.conf'] })
  assert.equal(await readFile(file, 'utf8'), 'nameserver 192.0.2.1\nsearch lan\n')
})

test('nothing is sent through our resolver that does not answer every name', async (t) => {
  const machine = await fakeMachine(t, { '/etc/resolv.conf': 'nameserver 192.0.2.1\n' })
  const before = await everything(machine)
  for (const answers of ['nothing', 'p2p'] as const) {
    machine.answers = answers
    await assert.rejects(applySetup(await planOn(machine, 'resolv.conf'), machine), { code: 'dns_setup_blocked' })
  }
  assert.deepEqual(await everything(machine), before)
})

async function runSetup(machine: Machine, ...args: string[]): Promise<{ out: string; err: string }> {
  const world = fakeWorld()
  const program = new Command().option('--home <dir>').option('--json').option('--quiet').exitOverride()
  defineDns(program, sessionOpener(world, new AbortController().signal), machine)
  await program.parseAsync(['dns', 'setup', ...args], { from: 'user' })
  return { out: world.out(), err: world.err() }
}

test('dns setup shows what it would do, and changes nothing', async (t) => {
  const machine = await fakeMachine(t, {
    ...UNBOUND,
    '/etc/resolv.conf': 'nameserver 127.0.0.1\n',
    '/proc/7/comm': 'unbound\n',
  })
  const before = await everything(machine)
  const { out, err } = await runSetup(machine)
  assert.match(
    out,
    /^system {2}unbound\nasks {4}127\.0\.0\.1:5354\nfile {4}\/etc\/unbound\/unbound\.conf\.d\/p2pns\.conf\n/,
  )
  assert.match(out, /\nrun {5}unbound-checkconf\n/)
  assert.match(err, /Nothing was changed: --apply does it, --undo takes it back\.\n$/)
  assert.deepEqual([await everything(machine), machine.ran], [before, []])
})

test('dns setup --apply --json says what was done, --undo --json what was taken back', async (t) => {
  const machine = await fakeMachine(t, UNBOUND)
  const run = async (...args: string[]) => JSON.parse((await runSetup(machine, '--json', ...args)).out) as object
  const { state, system, dns, files } = (await run('--apply', '--system', 'unbound', '--dns', 'localhost:5355')) as {
    [key: string]: unknown
    files: { path: string }[]
  }
  assert.deepEqual([state, system, dns, files.length], ['applied', 'unbound', '127.0.0.1:5355', 1])
  assert.deepEqual(await run('--undo'), {
    state: 'undone',
    system: 'unbound',
    restored: [files[0]?.path],
    changed: [],
  })
  assert.deepEqual(await run('--undo'), { state: 'unchanged' })
})

test('dns setup takes an address and a port, and does not do and undo at once', async (t) => {
  const machine = await fakeMachine(t)
  for (const args of [
    ['--dns', 'dns.example:53'],
    ['--dns', '127.0.0.1:0'],
  ]) {
    await assert.rejects(runSetup(machine, ...args), { code: 'usage' })
  }
  await assert.rejects(runSetup(machine, '--apply', '--undo'), { code: 'commander.conflictingOption' })
})
