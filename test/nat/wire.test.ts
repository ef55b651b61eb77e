/** What somebody reads who sees every frame between two peers and their introducers. */
import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { test } from 'node:test'
import type { Fetched, Resolved, Shared } from '../../node/contract.ts'
import type { Kind } from './kinds.ts'
import { Lab, whyNoLab } from './lab.ts'
import { pair, pathsOf, twoPeople } from './pair.ts'

const skip = whyNoLab() ?? false

const NAME = 'quietlake'
const TXT = 'bluewhale-7731'
const FOLDER = 'harbourplans'
const FILE = 'copperlantern.txt'
const LINE = 'mossyanchor-5519 stands in every line\n'
const SIZE = 2_000_000

/** A name with a record, and a folder that it points to: bob resolves the one and fetches the other. */
async function nameAndFolder(lab: Lab): Promise<{ cid: string; paths: string[] }> {
  const { ann, bob } = await twoPeople(lab)
  const [folder, out] = [path.join(lab.folder, FOLDER), path.join(lab.folder, 'out')]
  fs.mkdirSync(folder)
  fs.writeFileSync(path.join(folder, FILE), LINE.repeat(Math.ceil(SIZE / LINE.length)))
  const { cid } = await ann.ask<Shared>({ call: 'share', args: [folder] })
  const records = [{ type: 'TXT', data: `"${TXT}"` }]
  await ann.ask({ call: 'register', args: [{ name: `${NAME}.p2p`, records, file: cid }] })
  const resolved = await bob.ask<Resolved>({ call: 'resolve', args: [`${NAME}.p2p`, 'TXT', { policy: 'network' }] })
  assert.ok(resolved.records.some(({ data }) => data.includes(TXT)))
  const fetched = await bob.ask<Fetched>({ call: 'fetch', args: [`${NAME}.p2p`, { out, wait: 30 }] })
  assert.ok(fs.readFileSync(path.join(out, FILE), 'utf8').startsWith(LINE))
  return { cid, paths: pathsOf(fetched) }
}

for (const [kind, where, ways, times] of [
  ['port-restricted', 'a direct path', ['punched-tcp', 'punched-udp'], 1],
  ['symmetric', 'a relay', ['relayed'], 2],
] as const satisfies [Kind, string, string[], number][]) {
  test(`nobody on the way reads a name, a record or a byte of a file, over ${where}`, { skip }, async () => {
    await using lab = await Lab.create(pair({ kind }, { kind }))
    const capture = await lab.capture()
    const { cid, paths } = await nameAndFolder(lab)
    assert.ok(paths.length > 0 && paths.every((one) => (ways as readonly string[]).includes(one)), paths.join())
    const frames = fs.readFileSync(capture)
    // It has what it should: all of the file each time that it crossed the segment, and what libp2p says before it encrypts.
    assert.ok(frames.length > times * SIZE, `${frames.length} bytes`)
    assert.ok(frames.includes('/multistream/1.0.0'))
    for (const secret of [NAME, TXT, FOLDER, FILE, LINE.trim(), cid]) assert.ok(!frames.includes(secret), secret)
  })
}
