/** Four introducers that witness names together, as real processes: which of them may be gone for what. */
import assert from 'node:assert/strict'
import * as path from 'node:path'
import { test } from 'node:test'
import { Processes, type Started } from '../cli/demo/processes.ts'
import type { Registered, Resolved } from '../node/contract.ts'
import { temporaryFolder } from './helpers/folder.ts'

const COUNT = 4

test('of four introducers one may be away when a name is claimed, and two when it is looked up', async (t) => {
  const folder = await temporaryFolder(t)
  const processes = new Processes()
  t.after(() => processes.stopAll())
  const at = (name: string) => ['--home', path.join(folder, name)]
  const introducer = (i: number, ...args: string[]) => processes.start(['introducer', ...at(`i${i}`), ...args])

  // Each has to have been there once, alone, to have an address that the others can be given.
  const indices = Array.from({ length: COUNT }, (_, i) => i)
  const addresses = await Promise.all(
    indices.map(async (i) => {
      const { firstLine, stop } = await introducer(i, '--listen', '/ip4/127.0.0.1/tcp/0')
      await stop()
      return firstLine
    }),
  )
  const together = addresses.flatMap((address) => ['--witness', address])
  const start = (i: number, ...args: string[]) =>
    introducer(i, '--listen', (addresses[i] as string).replace(/\/p2p\/.*/, ''), ...args)
  // One after the other, since a node may come before all know each other.
  const running: Started[] = []
  for (const i of indices) running.push(await start(i, ...together))
  const kill = (i: number) => (running[i] as Started).kill()

  const [first, , third] = addresses as [string, string, string, string]
  await processes.start(['up', '--no-dns', ...at('a'), '--introducer', first, '--listen', '/ip4/127.0.0.1/tcp/0'])
  const register = async (name: string) => processes.run(['register', name, '--a', '192.0.2.7', '--json', ...at('a')])
  const registered = async (name: string): Promise<Registered> => {
    const { code, stdout, stderr } = await register(name)
    assert.equal(code, 0, `${name}: ${stdout}${stderr}`)
    return JSON.parse(stdout) as Registered
  }
  const resolves = async (name: string, ...args: string[]) => {
    const { code, stdout, stderr } = await processes.run(['resolve', name, 'A', '--json', ...args])
    assert.equal(code, 0, `${name}: ${stdout}${stderr}`)
    const { records, known } = JSON.parse(stdout) as Resolved
    assert.equal(records[0]?.data, '192.0.2.7')
    return known
  }

  assert.equal((await registered('alice.p2p')).kind, 'short')
  const known = await resolves('alice.p2p', ...at('b'), '--introducer', third)
  assert.deepEqual([known.kind, known.witnesses], ['lease', 4])
  assert.ok((known.receipts as number) >= 3)

  // The one that the node was pointed at: it has pinned the realm, and knows the others.
  await kill(0)
  assert.equal((await registered('bob.p2p')).kind, 'short')

  await kill(1)
  await resolves('alice.p2p', ...at('b'))
  await resolves('bob.p2p', ...at('c'), '--introducer', third)
  const refused = await register('carol.p2p')
  assert.equal(refused.code, 6, refused.stdout)
  const { error } = JSON.parse(refused.stderr || refused.stdout) as { error: { code: string; message: string } }
  assert.equal(error.code, 'quorum_missing')
  assert.match(error.message, /needs 3 of the 4 witnesses of its realm, and only 2 of them answer/)
  for (const address of addresses.slice(0, 2)) assert.ok(error.message.includes(address), error.message)

  // The addresses of the others were given once.
  running[1] = await start(1)
  assert.equal((await registered('carol.p2p')).kind, 'short')
})
