/** Time-outs made by `AbortSignal.timeout`, which the mock timers of node:test leave alone. */
import type { TestContext } from 'node:test'

/** From now on none runs out by itself; the function that is returned lets all of `ms` milliseconds run out. */
export function heldTimeouts(t: TestContext): (ms: number) => void {
  const waiting: { ms: number; controller: AbortController }[] = []
  t.mock.method(AbortSignal, 'timeout', (ms: number) => {
    const controller = new AbortController()
    waiting.push({ ms, controller })
    return controller.signal
  })
  return (ms) => {
    for (const one of waiting.filter((other) => other.ms === ms)) {
      one.controller.abort(new DOMException('The operation timed out', 'TimeoutError'))
    }
  }
}
