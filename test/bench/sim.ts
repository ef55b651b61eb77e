/**
 * The simulated network, over many seeds. `npx node test/bench/sim.ts --seeds 5000 [--from N] [--scenario race]`
 *
 * A run that fails is printed with its seed and its log; the same seed gives the same run again.
 */
import { parseArgs } from 'node:util'
import { addCounts, type Counts, runSeed, SimFailure } from '../sim/run.ts'
import { SCENARIOS } from '../sim/scenarios/index.ts'

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '1000' },
    from: { type: 'string', default: '1' },
    scenario: { type: 'string' },
    log: { type: 'boolean', default: false },
  },
})
const first = Number(values.from)
const last = first + Number(values.seeds) - 1
let failures = 0

for (const scenario of SCENARIOS.filter(({ name }) => values.scenario === undefined || name === values.scenario)) {
  const sum: Counts = {}
  const failed: number[] = []
  const start = performance.now()
  for (let seed = first; seed <= last; seed++) {
    try {
      const { counts, log } = await runSeed(scenario, seed)
      addCounts(sum, counts)
      if (values.log) console.log(log.join('\n'))
    } catch (error) {
      if (!(error instanceof SimFailure)) throw error
      failed.push(seed)
      console.error(error.message)
    }
  }
  failures += failed.length
  const seconds = ((performance.now() - start) / 1000).toFixed(1)
  const outcome = failed.length === 0 ? 'all hold' : `FAILED with ${failed.join(' ')}`
  console.log(`${scenario.name}: seeds ${first} to ${last} in ${seconds} s, ${outcome}; ${JSON.stringify(sum)}`)
}
process.exitCode = failures === 0 ? 0 : 1
