/** What lies between machines: messages take time, get lost, come twice, and do not cross a split. */
import { P2pnsError } from '../../node/core/errors.ts'
import type { Machine } from './machine.ts'
import type { World } from './world.ts'

/**
 * `work` as `to` does it, asked for by `from`. The answer may be lost when the work is done, and the work may be done twice.
 * Errors: those of `work`; timed_out after `timeout` ms; peer_unreachable from a machine that is down.
 */
export function call<T>(from: Machine, to: Machine, timeout: number, work: () => Promise<T>): Promise<T> {
  const { world, faults } = from
  const { promise, resolve, reject } = Promise.withResolvers<T>()
  const travel = () => world.random.between(1, faults.delay)
  const isLost = () => world.random.chance(faults.loss) || areApart(from, to)
  const answer = (deliver: () => void) => {
    if (!isLost()) world.after(travel(), deliver)
  }
  const arrive = () => {
    if (areApart(from, to)) return
    if (!to.isUp) {
      answer(() => reject(new P2pnsError('peer_unreachable', `${to.name} is down`)))
      return
    }
    void to.alive(work()).then(
      (value) => answer(() => resolve(value)),
      (error: unknown) => answer(() => reject(error)),
    )
  }
  world.after(timeout, () => reject(new P2pnsError('timed_out', `${to.name} did not answer ${from.name}`)))
  if (!isLost()) world.after(travel(), arrive)
  if (world.random.chance(faults.twice)) world.after(travel() + travel(), arrive)
  return from.alive(promise)
}

function areApart(a: Machine, b: Machine): boolean {
  return a.side !== b.side && a.side !== 'both' && b.side !== 'both'
}

/** Splits the machines in two for `ms`, at random; ends by itself. */
export function split(world: World, machines: readonly Machine[], ms: number): void {
  world.note('network', `splits for ${ms} ms`)
  for (const machine of machines) machine.side = world.random.pick(['left', 'right'])
  world.note(
    'network',
    `left: ${machines
      .filter(({ side }) => side === 'left')
      .map(({ name }) => name)
      .join(' ')}`,
  )
  world.after(ms, () => {
    for (const machine of machines) machine.side = 'both'
    world.note('network', 'is whole again')
  })
}
