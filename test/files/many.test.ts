import assert from 'node:assert/strict'
import * as path from 'node:path'
import { test } from 'node:test'
import { contentOf, fetchFrom, linksOf, linkTo, seederOf, shareFiles, tempFolder } from './rig.ts'

test('many small files come in few questions, and never more than a peer takes at once', async (t) => {
  const folder = await tempFolder(t)
  const files = Object.fromEntries(Array.from({ length: 2_500 }, (_, i) => [`${i % 7}/${i}`, Buffer.from(`${i}`)]))
  const share = await shareFiles(path.join(folder, 'x'), files)
  const { bytes } = await fetchFrom(share, path.join(folder, 'y'), linksOf(linkTo(seederOf(share))))
  assert.equal(bytes, share.bytes)
  assert.deepEqual(await contentOf(path.join(folder, 'y')), await contentOf(path.join(folder, 'x')))
})
