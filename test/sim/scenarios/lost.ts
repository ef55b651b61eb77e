/** Witnesses that lose what they have signed: they give nobody a name that may be somebody's. */
import assert from 'node:assert/strict'
import { equalBytes } from '../../../node/core/encoding.ts'
import { isError } from '../../../node/core/errors.ts'
import { parseName } from '../../../node/core/name.ts'
import { claimAndPublish, insist, openHome, renew } from '../home.ts'
import { CALM, Machine } from '../machine.ts'
import { castOf, NAME } from '../realm.ts'
import type { Counts } from '../run.ts'
import type { World } from '../world.ts'

const DAY_MS = 86_400_000

/** Any number of them, at any time of the term: a rival gets nothing, and the owner can renew. */
export async function lostRecords(world: World): Promise<Counts> {
  const { random } = world
  const faults = { loss: random.pick([0, 0.05]), delay: random.pick([5, 500]), twice: 0.1, crash: 0 }
  const cast = castOf(world, { witnesses: random.pick([1, 3, 4, 7]), lies: [], nodes: 8, faults })
  const owner = new Machine(world, 'owner', faults)
  const home = await openHome(owner, random.bytes(32), cast)
  const { own } = await insist(owner, 10, () => claimAndPublish(home, NAME))
  const counts = { refused: 0, renewals: 0 }

  for (let days = 0; days < 100; days += 33) {
    for (const post of cast.posts) if (random.chance(0.4)) post.lose()
    const rival = new Machine(world, `rival-${days}`, faults)
    const den = await openHome(rival, random.bytes(32), cast)
    const refusal = await claimAndPublish(den, NAME).then(
      () => undefined,
      (error: unknown) => error,
    )
    assert.ok(isError(refusal), 'a rival got the name')
    rival.note(`fails: ${refusal.message}`)
    counts.refused++
    await world.wait(33 * DAY_MS)
    await insist(owner, 10, () => renew(home, NAME, own.pair))
    counts.renewals++
  }
  assert.deepEqual(cast.ledger.conflicts(), [])
  assert.deepEqual([...cast.ledger.liars()], [], 'an honest witness signed for two')
  const visitor = await openHome(new Machine(world, 'visitor', CALM), random.bytes(32), cast)
  const { zone } = await visitor.names.lookup(parseName(`${NAME}.p2p`), { policy: 'network' })
  assert.ok(equalBytes(zone.key, own.pair.publicKey))
  return counts
}
