/** Ann and Bob, who know the same introducers: what most tests of the lab are about. */
import assert from 'node:assert/strict'
import { setTimeout } from 'node:timers/promises'
import type { Fetched, Probed, Status } from '../../node/contract.ts'
import type { HostOptions, Lab, LabOptions } from './lab.ts'
import { introducers, person, type Remote } from './people.ts'

export interface Pair {
  ann: Remote
  bob: Remote
}

export function pair(ann: HostOptions, bob: HostOptions): LabOptions {
  return { hosts: { ann, bob } }
}

/** Their nodes, once they have found out what their NATs do. */
export async function twoPeople(lab: Lab, places?: readonly Remote[]): Promise<Pair> {
  const known = places ?? (await introducers(lab))
  const [ann, bob] = await Promise.all([person(lab, 'ann', known), person(lab, 'bob', known)])
  await Promise.all([ann, bob].map(settled))
  return { ann, bob }
}

export async function settled(who: Remote): Promise<Status['reach']> {
  for (let i = 0; i < 100; i++) {
    const { reach } = await who.ask<Status>({ call: 'status', args: [] })
    if (reach.nat.mapping !== 'unknown' && reach.places.length > 0) return reach
    await setTimeout(100)
  }
  throw new Error('the node did not find out what its NAT does')
}

export function pathsOf({ peers }: Fetched): string[] {
  return peers.map((peer) => peer.path)
}

/** Joined without a relay and without the 40 ms of the public segment; a hairpin of their own router would pass, too. */
export function assertNear({ path, rtt }: Probed): void {
  assert.notEqual(path, 'relayed')
  assert.ok(rtt < 40, `${path}, ${rtt} ms`)
}
