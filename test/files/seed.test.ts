import assert from 'node:assert/strict'
import * as fs from 'node:fs/promises'
import * as path from 'node:path'
import { test } from 'node:test'
import { encodeFrame, type Frame } from '../../node/core/frames.ts'
import { CHUNK_SIZE, leavesOf, Tree, verifySpan } from '../../node/core/tree.ts'
import { bareLink, bytesOf, heldClock, hello, linkPair, seederOf, shareBytes, shareFiles, tempFolder } from './rig.ts'

test('a peer that greets learns the manifest, hashes that prove themselves, and chunks', async (t) => {
  const bytes = bytesOf(CHUNK_SIZE * 5 + 7)
  const share = await shareBytes(path.join(await tempFolder(t), 'x'), bytes)
  const link = bareLink(seederOf(share))
  link.say(hello(share), { type: 'manifestRequest' }, { type: 'hashesRequest', first: 0, count: 2 })
  assert.equal((await link.hear('bitfield')).bits.length, 0)
  assert.deepEqual(Buffer.from((await link.hear('manifest')).stored), Buffer.from(share.manifest.stored))
  const { leaves, uncles } = await link.hear('hashes')
  assert.ok(verifySpan(new Tree(leavesOf(bytes)).root, { total: 6, first: 0, count: 2 }, leaves, uncles))
  link.say({ type: 'request', first: 4, count: 2 }, { type: 'request', first: 0, count: 1 })
  for (const chunk of [4, 5, 0]) {
    const frame = await link.hear('chunk')
    assert.equal(frame.chunk, chunk)
    assert.ok(bytes.subarray(chunk * CHUNK_SIZE, (chunk + 1) * CHUNK_SIZE).equals(frame.data as Buffer))
  }
  link.say({ type: 'bye', reason: 'done' })
  await link.served
})

test('content that is not shared, and one that no longer is, is said to be missing', async (t) => {
  const share = await shareBytes(path.join(await tempFolder(t), 'x'), bytesOf(9))
  const seeder = seederOf(share)
  assert.ok(seeder.has(share.manifest.id))
  seeder.remove(share.manifest.id)
  assert.ok(!seeder.has(share.manifest.id))
  const link = bareLink(seeder)
  link.say(hello(share))
  assert.equal((await link.hear('bye')).reason, 'content_not_found')
  await link.served
})

test('a file that changed after it was shared is not served', async (t) => {
  const file = path.join(await tempFolder(t), 'x')
  const share = await shareBytes(file, bytesOf(1000))
  for (const change of [
    () => fs.writeFile(file, bytesOf(1000, 'other')),
    () => fs.truncate(file, 10),
    () => fs.rm(file),
  ]) {
    await change()
    const link = bareLink(seederOf(share))
    link.say(hello(share), { type: 'request', first: 0, count: 1 })
    assert.deepEqual(await link.hear('bye'), { type: 'bye', reason: 'file_changed', chunk: 0 })
  }
})

test('a peer that breaks the protocol is told so and closed, and the next is served', async (t) => {
  const share = await shareFiles(path.join(await tempFolder(t), 'x'), { a: bytesOf(CHUNK_SIZE * 3), b: bytesOf(5) })
  const seeder = seederOf(share)
  const offences: Frame[][] = [
    [{ type: 'manifestRequest' }],
    [hello(share), hello(share)],
    [hello(share), { type: 'request', first: 3, count: 2 }],
    [hello(share), { type: 'request', first: 900, count: 1 }],
    [hello(share), { type: 'hashesRequest', first: 1, count: 2 }],
    [hello(share), { type: 'chunk', chunk: 0, data: Buffer.from('x') }],
    [hello(share), { type: 'manifest', stored: Buffer.from('x') }],
    [hello(share), ...Array.from({ length: 600 }, () => ({ type: 'request' as const, first: 0, count: 2 }))],
  ]
  for (const said of offences) {
    const link = bareLink(seeder)
    link.say(...said)
    assert.equal((await link.hear('bye')).reason, 'frame_invalid')
    await link.served
  }
  for (const noise of ['GET / HTTP/1.1\r\n\r\n', '\0\0\0\x02\x01x', '\xff\xff\xff\xff\x02']) {
    const link = bareLink(seeder)
    link.stream.write(Buffer.from(noise, 'latin1'))
    assert.equal((await link.hear('bye')).reason, 'frame_invalid')
  }
  const link = bareLink(seeder)
  link.say(hello(share), { type: 'request', first: 3, count: 1 })
  assert.deepEqual((await link.hear('chunk')).data, bytesOf(5))
  link.stream.destroy()
})

test('what was cancelled does not come', async (t) => {
  const share = await shareBytes(path.join(await tempFolder(t), 'x'), bytesOf(CHUNK_SIZE * 40))
  const link = bareLink(seederOf(share))
  link.say(
    hello(share),
    { type: 'request', first: 0, count: 30 },
    { type: 'cancel', first: 10, count: 15 },
    { type: 'request', first: 35, count: 1 },
  )
  const came: number[] = []
  while (came.at(-1) !== 35) came.push((await link.hear('chunk')).chunk)
  link.stream.destroy()
  assert.deepEqual(came, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 25, 26, 27, 28, 29, 35])
})

test('a peer that asks and does not read holds a few blocks of memory, not the file', async (t) => {
  const share = await shareBytes(path.join(await tempFolder(t), 'x'), bytesOf(CHUNK_SIZE * 40))
  const [near, far] = linkPair()
  void seederOf(share).serve(far, 'fetcher')
  near.write(encodeFrame(hello(share)))
  near.write(encodeFrame({ type: 'request', first: 0, count: 40 }))
  await new Promise((resolve) => near.once('readable', resolve))
  assert.ok(far.writableLength + near.readableLength < CHUNK_SIZE * 12)
  near.destroy()
})

test('a peer that floods with small questions and reads no answer is cut off, also while a chunk waits', async (t) => {
  const share = await shareBytes(path.join(await tempFolder(t), 'x'), bytesOf(CHUNK_SIZE * 40))
  const [near, far] = linkPair()
  const closed = new Promise((resolve) => near.once('close', resolve))
  void seederOf(share).serve(far, 'fetcher')
  near.write(encodeFrame(hello(share)))
  near.write(encodeFrame({ type: 'request', first: 0, count: 40 }))
  await new Promise((resolve) => near.once('readable', resolve))
  const question = encodeFrame({ type: 'hashesRequest', first: 0, count: 32 })
  near.write(Buffer.concat(Array.from({ length: 5_000 }, () => question)))
  await closed
})

test('one peer has four links at most, all peers together 64 as long as they use them', async (t) => {
  const share = await shareBytes(path.join(await tempFolder(t), 'x'), bytesOf(9))
  const seeder = seederOf(share)
  const links = Array.from({ length: 64 }, (_, i) => bareLink(seeder, `peer ${i >> 2}`))
  assert.equal((await bareLink(seeder, 'somebody else').hear('bye')).reason, 'busy')
  // One that was killed comes again, and what it left open is not known to be dead.
  const again = bareLink(seeder, 'peer 0')
  assert.equal((await (links[0] as (typeof links)[number]).hear('bye')).reason, 'busy')
  again.say(hello(share))
  await again.hear('bitfield')
  links[5]?.stream.destroy()
  await links[5]?.served
  const next = bareLink(seeder, 'somebody else')
  next.say(hello(share))
  await next.hear('bitfield')
  for (const link of [...links, again, next]) link.stream.destroy()
})

test('when all places are taken, who asked for nothing the longest gives way', async (t) => {
  const share = await shareBytes(path.join(await tempFolder(t), 'x'), bytesOf(9))
  const turn = heldClock(t)
  const seeder = seederOf(share)
  const links = Array.from({ length: 64 }, (_, i) => bareLink(seeder, `peer ${i}`))
  for (const link of links) link.say(hello(share))
  for (const link of links) await link.hear('bitfield')
  turn(6_000)
  const idler = links.splice(40, 1)[0]
  for (const link of links) link.say({ type: 'manifestRequest' })
  for (const link of links) await link.hear('manifest')
  const late = bareLink(seeder, 'late')
  late.say(hello(share))
  await late.hear('bitfield')
  assert.equal((await idler?.hear('bye'))?.reason, 'busy')
  assert.equal((await bareLink(seeder, 'later').hear('bye')).reason, 'busy')
  for (const link of [...links, late]) link.stream.destroy()
})

test('who does not greet within five seconds is closed, and so is who says nothing of use for two minutes', async (t) => {
  const share = await shareBytes(path.join(await tempFolder(t), 'x'), bytesOf(9))
  const turn = heldClock(t)
  const seeder = seederOf(share)
  const [silent, chatty] = [bareLink(seeder), bareLink(seeder)]
  chatty.say(hello(share))
  await chatty.hear('bitfield')
  turn(5_000)
  assert.equal((await silent.hear('bye')).reason, 'idle')
  for (let said = 0; said < 12; said++) {
    chatty.say({ type: 'have', first: 0, count: 1 }, { type: 'choke' }, { type: 'cancel', first: 0, count: 1 })
    await new Promise((resolve) => setImmediate(resolve))
    turn(10_000)
  }
  assert.equal((await chatty.hear('bye')).reason, 'idle')
})
