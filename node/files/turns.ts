/** Long work in steps, between which others get a turn. */
import { setImmediate } from 'node:timers/promises'

export async function inTurns<Result>(steps: Generator<void, Result>): Promise<Result> {
  for (;;) {
    const step = steps.next()
    if (step.done) return step.value
    await setImmediate()
  }
}
