/** What a fetch left that was killed between giving the file its name and forgetting the map. */
import assert from 'node:assert/strict'
import * as fs from 'node:fs/promises'
import * as path from 'node:path'
import { type TestContext, test } from 'node:test'
import { hashOfCid } from '../../node/core/manifest.ts'
import { CHUNK_SIZE } from '../../node/core/tree.ts'
import { createMap, mapKey } from '../../node/files/map.ts'
import { bytesOf, fetchFrom, linksOf, linkTo, seederOf, shareBytes, tempFolder } from './rig.ts'

const BYTES = bytesOf(CHUNK_SIZE * 2 + 5)

/** A fetch of what has its name already, beside a `.part` and a map with the key of `selected`; what is there after it. */
async function left(t: TestContext, selected: string): Promise<string[]> {
  const folder = await tempFolder(t)
  const share = await shareBytes(path.join(folder, 'x'), BYTES)
  const out = path.join(folder, 'y')
  await fs.writeFile(out, BYTES)
  await fs.writeFile(`${out}.part`, 'a part')
  await createMap(`${out}.part.map`, mapKey(hashOfCid(share.manifest.id), selected))
  const { resumed } = await fetchFrom(share, out, linksOf(linkTo(seederOf(share))))
  assert.equal(resumed, BYTES.length)
  assert.ok((await fs.readFile(out)).equals(BYTES))
  return (await fs.readdir(folder)).sort()
}

test('the next fetch of what has its name removes the map that a killed one left', async (t) => {
  assert.deepEqual(await left(t, ''), ['x', 'y'])
})

test('what another download left beside a file that is whole stays', async (t) => {
  assert.deepEqual(await left(t, 'another'), ['x', 'y', 'y.part', 'y.part.map'])
})
