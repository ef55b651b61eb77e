import assert from 'node:assert/strict'
import { test } from 'node:test'
import { zoneDhtKey } from '../../node/core/zone.ts'
import type { KadParts } from '../../node/net/nearby.ts'
import { nearbyNodes } from '../../node/net/nearby.ts'
import { distanceOrder } from '../helpers/distance.ts'
import { honestHost, meet } from '../helpers/hosts.ts'
import { pairOf, zoneAt } from '../helpers/zones.ts'

const pair = pairOf(9)
const key = zoneDhtKey(pair.publicKey)
const { bytes } = zoneAt(pair, Date.now() - 1_000, '192.0.2.1')

test('the nodes that are connected are asked, each once, and no other is dialled', async (t) => {
  const [asker, a, b, away] = [
    await honestHost(t, 'asker'),
    await honestHost(t, 'a'),
    await honestHost(t, 'b'),
    await honestHost(t, 'away'),
  ]
  await meet(asker, a, b, away)
  await asker.libp2p.hangUp(away.libp2p.peerId)
  await a.records.store(key, bytes)
  await away.records.store(key, bytes)
  const kad = asker.libp2p.services.dht as unknown as KadParts
  const nearby = nearbyNodes(kad, () => asker.libp2p.getConnections(), 4)
  const answers: string[] = []
  for await (const { from, record } of nearby(key, AbortSignal.timeout(5_000))) {
    answers.push(`${from.toString()} ${record ? 'has it' : 'has nothing'}`)
  }
  const expected = [`${a.libp2p.peerId.toString()} has it`, `${b.libp2p.peerId.toString()} has nothing`]
  assert.deepEqual(answers.toSorted(), expected.toSorted())
  assert.equal(asker.libp2p.getConnections(away.libp2p.peerId).length, 0)
})

test('of more nodes than are to be asked those nearest to the key are', async (t) => {
  const asker = await honestHost(t, 'asker')
  const others = await Promise.all(['a', 'b', 'c', 'd'].map((seed) => honestHost(t, seed)))
  await meet(asker, ...others)
  const kad = asker.libp2p.services.dht as unknown as KadParts
  const asked: string[] = []
  for await (const { from } of nearbyNodes(
    kad,
    () => asker.libp2p.getConnections(),
    2,
  )(key, AbortSignal.timeout(5_000))) {
    asked.push(from.toString())
  }
  assert.deepEqual(
    asked.toSorted(),
    distanceOrder(
      key,
      others.map(({ libp2p }) => libp2p.peerId),
    )
      .slice(0, 2)
      .toSorted(),
  )
})
