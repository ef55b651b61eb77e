import assert from 'node:assert/strict'
import { test } from 'node:test'
import { addCounts, type Counts, runSeed, type Scenario } from './run.ts'
import { lostRecords } from './scenarios/lost.ts'
import { calmRace, overrun, race } from './scenarios/race.ts'
import { wrongClocks } from './scenarios/skew.ts'
import { hostileStorage } from './scenarios/storage.ts'
import { lostKey, stolenKey } from './scenarios/theft.ts'

/** A run that fails says how to see it again: `npx node test/bench/sim.ts --scenario NAME --from SEED --seeds 1`. */
async function runSeeds(scenario: Scenario, seeds: number): Promise<Counts> {
  const sum: Counts = {}
  for (let seed = 1; seed <= seeds; seed++) addCounts(sum, (await runSeed(scenario, seed)).counts)
  return sum
}

test('a seed gives the same run, line by line', async () => {
  for (const scenario of [race, stolenKey]) {
    const [first, again, other] = [await runSeed(scenario, 7), await runSeed(scenario, 7), await runSeed(scenario, 8)]
    assert.deepEqual(again.log, first.log)
    assert.notDeepEqual(other.log, first.log)
  }
})

test('of 2 to 5 claimants never two get the name, while no more witnesses lie than the quorum tolerates', async () => {
  const { owned = 0, unowned = 0 } = await runSeeds(race, 80)
  assert.ok(owned > 0 && unowned > 0, 'the network is too kind, or too cruel, to show anything')
})

test('with nothing in their way exactly one of those who claim a name together gets it', async () => {
  await runSeeds(calmRace, 20)
})

test('with more liars there may be two owners, and every time there is a proof that names a liar and no honest one', async () => {
  const { conflicts = 0 } = await runSeeds(overrun, 40)
  assert.ok(conflicts > 10)
})

test('with 30 % of the storing nodes hostile, 99 % of lookups give the newest record that an honest one holds', async () => {
  const { lookups = 0, newest = 0 } = await runSeeds(hostileStorage, 10)
  assert.ok(newest >= 0.99 * lookups, `${newest} of ${lookups}`)
})

test('wrong clocks lead to right answers or to a clock error, and to no lost name', async () => {
  const { registered = 0, refused = 0, answers = 0, clockErrors = 0 } = await runSeeds(wrongClocks, 30)
  for (const count of [registered, refused, answers, clockErrors]) assert.ok(count > 0)
})

test("a witness that has lost its records gives nobody a name that may be somebody's, and its owner can renew it", async () => {
  await runSeeds(lostRecords, 10)
})

test('whoever has stolen an owner key can neither give the name away nor outlive the rotation', async () => {
  await runSeeds(stolenKey, 10)
})

test('the recovery key brings back a name whose owner key is lost', async () => {
  await runSeeds(lostKey, 15)
})
