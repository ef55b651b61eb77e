/** One run of a scenario: a seed in, an outcome out, and the whole log with a run that fails. */
import { World } from './world.ts'

/** What a run counts, summed over all runs. */
export type Counts = Record<string, number>

/** Throws when a property does not hold. */
export type Scenario = (world: World) => Promise<Counts>

export class SimFailure extends Error {
  constructor(scenario: string, seed: number, log: readonly string[], cause: unknown) {
    const why = cause instanceof Error ? cause.message : String(cause)
    super(`${scenario}, seed ${seed}: ${why}\n${log.join('\n')}`, { cause })
  }
}

/** Errors: SimFailure. */
export async function runSeed(scenario: Scenario, seed: number): Promise<{ counts: Counts; log: readonly string[] }> {
  const world = new World(seed)
  try {
    return { counts: await world.run(() => scenario(world)), log: world.log }
  } catch (error) {
    throw new SimFailure(scenario.name, seed, world.log, error)
  }
}

export function addCounts(sum: Counts, more: Counts): void {
  for (const [what, count] of Object.entries(more)) sum[what] = (sum[what] ?? 0) + count
}
