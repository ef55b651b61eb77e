/** Two hosts of one home, whose router turns round what they send to its public address, or does not (lab.ts). */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Probed } from '../../node/contract.ts'
import { Lab, whyNoLab } from './lab.ts'
import { assertNear, pair, settled, twoPeople } from './pair.ts'

const skip = whyNoLab() ?? false

for (const hairpin of [false, true]) {
  const title = `two peers behind one NAT ${hairpin ? 'with' : 'without'} hairpinning are joined without leaving home`
  test(title, { skip }, async () => {
    const home = { kind: 'full-cone', lan: 'home', hairpin } as const
    await using lab = await Lab.create(pair(home, home))
    const { ann, bob } = await twoPeople(lab)
    assert.equal((await settled(bob)).nat.hairpin, hairpin)
    const probed = await bob.ask<Probed>({ call: 'probe', args: [ann.id, { size: 1_000_000 }] })
    assertNear(probed)
  })
}
