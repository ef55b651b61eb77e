/** Ctrl-C: the first asks for a clean stop, a second one ends the process at once. */
import { ERRORS, P2pnsError } from '../node/core/errors.ts'
import type { World } from './world.ts'

/**
 * One Ctrl-C can arrive twice: the terminal signals the whole process group, and npm (`npx p2pns`, `npm start`) passes
 * its own copy on. Within this many milliseconds a repeat is the same key press.
 */
const SAME_PRESS = 500

export interface Interrupt {
  /** Aborted by SIGINT or SIGTERM; the reason is a P2pnsError `interrupted`. */
  signal: AbortSignal
  /** Gives the signals back to Node. */
  release(): void
}

export function catchInterrupts(world: Pick<World, 'onSignal' | 'offSignal' | 'now' | 'exit'>): Interrupt {
  const controller = new AbortController()
  let first = 0
  const listener = (name: string): void => {
    if (!controller.signal.aborted) {
      first = world.now()
      controller.abort(new P2pnsError('interrupted', `Stopped by ${name}`))
    } else if (world.now() - first > SAME_PRESS) {
      world.exit(ERRORS.interrupted.exit)
    }
  }
  world.onSignal('SIGINT', listener)
  world.onSignal('SIGTERM', listener)
  return {
    signal: controller.signal,
    release() {
      world.offSignal('SIGINT', listener)
      world.offSignal('SIGTERM', listener)
    },
  }
}

export async function untilAborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return
  const { promise, resolve } = Promise.withResolvers<void>()
  signal.addEventListener('abort', () => resolve(), { once: true })
  await promise
}
