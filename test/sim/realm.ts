/** Who takes part in a run: a realm with its introducers, storing nodes, and the trouble that they are in. */
import { keyPairFromSeed } from '../../node/core/keys.ts'
import { quorumFor, realmOf } from '../../node/core/realm.ts'
import type { Surroundings } from './home.ts'
import { Ledger } from './ledger.ts'
import { type Faults, Machine } from './machine.ts'
import { HOSTILITIES, StoringNode } from './storing.ts'
import { honestPost, type Lie, lyingPost, type Post } from './witnesses.ts'
import type { World } from './world.ts'

export const NAME = 'alice'

/** How many witnesses may lie while any two quorums still share one that does not. */
export function tolerated(witnesses: number): number {
  return 2 * quorumFor(witnesses) - witnesses - 1
}

export interface Cast extends Surroundings {
  ledger: Ledger
  machines: Machine[]
  /** Which witnesses lie, by their places in the realm. */
  liars: Set<number>
}

export function castOf(
  world: World,
  options: { witnesses: number; lies: Lie[]; nodes: number; hostileNodes?: number; faults: Faults; bits?: number },
): Cast {
  const { random } = world
  const { witnesses, lies, faults } = options
  const pairs = Array.from({ length: witnesses }, () => keyPairFromSeed(random.bytes(32)))
  const realm = realmOf(
    pairs.map(({ publicKey }) => publicKey),
    options.bits ?? 2,
  )
  const sorted = pairs.toSorted((a, b) => Buffer.compare(a.publicKey, b.publicKey))
  const ledger = new Ledger(realm)
  const machines: Machine[] = []
  const machine = (name: string) => {
    const made = new Machine(world, name, faults)
    machines.push(made)
    return made
  }
  const hostile = new Set(random.shuffled([...Array(options.nodes).keys()]).slice(0, options.hostileNodes ?? 0))
  // All of one mind, or each in its own way.
  const kinds = random.chance(0.5) ? [random.pick(HOSTILITIES)] : HOSTILITIES
  const nodes = Array.from(
    { length: options.nodes },
    (_, i) => new StoringNode(machine(`node-${i}`), hostile.has(i) ? random.pick(kinds) : undefined),
  )
  const liars = random.shuffled([...sorted.keys()]).slice(0, lies.length)
  const posts: Post[] = []
  for (const [index, pair] of sorted.entries()) {
    const lie = lies[liars.indexOf(index)]
    const place = machine(`witness-${index}`)
    if (lie !== undefined) place.note(`lies: ${lie}`)
    posts.push(lie === undefined ? honestPost(place, pair, ledger, posts, nodes) : lyingPost(place, pair, ledger, lie))
  }
  world.note('realm', `${witnesses} witnesses, quorum ${realm.quorum}, ${lies.length} lie`)
  return { realm, posts, nodes, ledger, machines, liars: new Set(liars) }
}

/** Ends all trouble. */
export function calm(cast: Cast, faults: Faults): void {
  for (const machine of cast.machines) {
    machine.faults = faults
    machine.side = 'both'
  }
}

/** Trouble of any measure, from none on. */
export function anyFaults(world: World): Faults {
  const { random } = world
  return {
    loss: random.pick([0, 0.02, 0.1, 0.2]),
    delay: random.pick([5, 100, 1_000, 8_000]),
    twice: random.pick([0, 0.1, 0.3]),
    crash: random.pick([0, 0, 0.005, 0.03]),
  }
}
