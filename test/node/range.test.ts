import assert from 'node:assert/strict'
import * as fs from 'node:fs/promises'
import * as path from 'node:path'
import { test } from 'node:test'
import type { Content } from '../../node/content.ts'
import type { Share } from '../../node/files/share.ts'
import { openRange } from '../../node/range.ts'
import {
  bytesOf,
  linkPair,
  linksOf,
  linkTo,
  seederOf,
  shareBytes,
  shareFiles,
  tempFolder,
  waysOf,
} from '../files/rig.ts'

const BLOCK = 256 * 1024

/** A node that shares `share` itself, or whose one peer does. `open`: searches that run. */
function nodeWith(share: Share, where: 'here' | 'there') {
  const state = { links: 0, open: 0 }
  const link = async function* () {
    state.links++
    yield* waysOf(linksOf(linkTo(seederOf(share))))
  }
  const content = {
    find: async (target: string) => ({ id: share.manifest.id, entry: target, peers: [] }),
    sharing: { shareOf: () => (where === 'here' ? share : undefined) },
    manifest: async () => share.manifest,
    search: () => {
      state.open++
      return { heard: () => {}, stop: () => state.open-- }
    },
    ways: link,
  } as unknown as Content
  return { content, state }
}

async function read(content: Content, target: string, asked: { start?: number; end?: number } = {}) {
  const range = await openRange(content, target, asked, {})
  try {
    const bytes = Buffer.concat(await Array.fromAsync(range.bytes))
    return { size: range.size, start: range.start, end: range.end, bytes }
  } finally {
    await range.close()
  }
}

test('a file that lies here unchanged is read here, and no link is opened', async (t) => {
  const bytes = bytesOf(2 * BLOCK + 5)
  const share = await shareFiles(path.join(await tempFolder(t), 'x'), { 'sub/a': bytes, b: bytesOf(3) })
  const { content, state } = nodeWith(share, 'here')
  const { bytes: found, ...range } = await read(content, 'sub/a')
  assert.deepEqual(range, { size: bytes.length, start: 0, end: bytes.length })
  assert.ok(found.equals(bytes))
  assert.ok(
    (await read(content, 'sub/a', { start: BLOCK - 1, end: -1 + 2 * BLOCK })).bytes.equals(
      bytes.subarray(BLOCK - 1, 2 * BLOCK - 1),
    ),
  )
  assert.equal(state.links, 0)
})

for (const where of ['here', 'there'] as const) {
  test(`a range of a file that is ${where} goes from one byte to another, from the end when it is negative`, async (t) => {
    const bytes = bytesOf(10)
    const { content, state } = nodeWith(await shareBytes(path.join(await tempFolder(t), 'x'), bytes), where)
    for (const [asked, start, end] of [
      [{}, 0, 10],
      [{ start: 2, end: 5 }, 2, 5],
      [{ start: -3 }, 7, 10],
      [{ start: -100, end: 1 }, 0, 1],
      [{ start: 9, end: 100 }, 9, 10],
      [{ start: 4, end: 4 }, 4, 4],
    ] as const) {
      const expected = { size: 10, start, end, bytes: bytes.subarray(start, end) }
      assert.deepEqual(await read(content, '', asked), expected, JSON.stringify(asked))
    }
    assert.equal(state.open, 0)
  })

  test(`a range that a file that is ${where} does not have is refused, and so is a folder, and nothing stays open`, async (t) => {
    const share = await shareFiles(path.join(await tempFolder(t), 'x'), { a: bytesOf(10), 'sub/b': bytesOf(1) })
    const { content, state } = nodeWith(share, where)
    for (const asked of [
      { start: 10 },
      { start: 11, end: 12 },
      { start: 3, end: 2 },
      { end: -1 },
      { start: 0.5 },
      { end: Number.NaN },
      { end: Number.POSITIVE_INFINITY },
    ]) {
      await assert.rejects(openRange(content, 'a', asked, {}), { code: 'usage' }, JSON.stringify(asked))
    }
    for (const folder of ['', 'sub']) {
      await assert.rejects(openRange(content, folder, {}, {}), { code: 'usage', message: /is a folder; name one file/ })
    }
    await assert.rejects(openRange(content, 'c', {}, {}), { code: 'entry_not_found' })
    assert.equal(state.open, 0)
  })

  test(`an empty file that is ${where} is read as nothing`, async (t) => {
    const { content } = nodeWith(await shareBytes(path.join(await tempFolder(t), 'x'), bytesOf(0)), where)
    assert.deepEqual(await read(content, ''), { size: 0, start: 0, end: 0, bytes: bytesOf(0) })
  })
}

test('a file of this machine that changes while it is read gives nothing more', async (t) => {
  for (const change of [
    async (file: string) => {
      await fs.writeFile(file, bytesOf(3 * BLOCK, 'other'))
      await fs.utimes(file, 1, 1)
    },
    (file: string) => fs.truncate(file, BLOCK),
    (file: string) => fs.appendFile(file, 'more'),
  ]) {
    const file = path.join(await tempFolder(t), 'x')
    const bytes = bytesOf(3 * BLOCK)
    const { content, state } = nodeWith(await shareBytes(file, bytes), 'here')
    const range = await openRange(content, '', {}, {})
    const blocks = range.bytes[Symbol.asyncIterator]()
    assert.ok(bytes.subarray(0, BLOCK).equals((await blocks.next()).value))
    await change(file)
    await assert.rejects(blocks.next(), { code: 'file_changed' })
    assert.equal((await blocks.next()).done, true)
    await range.close()
    assert.equal(state.links, 0)
  }
})

test('a file of this machine that changed before it is opened is got from others', async (t) => {
  const folder = await tempFolder(t)
  const [mine, theirs] = [path.join(folder, 'mine'), path.join(folder, 'theirs')]
  const { manifest } = await shareBytes(theirs, bytesOf(BLOCK + 1))
  for (const change of [() => fs.writeFile(mine, 'other'), () => fs.rm(mine)]) {
    await fs.copyFile(theirs, mine)
    const share = await shareBytes(mine, bytesOf(BLOCK + 1))
    await change()
    const { content, state } = nodeWith({ ...share, manifest }, 'here')
    const other = nodeWith(await shareBytes(theirs, bytesOf(BLOCK + 1)), 'there')
    content.ways = (id, search) => other.content.ways(id, search)
    assert.ok((await read(content, '')).bytes.equals(bytesOf(BLOCK + 1)))
    assert.deepEqual([other.state.links, state.open], [1, 0])
  }
})

test('a range that is closed before its end reads no more, whether it was begun or not', async (t) => {
  for (const where of ['here', 'there'] as const) {
    for (const begun of [true, false]) {
      const share = await shareBytes(path.join(await tempFolder(t), 'x'), bytesOf(5 * BLOCK))
      const { content, state } = nodeWith(share, where)
      const range = await openRange(content, '', {}, {})
      const blocks = range.bytes[Symbol.asyncIterator]()
      if (begun) await blocks.next()
      await range.close()
      assert.deepEqual(await blocks.next(), { done: true, value: undefined })
      assert.equal(state.open, 0)
    }
  }
})

test('a range whose reader is stopped ends, though its peer says nothing', async (t) => {
  const share = await shareBytes(path.join(await tempFolder(t), 'x'), bytesOf(BLOCK))
  const { content } = nodeWith(share, 'there')
  const [near] = linkPair()
  content.ways = () => waysOf(linksOf({ peer: 'silent', path: 'lan', stream: near }))
  const stop = new AbortController()
  const range = await openRange(content, '', {}, { signal: stop.signal })
  const reading = range.bytes[Symbol.asyncIterator]().next()
  stop.abort()
  await assert.rejects(reading, { code: 'interrupted' })
  await range.close()
})
