import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isError } from '../../node/core/errors.ts'
import type { FoundZone } from '../../resolver/answer.ts'
import { Lookups } from '../../resolver/lookups.ts'
import { NOW, zoneOf } from './harness.ts'

const found: FoundZone = { zone: zoneOf([]), expiresAt: NOW, stale: false }
const tooMany = { code: 'timed_out', what: 'Too many names are being looked up' }

/** Lookups that end when they are told to, by apex; `ended` holds what was given up. */
function setUp() {
  const finish = new Map<string, () => void>()
  const ended: string[] = []
  const lookups = new Lookups<FoundZone>({
    timeout: 60_000,
    stopped: new AbortController().signal,
    lookup: (apex, { signal }) =>
      new Promise((resolve) => {
        finish.set(apex, () => resolve(found))
        signal.addEventListener('abort', () => ended.push(apex))
      }),
  })
  /** Asks for `count` zones; what fails is told by `failed`. */
  const failed: string[] = []
  const ask = (client: string, count: number, name = client) =>
    Array.from({ length: count }, (_, i) => {
      const asked = lookups.find(`${name}-${i}.p2p`, client)
      asked.catch(() => failed.push(`${name}-${i}.p2p`))
      return asked
    })
  const end = () => {
    for (const done of finish.values()) done()
  }
  return { lookups, finish, ended, failed, ask, end }
}

test('one client may take all, until another asks: then its oldest give way', async () => {
  const { finish, ended, failed, ask, end } = setUp()
  void ask('10.0.0.1', 256)
  const [refused] = ask('10.0.0.1', 1, 'more')
  assert.ok(refused)
  await assert.rejects(refused, tooMany)
  assert.deepEqual(ended, [])
  const asked = ask('10.0.0.2', 200)
  const results = Promise.allSettled(asked)
  finish.get('10.0.0.2-0.p2p')?.()
  assert.equal((await asked[0])?.zone, found.zone)
  end()
  const served = (await results).filter(({ status }) => status === 'fulfilled').length
  assert.equal(served, 128, 'both hold as many then')
  assert.deepEqual(ended.slice(0, 2), ['10.0.0.1-0.p2p', '10.0.0.1-1.p2p'])
  assert.ok(failed.includes('10.0.0.1-0.p2p'))
})

test('a lookup that a modest client shares is not given up for what a greedy one began', async () => {
  const { ended, ask, end } = setUp()
  void ask('10.0.0.1', 256, 'zone')
  const [shared] = ask('10.0.0.2', 1, 'zone')
  void ask('10.0.0.3', 100)
  assert.equal(ended.length, 100)
  assert.ok(!ended.includes('zone-0.p2p'))
  end()
  assert.equal((await shared)?.zone, found.zone)
})

test('one client has at most a quarter of the questions that wait', async () => {
  const { lookups, end } = setUp()
  const waiting = Array.from({ length: 1_024 }, () => lookups.find('slow.p2p', '10.0.0.1'))
  await assert.rejects(lookups.find('slow.p2p', '10.0.0.1'), (error) => isError(error, 'timed_out'))
  const other = lookups.find('slow.p2p', '10.0.0.2')
  end()
  assert.equal((await other).zone, found.zone)
  await Promise.all(waiting)
})
