import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { type Bytes, concat, utf8 } from '../../node/core/encoding.ts'
import { P2pnsError } from '../../node/core/errors.ts'
import {
  BYE_REASONS,
  CHUNK_HEAD,
  encodeFrame,
  type Frame,
  FrameDecoder,
  MAX_RUN,
  writeChunkHead,
} from '../../node/core/frames.ts'
import { CHUNK_SIZE, MAX_CHUNKS, MAX_SPAN } from '../../node/core/tree.ts'

function decode(pieces: Iterable<Bytes>): { frames: Frame[]; whole: boolean } {
  const frames: Frame[] = []
  const decoder = new FrameDecoder({ open: (_, length) => Buffer.alloc(length), frame: (frame) => frames.push(frame) })
  for (const piece of pieces) decoder.push(piece)
  return { frames, whole: decoder.atBoundary }
}

const bytes = (minLength: number, maxLength = minLength) =>
  fc.uint8Array({ minLength, maxLength }).map((array) => Buffer.from(array))
const chunk = fc.integer({ min: 0, max: MAX_CHUNKS - 1 })
const run = { first: chunk, count: fc.integer({ min: 1, max: MAX_RUN }) }
const hashList = (max: number, min = 0) => fc.integer({ min, max }).chain((n) => bytes(n * 32))

const record = <T>(shape: { [K in keyof T]: fc.Arbitrary<T[K]> }) => fc.record(shape, { noNullPrototype: true })

const frame: fc.Arbitrary<Frame> = fc.oneof(
  record({ type: fc.constant('hello' as const), content: bytes(32) }),
  record({ type: fc.constantFrom('manifestRequest', 'choke', 'unchoke') }) as fc.Arbitrary<Frame>,
  record({ type: fc.constant('manifest' as const), stored: bytes(1, 300) }),
  record({
    type: fc.constant('hashesRequest' as const),
    first: chunk,
    count: fc.integer({ min: 1, max: MAX_SPAN }),
  }),
  record({
    type: fc.constant('hashes' as const),
    first: chunk,
    count: fc.integer({ min: 1, max: MAX_SPAN }),
    leaves: hashList(5, 1),
    uncles: hashList(5),
  }),
  record({ type: fc.constant('bitfield' as const), bits: bytes(0, 50) }),
  record({ type: fc.constantFrom('have', 'request', 'cancel'), ...run }) as fc.Arbitrary<Frame>,
  record({ type: fc.constant('chunk' as const), chunk, data: bytes(1, 400) }),
  record({ type: fc.constant('bye' as const), reason: fc.constantFrom(...BYE_REASONS) }),
)

test('frames come out as they went in, however the stream is cut', () => {
  fc.assert(
    fc.property(fc.array(frame), fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1 }), (frames, cuts) => {
      const wire = concat(...frames.map(encodeFrame))
      const pieces: Bytes[] = []
      for (let at = 0, i = 0; at < wire.length; i++)
        pieces.push(wire.subarray(at, (at += cuts[i % cuts.length] as number)))
      const { frames: read, whole } = decode(pieces)
      assert.deepEqual(read, frames)
      assert.ok(whole)
    }),
  )
})

test('a truncated stream yields the frames before the cut, and is known to be cut', () => {
  fc.assert(
    fc.property(fc.array(frame, { minLength: 1 }), fc.nat(), (frames, cut) => {
      const wire = concat(...frames.map(encodeFrame))
      const kept = cut % wire.length
      const { frames: read, whole } = decode([wire.subarray(0, kept)])
      assert.deepEqual(read, frames.slice(0, read.length))
      assert.ok(read.length < frames.length)
      assert.equal(whole, concat(...read.map(encodeFrame)).length === kept)
    }),
  )
})

test('arbitrary bytes give frames or frame_invalid, never another error and never a large buffer', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (noise) => {
      let asked = 0
      const decoder = new FrameDecoder({
        open: (_, length) => {
          asked = Math.max(asked, length)
          return undefined
        },
        frame: () => undefined,
      })
      try {
        decoder.push(noise)
      } catch (error) {
        assert.ok(error instanceof P2pnsError && error.code === 'frame_invalid')
      }
      assert.ok(asked <= CHUNK_SIZE)
    }),
    { numRuns: 2000 },
  )
})

test('a length outside the bounds of its type is refused before the body comes', () => {
  const head = (length: number, type: number) => {
    const bytes = Buffer.alloc(5)
    bytes.writeUInt32BE(length)
    bytes[4] = type
    return bytes
  }
  for (const [length, type] of [
    [0, 1],
    [2, 1],
    [0xffffffff, 2],
    [CHUNK_SIZE + 6, 8],
    [5, 8],
    [8194, 2],
    [2 ** 21 + 2, 5],
    [1, 13],
    [38, 0],
  ] as const) {
    assert.throws(() => decode([head(length, type)]), { code: 'frame_invalid' }, `${length} of type ${type}`)
  }
})

test('another protocol, an empty run and a cut hash list are refused', () => {
  const hello = encodeFrame({ type: 'hello', content: Buffer.alloc(32) })
  hello[9] = (hello[9] as number) ^ 1
  const empty = encodeFrame({ type: 'request', first: 0, count: 0 })
  const long = encodeFrame({ type: 'request', first: 0, count: MAX_RUN + 1 })
  const hashes = Buffer.from(
    encodeFrame({ type: 'hashes', first: 0, count: 1, leaves: Buffer.alloc(32), uncles: Buffer.alloc(0) }),
  )
  hashes.writeUInt16BE(2, 13)
  for (const wire of [hello, empty, long, hashes, utf8('GET / HTTP/1.1\r\n\r\n')]) {
    assert.throws(() => decode([wire]), { code: 'frame_invalid' })
  }
})

test('chunk data is laid where the reader says, and skipped where it says nothing', () => {
  const data = Buffer.from('some data')
  const wire = Buffer.alloc(CHUNK_HEAD + data.length)
  writeChunkHead(wire, 0, 7, data.length)
  wire.set(data, CHUNK_HEAD)
  assert.deepEqual(wire, encodeFrame({ type: 'chunk', chunk: 7, data }))

  const places = [Buffer.alloc(data.length), undefined]
  const read: Frame[] = []
  const decoder = new FrameDecoder({ open: () => places[read.length], frame: (frame) => read.push(frame) })
  decoder.push(concat(wire, wire, encodeFrame({ type: 'choke' })))
  assert.deepEqual(read, [
    { type: 'chunk', chunk: 7, data },
    { type: 'chunk', chunk: 7, data: undefined },
    { type: 'choke' },
  ])
  assert.equal((read[0] as { data: Bytes }).data, places[0])
})
