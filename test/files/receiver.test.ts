import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Bytes, concat, equalBytes } from '../../node/core/encoding.ts'
import { encodeFrame, type Frame, FrameDecoder } from '../../node/core/frames.ts'
import { CHUNK_SIZE, leavesOf, Tree } from '../../node/core/tree.ts'
import { Layout } from '../../node/files/layout.ts'
import { Receiver } from '../../node/files/receiver.ts'
import { bytesOf } from './rig.ts'

const BIG = bytesOf(CHUNK_SIZE * 5 + 9)
const TREE = new Tree(leavesOf(BIG))
const SMALL = bytesOf(100, 'small')
const LAYOUT = new Layout([
  { path: 'big', size: BIG.length, root: TREE.root, first: 0, count: 6 },
  { path: 'small', size: SMALL.length, root: new Tree(leavesOf(SMALL)).root, first: 6, count: 1 },
])
const chunkOf = (chunk: number): Bytes =>
  chunk === 6 ? SMALL : BIG.subarray(chunk * CHUNK_SIZE, (chunk + 1) * CHUNK_SIZE)
const chunkFrame = (chunk: number, data = chunkOf(chunk)): Frame => ({ type: 'chunk', chunk, data })
const hashesFrame = (): Frame => ({ type: 'hashes', first: 0, count: 512, ...TREE.prove(0, 512) })

function receiving() {
  const said: Frame[] = []
  const kept: number[] = []
  const right: boolean[] = []
  const decoder = new FrameDecoder({ open: () => undefined, frame: (frame) => said.push(frame) })
  const receiver = new Receiver({
    send: (bytes) => decoder.push(bytes),
    frame: (frame) => said.push(frame),
    kept: (chunk) => kept.push(chunk),
  })
  receiver.enter({
    layout: LAYOUT,
    prove: () => undefined,
    keep: (chunk, data) => right.push(equalBytes(data, chunkOf(chunk))),
  })
  return {
    receiver,
    said,
    kept,
    right,
    hear: (...frames: Frame[]) => receiver.push(concat(...frames.map(encodeFrame))),
  }
}

test('hashes are asked for before the chunks that need them, and once', () => {
  const { receiver, said } = receiving()
  receiver.ask({ first: 1, count: 2 })
  receiver.ask({ first: 3, count: 4 })
  assert.deepEqual(said, [
    { type: 'hashesRequest', first: 0, count: 512 },
    { type: 'request', first: 1, count: 2 },
    { type: 'request', first: 3, count: 4 },
  ])
})

test('a chunk is kept when it is right, whole, proven and asked for', () => {
  const { receiver, kept, right, hear } = receiving()
  receiver.ask({ first: 4, count: 3 })
  hear(hashesFrame(), chunkFrame(5), chunkFrame(6), chunkFrame(4))
  assert.deepEqual(kept, [5, 6, 4])
  assert.deepEqual(right, [true, true, true])
})

test('what is wrong, unproven, unasked, doubled or of another size is refused', () => {
  const wrong = Uint8Array.from(chunkOf(1))
  wrong[7] = (wrong[7] as number) ^ 1
  const cases: [string, Frame[]][] = [
    ['chunk_corrupt', [hashesFrame(), chunkFrame(1, wrong)]],
    ['frame_invalid', [chunkFrame(1)]],
    ['frame_invalid', [hashesFrame(), chunkFrame(3)]],
    ['frame_invalid', [hashesFrame(), chunkFrame(1), chunkFrame(1)]],
    ['frame_invalid', [hashesFrame(), chunkFrame(1, chunkOf(1).subarray(1))]],
    ['chunk_corrupt', [{ ...hashesFrame(), leaves: leavesOf(bytesOf(BIG.length, 'other')) } as Frame]],
    ['peer_unreachable', [{ ...hashesFrame(), leaves: new Uint8Array(0), uncles: new Uint8Array(0) } as Frame]],
  ]
  for (const [code, frames] of cases) {
    const { receiver, hear } = receiving()
    receiver.ask({ first: 1, count: 1 })
    assert.throws(() => hear(...frames), { code }, frames.map(({ type }) => type).join(' '))
  }
})

test('a cancelled chunk may still come, as often as it was cancelled, and is not kept', () => {
  const { receiver, kept, hear } = receiving()
  receiver.ask({ first: 0, count: 2 })
  hear(hashesFrame())
  receiver.cancel({ first: 0, count: 2 })
  receiver.ask({ first: 0, count: 1 })
  hear(chunkFrame(0), chunkFrame(0), chunkFrame(1))
  assert.deepEqual(kept, [0])
  assert.throws(() => hear(chunkFrame(1)), { code: 'frame_invalid' })
})

test('after a choke nothing is awaited, and what was under way is let pass', () => {
  const { receiver, kept, hear } = receiving()
  receiver.ask({ first: 0, count: 3 })
  hear(hashesFrame(), chunkFrame(0))
  receiver.choked()
  hear(chunkFrame(1))
  receiver.ask({ first: 2, count: 1 })
  hear(chunkFrame(2))
  assert.deepEqual(kept, [0, 2])
})

test('what an earlier task asked for means nothing to the next', () => {
  const { receiver, kept, right, hear } = receiving()
  receiver.ask({ first: 6, count: 1 })
  receiver.enter({ layout: LAYOUT, prove: () => undefined, keep: () => right.push(false) })
  hear(chunkFrame(6))
  assert.deepEqual([kept, right], [[], []])
})
