/** Three of ten storing nodes are hostile: names are found nevertheless, and as they were published last. */
import assert from 'node:assert/strict'
import { equalBytes } from '../../../node/core/encoding.ts'
import { leaseDhtKey, parseNamed } from '../../../node/core/lease.ts'
import { keyNameOf } from '../../../node/core/name.ts'
import { realmId } from '../../../node/core/realm.ts'
import { parseZone, zoneDhtKey } from '../../../node/core/zone.ts'
import { claimAndPublish, insist, lookUp, openHome } from '../home.ts'
import { Machine } from '../machine.ts'
import { castOf, NAME } from '../realm.ts'
import type { Counts } from '../run.ts'
import { newestHeld } from '../storing.ts'
import type { World } from '../world.ts'

const NODES = 40
const HOSTILE = 12
const VERSIONS = 4
const RESOLVERS = 6

/** Resolves to how many lookups there were, and how many gave the newest record that an honest node held. */
export async function hostileStorage(world: World): Promise<Counts> {
  const { random } = world
  const faults = { loss: random.pick([0, 0.01, 0.05]), delay: random.pick([20, 150]), twice: 0.05, crash: 0 }
  const cast = castOf(world, { witnesses: 1, lies: [], nodes: NODES, hostileNodes: HOSTILE, faults })
  const owner = new Machine(world, 'owner', faults)
  const home = await openHome(owner, random.bytes(32), cast)
  const counts = { lookups: 0, found: 0, newest: 0 }
  for (let version = 1; version <= VERSIONS; version++) {
    const { own } = await insist(owner, 10, () => claimAndPublish(home, NAME, `192.0.2.${version}`))
    await world.wait(random.between(1_000, 3_600_000))
    const keyName = keyNameOf(own.pair.publicKey)
    const zoneHeld = await newestHeld(cast.nodes, zoneDhtKey(own.pair.publicKey), world.now())
    const namedHeld = await newestHeld(cast.nodes, leaseDhtKey(realmId(cast.realm), NAME), world.now())
    assert.ok(zoneHeld && namedHeld, 'no honest node holds the record')
    const expected = new Map([
      [keyName, parseZone(zoneHeld, {}).seq],
      [`${NAME}.p2p`, parseZone(parseNamed(namedHeld).zoneBytes, {}).seq],
    ])
    for (let i = 0; i < RESOLVERS; i++) {
      // Newcomers, who have nothing to compare with; introducers, which are not storing nodes, are of no help to them.
      const resolver = new Machine(world, `resolver-${version}-${i}`, faults)
      const visitor = await openHome(resolver, random.bytes(32), { ...cast, posts: [] })
      for (const [name, seq] of expected) {
        counts.lookups++
        const answer = await lookUp(visitor, name)
        if (typeof answer === 'string') {
          resolver.note(`${name}: ${answer}`)
          continue
        }
        counts.found++
        assert.ok(equalBytes(answer.zone.key, own.pair.publicKey), 'a forged record was believed')
        if (answer.zone.seq >= seq) counts.newest++
        else resolver.note(`${name}: an older record`)
      }
    }
  }
  return counts
}
