import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Command } from 'commander'
import { defineReceive } from '../../cli/commands/receive.ts'
import { defineRelease } from '../../cli/commands/release.ts'
import { defineRenew } from '../../cli/commands/renew.ts'
import { defineRotate } from '../../cli/commands/rotate.ts'
import { defineTransfer } from '../../cli/commands/transfer.ts'
import type { Secrets } from '../../cli/secrets.ts'
import { sessionOpener } from '../../cli/session.ts'
import { toZ32 } from '../../node/core/encoding.ts'
import { P2pnsError } from '../../node/core/errors.ts'
import type { Changed, NameChanges } from '../../node/handover.ts'
import { wordsOf } from '../../node/words.ts'
import { fakeWorld, KEY_NAME } from './fake-world.ts'

const SEED = new Uint8Array(32).fill(7)
const CHANGED: Changed = {
  name: 'alice.p2p',
  keyName: KEY_NAME,
  version: 1,
  until: '2027-02-18T00:00:00.000Z',
  stored: 3,
  notes: ['mind the gap'],
}

async function run(argv: string[], options: { running?: boolean; answer?: Partial<Changed>; fails?: boolean } = {}) {
  const calls: unknown[][] = []
  const told: string[] = []
  const change = (method: string) => async (request: object) => {
    calls.push([method, request])
    if (options.fails) throw new P2pnsError('recovery_wrong', 'It is not')
    return { ...CHANGED, ...options.answer }
  }
  const changes: NameChanges = {
    transfer: change('transfer'),
    rotate: change('rotate'),
    release: change('release'),
    renew: change('renew'),
    receive: async (request) => {
      calls.push(['receive', request])
      return { name: 'alice.p2p', address: 'key.hash.check', recovery: toZ32(SEED) }
    },
    recoveryShown: async (name) => {
      calls.push(['recoveryShown', name])
      told.push(world.out())
    },
  }
  const world = fakeWorld({ running: options.running ?? true, node: changes })
  const secrets: Secrets = { ask: async ({ what, variable }) => `${what} (${variable})` }
  const program = new Command('p2pns').option('--home <dir>').option('--json').exitOverride()
  program.configureOutput({ writeOut: (text) => void world.stdout.write(text), writeErr: () => {} })
  const open = sessionOpener(world, new AbortController().signal)
  defineTransfer(program, open, secrets)
  defineRotate(program, open, secrets)
  defineRelease(program, open, secrets)
  defineRenew(program, open)
  defineReceive(program, open)
  await program.parseAsync(argv, { from: 'user' })
  return { out: world.out(), err: world.err(), calls, told, engine: world.calls }
}

test('a change takes the recovery key from its option, or asks for it', async () => {
  const asked = 'Recovery key of alice.p2p (P2PNS_RECOVERY)'
  const cases: [string[], unknown[]][] = [
    [
      ['transfer', 'alice.p2p', '--to', 'ADDRESS'],
      ['transfer', { name: 'alice.p2p', to: 'ADDRESS', recovery: asked }],
    ],
    [
      ['transfer', 'alice.p2p', '--to', 'ADDRESS', '--recovery', 'KEY'],
      ['transfer', { name: 'alice.p2p', to: 'ADDRESS', recovery: 'KEY' }],
    ],
    [
      ['rotate', 'alice.p2p'],
      ['rotate', { name: 'alice.p2p', recovery: asked }],
    ],
    [
      ['release', 'alice.p2p', '--recovery', 'KEY'],
      ['release', { name: 'alice.p2p', recovery: 'KEY' }],
    ],
    [
      ['renew', 'alice.p2p'],
      ['renew', { name: 'alice.p2p' }],
    ],
  ]
  for (const [argv, call] of cases) {
    const { calls, out, err } = await run(argv)
    assert.deepEqual(calls, [call])
    assert.match(out, /^name {6}alice\.p2p\n/)
    assert.match(err, /note: mind the gap\n/)
  }
})

test('a new recovery key is shown in z-base-32 and as words, and forgotten only after that', async () => {
  const { out, err, calls, told } = await run(['rotate', 'alice.p2p'], { answer: { recovery: toZ32(SEED) } })
  assert.ok(out.includes(toZ32(SEED)))
  assert.ok(out.includes(wordsOf(SEED)))
  assert.match(err, /shown only now/)
  assert.deepEqual(calls.at(-1), ['recoveryShown', 'alice.p2p'])
  assert.deepEqual(told, [out])
  const json = JSON.parse((await run(['rotate', 'alice.p2p', '--json'], { answer: { recovery: toZ32(SEED) } })).out)
  assert.deepEqual(json, { ...CHANGED, recovery: toZ32(SEED), words: wordsOf(SEED) })
})

test('an address comes with the recovery key that the name will have', async () => {
  const { out, calls } = await run(['receive', 'alice.p2p'])
  assert.match(out, /address {7}key\.hash\.check\n/)
  assert.ok(out.includes(wordsOf(SEED)))
  assert.deepEqual(calls, [['receive', { name: 'alice.p2p' }]])
})

test('with none running a node is started for the change and stopped after it, also when it failed', async () => {
  const { engine } = await run(['renew', 'alice.p2p', '--introducer', 'X'], { running: false })
  assert.deepEqual(engine.slice(1), [
    ['createNode', { home: '/home/alice/.local/share/p2pns', introducers: ['X'], visitor: true }],
    ['stop'],
  ])
  await assert.rejects(run(['rotate', 'alice.p2p'], { fails: true }), { code: 'recovery_wrong' })
})

test('every command shows examples in its help, and a transfer says to whom', async () => {
  for (const command of ['transfer', 'rotate', 'release', 'renew', 'receive']) {
    await assert.rejects(run([command, '--help']), { code: 'commander.helpDisplayed' })
  }
  await assert.rejects(run(['transfer', 'alice.p2p']), { code: 'commander.missingMandatoryOptionValue' })
})
