import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Diagnosis } from '../../node/contract.ts'
import { judge } from '../../node/core/nat.ts'
import { runFake } from './fake-world.ts'

const DIAGNOSIS: Diagnosis = {
  nat: judge({ local: [], seen: [], silent: [] }),
  addresses: [],
  hasUdp: true,
  portMapping: { state: 'off', mapped: [] },
  introducers: [],
  findings: [
    { level: 'good', what: 'IPv4' },
    { level: 'bad', what: 'no introducer answers', todo: 'check the address' },
  ],
}

test('doctor prints each finding with a sign, and what to do below it', async () => {
  const asked: unknown[] = []
  const node = { diagnose: async (options?: { peer?: string }) => (asked.push(options?.peer), DIAGNOSIS) }
  const { code, out } = await runFake(['doctor', 'alice.p2p'], { running: true, node })
  assert.deepEqual([code, out], [0, '✓ IPv4\n✗ no introducer answers\n    check the address\n'])
  assert.deepEqual(asked, ['alice.p2p'])
})

test('doctor --json prints all that was found', async () => {
  const { out } = await runFake(['doctor', '--json'], { running: true, node: { diagnose: async () => DIAGNOSIS } })
  assert.deepEqual(JSON.parse(out), JSON.parse(JSON.stringify(DIAGNOSIS)))
})
