/** Several attempts at the same thing, each a head start before the next, as RFC 8305 has it for addresses. */
import { setTimeout } from 'node:timers/promises'

/** The first that works; a failure starts the next at once, and the others are stopped. Errors: that of the last to fail. */
export async function firstOf<T>(
  attempts: readonly ((signal: AbortSignal) => Promise<T>)[],
  headStart: number,
  signal: AbortSignal,
): Promise<T> {
  const done = new AbortController()
  const stop = AbortSignal.any([signal, done.signal])
  const running: Promise<T>[] = []
  try {
    for (const attempt of attempts) {
      const run = attempt(stop)
      running.push(run)
      const failed = run.then(
        () => false,
        () => true,
      )
      const pause = setTimeout(headStart, true, { signal: stop }).catch(() => true)
      if (!(await Promise.race([failed, pause])) || stop.aborted) break
    }
    return await Promise.any(running)
  } catch (cause) {
    throw cause instanceof AggregateError ? cause.errors.at(-1) : cause
  } finally {
    done.abort()
  }
}
