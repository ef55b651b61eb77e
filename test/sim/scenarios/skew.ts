/** Clocks that are wrong: by up to an hour at anybody, by ten years at a resolver. */
import assert from 'node:assert/strict'
import { equalBytes } from '../../../node/core/encoding.ts'
import { isError } from '../../../node/core/errors.ts'
import { claimAndPublish, insist, lookUp, openHome } from '../home.ts'
import { Machine } from '../machine.ts'
import { castOf, NAME } from '../realm.ts'
import type { Counts } from '../run.ts'
import type { World } from '../world.ts'

const HOUR = 3_600_000
const YEARS = 10 * 365 * 86_400_000

/** Right answers, or an error that says it is a clock; and with the clocks put right, everybody has what is theirs. */
export async function wrongClocks(world: World): Promise<Counts> {
  const { random } = world
  const counts = { registered: 0, refused: 0, answers: 0, clockErrors: 0 }
  const faults = { loss: random.pick([0, 0.02]), delay: random.pick([20, 500]), twice: 0.05, crash: 0 }
  const cast = castOf(world, { witnesses: random.pick([1, 3, 4, 7]), lies: [], nodes: 12, faults })
  const owner = new Machine(world, 'owner', faults)
  const parties = [owner, ...cast.machines]
  for (const machine of parties) if (random.chance(0.5)) machine.skew = random.between(-HOUR, HOUR)
  if (random.chance(0.3)) for (const machine of parties) machine.skew = Math.round(machine.skew / 30)

  const home = await openHome(owner, random.bytes(32), cast)
  const isNear = cast.posts.every(({ machine }) => Math.abs(machine.skew - owner.skew) < 200_000)
  try {
    await insist(owner, 5, () => claimAndPublish(home, NAME))
    counts.registered++
  } catch (error) {
    // The last of the attempts may have failed for a lost message instead.
    const isLoss = faults.loss > 0 && isError(error) && error.exitCode === 6
    assert.ok(isLoss || isError(error, 'clock_wrong'), `not a clear clock error: ${String(error)}`)
    assert.ok(isLoss || !isNear, 'refused, although every clock is near enough')
    counts.refused++
  }
  await world.wait(random.between(0, 3 * HOUR))
  for (const machine of parties) machine.skew = 0
  // What was signed ahead of the time becomes good when the time has come.
  await world.wait(HOUR)
  const { own } = await insist(owner, 10, () => claimAndPublish(home, NAME))
  await world.wait(HOUR)
  await insist(owner, 5, () => claimAndPublish(home, NAME))

  for (let i = 0; i < 4; i++) {
    const machine = new Machine(world, `resolver-${i}`, faults)
    const resolver = await openHome(machine, random.bytes(32), cast)
    for (const skew of [
      random.pick([0, -YEARS, YEARS]),
      random.between(-HOUR, HOUR),
      random.pick([-YEARS, YEARS]),
      0,
    ]) {
      machine.skew = skew
      const answer = await lookUp(resolver, `${NAME}.p2p`)
      if (typeof answer !== 'string') {
        assert.ok(equalBytes(answer.zone.key, own.pair.publicKey))
        counts.answers++
      } else {
        machine.note(`with its clock ${skew / 1000} s off: ${answer}`)
        assert.ok(skew !== 0, `with the right time: ${answer}`)
        assert.ok(['clock_wrong', 'seq_in_future'].includes(answer), `${skew / 1000} s off: ${answer}`)
        counts.clockErrors++
      }
    }
  }
  return counts
}
