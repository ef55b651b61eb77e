/**
 * The messages of a link (docs/spec/transfer.md): `u32 length | u8 type | body`, big-endian, where length counts type and
 * body. Chunks are numbered through the whole content (node/files/layout.ts). A reader knows the bounds of every type
 * before it allocates, and has a chunk's bytes laid straight into the place they are for.
 */
import { type Bytes, concat, equalBytes, utf8 } from './encoding.ts'
import { P2pnsError } from './errors.ts'
import { MAX_DHT_MANIFEST } from './manifest.ts'
import { CHUNK_SIZE, HASH_SIZE, MAX_CHUNKS, MAX_SPAN } from './tree.ts'

/** Chunks that one request, cancel or have may name. */
export const MAX_RUN = 1024

/** Addresses in one peers frame, and bytes of one. */
export const MAX_PEERS = 32
export const MAX_ADDRESS = 255

/** Why a link is closed. */
export const BYE_REASONS = ['done', 'content_not_found', 'file_changed', 'frame_invalid', 'busy', 'idle'] as const
export type ByeReason = (typeof BYE_REASONS)[number]

/** `first`, `count`: a run of chunks. */
export type Frame =
  | { type: 'hello'; content: Bytes }
  | { type: 'manifestRequest' }
  | { type: 'manifest'; stored: Bytes }
  | { type: 'hashesRequest'; first: number; count: number }
  | { type: 'hashes'; first: number; count: number; leaves: Bytes; uncles: Bytes }
  /** `bits`: the first chunk is the highest bit of the first byte; empty for "all of them". */
  | { type: 'bitfield'; bits: Bytes }
  | { type: 'have'; first: number; count: number }
  | { type: 'request'; first: number; count: number }
  /** `data`: undefined when the reader had no place for it. */
  | { type: 'chunk'; chunk: number; data: Bytes | undefined }
  | { type: 'cancel'; first: number; count: number }
  | { type: 'choke' }
  | { type: 'unchoke' }
  /** Multiaddrs of others who have some of the content, or want it. */
  | { type: 'peers'; peers: string[] }
  /** `chunk`: with `file_changed`, the one that could not be read. */
  | { type: 'bye'; reason: ByeReason; chunk?: number }

/** Type number, then the bounds of the body in bytes. */
const TYPES: Record<Frame['type'], readonly [type: number, min: number, max: number]> = {
  hello: [0, 38, 38],
  manifestRequest: [1, 0, 0],
  manifest: [2, 1, MAX_DHT_MANIFEST],
  hashesRequest: [3, 8, 8],
  // A tree of MAX_CHUNKS is 24 levels high.
  hashes: [4, 10, 10 + (MAX_SPAN + 24) * HASH_SIZE],
  bitfield: [5, 0, MAX_CHUNKS / 8],
  have: [6, 8, 8],
  request: [7, 8, 8],
  chunk: [8, 5, 4 + CHUNK_SIZE],
  cancel: [9, 8, 8],
  choke: [10, 0, 0],
  unchoke: [11, 0, 0],
  bye: [12, 1, 5],
  peers: [13, 1, 1 + MAX_PEERS * (1 + MAX_ADDRESS)],
}
const BY_NUMBER = new Map(Object.entries(TYPES).map(([name, [type]]) => [type, name as Frame['type']]))

const MAGIC = concat(utf8('p2pns'), Uint8Array.of(1))
const HEAD = 5
/** Bytes before the data of a chunk. */
export const CHUNK_HEAD = HEAD + 4

function invalid(what: string): P2pnsError {
  return new P2pnsError('frame_invalid', what)
}

function u32(...values: number[]): Bytes {
  const bytes = Buffer.allocUnsafe(values.length * 4)
  values.forEach((value, i) => bytes.writeUInt32BE(value, i * 4))
  return bytes
}

function u16(value: number): Bytes {
  return Uint8Array.of(value >> 8, value & 255)
}

function textBody(text: string): Bytes {
  const bytes = utf8(text)
  return concat(Uint8Array.of(bytes.length), bytes)
}

function bodyOf(frame: Frame): Bytes {
  switch (frame.type) {
    case 'hello':
      return concat(MAGIC, frame.content)
    case 'manifest':
      return frame.stored
    case 'hashes':
      return concat(u32(frame.first, frame.count), u16(frame.leaves.length / HASH_SIZE), frame.leaves, frame.uncles)
    case 'bitfield':
      return frame.bits
    case 'hashesRequest':
    case 'have':
    case 'request':
    case 'cancel':
      return u32(frame.first, frame.count)
    case 'chunk':
      return concat(u32(frame.chunk), frame.data ?? new Uint8Array(0))
    case 'peers':
      return concat(Uint8Array.of(frame.peers.length), ...frame.peers.map(textBody))
    case 'bye':
      return concat(
        Uint8Array.of(BYE_REASONS.indexOf(frame.reason)),
        frame.chunk === undefined ? new Uint8Array(0) : u32(frame.chunk),
      )
    default:
      return new Uint8Array(0)
  }
}

export function encodeFrame(frame: Frame): Bytes {
  const body = bodyOf(frame)
  return concat(u32(1 + body.length), Uint8Array.of(TYPES[frame.type][0]), body)
}

/** Writes the CHUNK_HEAD bytes that go before `length` bytes of chunk data: so that many chunks fill one buffer. */
export function writeChunkHead(target: Buffer, at: number, chunk: number, length: number): void {
  target.writeUInt32BE(5 + length, at)
  target[at + 4] = TYPES.chunk[0]
  target.writeUInt32BE(chunk, at + HEAD)
}

function readFrame(type: Exclude<Frame['type'], 'chunk'>, body: Buffer): Frame {
  switch (type) {
    case 'hello':
      if (!equalBytes(body.subarray(0, MAGIC.length), MAGIC)) throw invalid('the peer speaks another protocol')
      return { type, content: body.subarray(MAGIC.length) }
    case 'manifest':
      return { type, stored: body }
    case 'bitfield':
      return { type, bits: body }
    case 'hashes': {
      const end = 10 + body.readUInt16BE(8) * HASH_SIZE
      if (end > body.length || (body.length - end) % HASH_SIZE !== 0) throw invalid('a hashes frame is cut')
      return { type, ...run(body, MAX_SPAN), leaves: body.subarray(10, end), uncles: body.subarray(end) }
    }
    case 'hashesRequest':
      return { type, ...run(body, MAX_SPAN) }
    case 'have':
    case 'request':
    case 'cancel':
      return { type, ...run(body, MAX_RUN) }
    case 'bye': {
      const reason = BYE_REASONS[body[0] as number]
      if (!reason) throw invalid('a bye frame has an unknown reason')
      if (body.length === 1) return { type, reason }
      if (body.length !== 5 || reason !== 'file_changed') throw invalid('a bye frame names a chunk for no reason')
      return { type, reason, chunk: body.readUInt32BE(1) }
    }
    case 'peers':
      return { type, peers: readTexts(body) }
    default:
      return { type }
  }
}

/** `u8 count`, then as many texts of `u8 length | bytes`. */
function readTexts(body: Buffer): string[] {
  const texts: string[] = []
  let at = 1
  for (let left = body[0] as number; left > 0; left--) {
    const end = at + 1 + (body[at] ?? 0)
    if (at >= body.length || end > body.length) throw invalid('a peers frame is cut')
    texts.push(body.toString('utf8', at + 1, end))
    at = end
  }
  if (at !== body.length || texts.length > MAX_PEERS) throw invalid('a peers frame has more than it says')
  return texts
}

function run(body: Buffer, limit: number): { first: number; count: number } {
  const first = body.readUInt32BE(0)
  const count = body.readUInt32BE(4)
  if (count < 1 || count > limit || first >= MAX_CHUNKS) throw invalid(`${first}+${count} is no run of chunks`)
  return { first, count }
}

export interface FrameHandler {
  /** Where to put the `length` bytes of `chunk`, or undefined to skip them. */
  open(chunk: number, length: number): Bytes | undefined
  /** Called in the order of the wire; the bytes in a frame are the receiver's. */
  frame(frame: Frame): void
}

type DecoderState = 'head' | 'body' | 'chunkNumber' | 'chunkData'

/** Reads frames from a stream that may be cut anywhere. */
export class FrameDecoder {
  readonly #handler: FrameHandler
  /** What is being gathered, and how much of it is here. */
  #part: Bytes = Buffer.allocUnsafe(HEAD)
  #filled = 0
  #state: DecoderState = 'head'
  #type: Frame['type'] = 'hello'
  #length = 0
  #chunk = 0
  #skip = false
  #chunkBytes = 0

  constructor(handler: FrameHandler) {
    this.#handler = handler
  }

  /** Throws `frame_invalid` at the first byte that cannot be right, and what the handler throws; the link is then lost. */
  push(bytes: Bytes): void {
    let at = 0
    while (at < bytes.length) {
      const take = Math.min(this.#wanted - this.#filled, bytes.length - at)
      if (!this.#skip) this.#part.set(bytes.subarray(at, at + take), this.#filled)
      this.#filled += take
      at += take
      if (this.#state === 'chunkData') this.#chunkBytes += take
      // A body may be empty, so one byte can end a head and a frame.
      while (this.#filled === this.#wanted) this.#advance()
    }
  }

  /** Bytes of chunks that came so far, also of those that are not whole yet. */
  get chunkBytes(): number {
    return this.#chunkBytes
  }

  /** True between two frames, the only place where a link may end. */
  get atBoundary(): boolean {
    return this.#state === 'head' && this.#filled === 0
  }

  get #wanted(): number {
    return this.#skip ? this.#length : this.#part.length
  }

  #gather(state: DecoderState, part: Bytes): void {
    this.#state = state
    this.#part = part
    this.#filled = 0
  }

  #advance(): void {
    const part = this.#part as Buffer
    switch (this.#state) {
      case 'head': {
        const type = BY_NUMBER.get(part[4] as number)
        if (type === undefined) throw invalid(`there is no frame of type ${part[4]}`)
        const [, min, max] = TYPES[type]
        this.#type = type
        this.#length = part.readUInt32BE(0) - 1
        if (this.#length < min || this.#length > max) {
          throw invalid(`a ${type} frame has ${this.#length} bytes, not ${min} to ${max}`)
        }
        if (type === 'chunk') this.#gather('chunkNumber', Buffer.allocUnsafe(4))
        else this.#gather('body', Buffer.allocUnsafeSlow(this.#length))
        return
      }
      case 'chunkNumber': {
        this.#chunk = part.readUInt32BE(0)
        this.#length -= 4
        const place = this.#handler.open(this.#chunk, this.#length)
        this.#skip = place === undefined
        this.#gather('chunkData', place ?? new Uint8Array(0))
        return
      }
      case 'chunkData': {
        const data = this.#skip ? undefined : this.#part
        this.#skip = false
        this.#gather('head', Buffer.allocUnsafe(HEAD))
        return this.#handler.frame({ type: 'chunk', chunk: this.#chunk, data })
      }
      case 'body': {
        this.#gather('head', Buffer.allocUnsafe(HEAD))
        return this.#handler.frame(readFrame(this.#type as Exclude<Frame['type'], 'chunk'>, part))
      }
    }
  }
}
