/**
 * The hash tree of a file: SHA-256 over 256 KiB chunks in the shape of RFC 6962 section 2.1. Level 0 holds the leaves; a
 * level above joins them in pairs from the left, and an odd last node rises unchanged. A *span* is an aligned run of
 * leaves (its length a power of two, its start a multiple of that, cut at the end of the file): it is one node of the
 * tree, so its leaves and the *uncles* beside the way up prove it against the root. Hash lists are plain bytes, 32 a hash.
 */
import { type Bytes, concat, equalBytes } from './encoding.ts'
import { P2pnsError } from './errors.ts'
import { sha256 } from './keys.ts'

/** Bytes. */
export const CHUNK_SIZE = 256 * 1024
export const HASH_SIZE = 32
/** Leaves in the longest span that may be asked for: 16 KiB of hashes, 128 MiB of file. */
export const MAX_SPAN = 512
/** Chunks in one file, and in one content: 4 TiB. */
export const MAX_CHUNKS = 2 ** 24

/** The root of an empty file, which has no chunk: the hash of nothing (RFC 6962, MTH({})). */
export const EMPTY_ROOT: Bytes = sha256(new Uint8Array(0))

/** `total`: leaves in the whole tree. `count`: nominal length; the last span of a file may hold fewer. */
export interface Span {
  total: number
  first: number
  count: number
}

const LEAF = Uint8Array.of(0)
const KEPT_LEVEL = Math.log2(MAX_SPAN)
const SPAN_BYTES = MAX_SPAN * HASH_SIZE

export function leafHash(chunk: Bytes): Bytes {
  return sha256(LEAF, chunk)
}

/** The leaf hashes of a file that is in memory. */
export function leavesOf(bytes: Bytes): Bytes {
  const leaves = new Uint8Array(chunkCount(bytes.length) * HASH_SIZE)
  for (let at = 0, leaf = 0; at < bytes.length; at += CHUNK_SIZE, leaf += HASH_SIZE) {
    leaves.set(leafHash(bytes.subarray(at, at + CHUNK_SIZE)), leaf)
  }
  return leaves
}

/** Chunks in a file of `size` bytes. */
export function chunkCount(size: number): number {
  return Math.ceil(size / CHUNK_SIZE)
}

/** The span of at most MAX_SPAN leaves around leaf `index`. */
export function spanAround(total: number, index: number): Span {
  return { total, first: index - (index % MAX_SPAN), count: MAX_SPAN }
}

/** Leaves that `span` really holds. */
export function spanLength(span: Span): number {
  return Math.min(span.count, span.total - span.first)
}

export function isAligned({ total, first, count }: Span): boolean {
  const integers = Number.isInteger(total) && Number.isInteger(first) && Number.isInteger(count)
  return (
    integers &&
    total <= MAX_CHUNKS &&
    count >= 1 &&
    count <= MAX_SPAN &&
    Number.isInteger(Math.log2(count)) &&
    first >= 0 &&
    first < total &&
    first % count === 0
  )
}

function levelAbove(level: Bytes): Bytes {
  const nodes = level.length / HASH_SIZE
  const above = new Uint8Array(Math.ceil(nodes / 2) * HASH_SIZE)
  const inner = new Uint8Array(1 + 2 * HASH_SIZE)
  inner[0] = 1
  for (let i = 0; i + 1 < nodes; i += 2) {
    inner.set(level.subarray(i * HASH_SIZE, (i + 2) * HASH_SIZE), 1)
    above.set(sha256(inner), (i / 2) * HASH_SIZE)
  }
  if (nodes % 2 === 1) above.set(level.subarray(-HASH_SIZE), above.length - HASH_SIZE)
  return above
}

function joined(left: Bytes, right: Bytes): Bytes {
  return levelAbove(concat(left, right))
}

/** The root over a list of leaf hashes. */
export function rootOf(leaves: Bytes): Bytes {
  if (leaves.length === 0) return EMPTY_ROOT
  let level = leaves
  while (level.length > HASH_SIZE) level = levelAbove(level)
  return level.slice()
}

/** Whether `leaves` with `uncles` (lowest first) are the span's part of the tree under `root`. Never throws. */
export function verifySpan(root: Bytes, span: Span, leaves: Bytes, uncles: Bytes): boolean {
  if (!isAligned(span) || leaves.length !== spanLength(span) * HASH_SIZE) return false
  let node = rootOf(leaves)
  let index = span.first / span.count
  let width = Math.ceil(span.total / span.count)
  let used = 0
  for (; width > 1; index = Math.floor(index / 2), width = Math.ceil(width / 2)) {
    if ((index ^ 1) >= width) continue
    const uncle = uncles.subarray(used, (used += HASH_SIZE))
    if (uncle.length !== HASH_SIZE) return false
    node = index % 2 === 0 ? joined(node, uncle) : joined(uncle, node)
  }
  return used === uncles.length && equalBytes(node, root)
}

/** The root of each span of MAX_SPAN leaves, from leaves that come in order and in any pieces. */
export class SpanRoots {
  readonly #roots: Bytes[] = []
  #rest: Bytes = new Uint8Array(0)

  add(leaves: Bytes): void {
    let bytes = this.#rest.length === 0 ? leaves : concat(this.#rest, leaves)
    for (; bytes.length >= SPAN_BYTES; bytes = bytes.subarray(SPAN_BYTES)) {
      this.#roots.push(rootOf(bytes.subarray(0, SPAN_BYTES)))
    }
    this.#rest = bytes.slice()
  }

  /** After the last leaf. */
  top(total: number): TreeTop {
    if (this.#rest.length > 0) this.#roots.push(rootOf(this.#rest))
    return new TreeTop(total, concat(...this.#roots))
  }
}

/** The tree of a file that is here whole, from the spans up: 32 bytes for each 128 MiB of the file, and as much above. */
export class TreeTop {
  readonly total: number
  readonly root: Bytes
  readonly #levels: Bytes[]

  /** `total`: leaves. `spans`: the roots of the spans of MAX_SPAN leaves. */
  constructor(total: number, spans: Bytes) {
    this.total = total
    this.#levels = [spans]
    let level = spans
    while (level.length > HASH_SIZE) this.#levels.push((level = levelAbove(level)))
    this.root = level.length === 0 ? EMPTY_ROOT : level
  }

  /**
   * The leaves and uncles that `verifySpan` wants. `around`: the leaves of the whole span of MAX_SPAN that `first` lies in.
   * Throws `frame_invalid` on a span that is none of this tree.
   */
  prove(first: number, count: number, around: Bytes): { leaves: Bytes; uncles: Bytes } {
    const span = { total: this.total, first, count }
    if (!isAligned(span)) throw new P2pnsError('frame_invalid', `${first}+${count} is no span of ${span.total} chunks`)
    const inSpan = first % MAX_SPAN
    const uncles: Bytes[] = []
    let index = first / count
    let width = Math.ceil(span.total / count)
    for (let level = Math.log2(count); width > 1; level++) {
      if ((index ^ 1) < width) uncles.push(this.#node(level, index ^ 1, around))
      index = Math.floor(index / 2)
      width = Math.ceil(width / 2)
    }
    const leaves = around.subarray(inSpan * HASH_SIZE, (inSpan + spanLength(span)) * HASH_SIZE)
    return { leaves, uncles: concat(...uncles) }
  }

  #node(level: number, index: number, around: Bytes): Bytes {
    const kept = this.#levels[level - KEPT_LEVEL]
    if (kept) return kept.subarray(index * HASH_SIZE, (index + 1) * HASH_SIZE)
    const nodes = 2 ** level
    const start = (index * nodes) % MAX_SPAN
    return rootOf(around.subarray(start * HASH_SIZE, (start + nodes) * HASH_SIZE))
  }
}

/** The tree of a file whose leaves are in memory: an entry list, or a small file. */
export class Tree {
  readonly leaves: Bytes
  readonly #top: TreeTop

  constructor(leaves: Bytes) {
    const roots = new SpanRoots()
    roots.add(leaves)
    this.leaves = leaves
    this.#top = roots.top(leaves.length / HASH_SIZE)
  }

  get root(): Bytes {
    return this.#top.root
  }

  get total(): number {
    return this.#top.total
  }

  /** As TreeTop. */
  prove(first: number, count: number): { leaves: Bytes; uncles: Bytes } {
    const start = first - (first % MAX_SPAN)
    return this.#top.prove(first, count, this.leaves.subarray(start * HASH_SIZE, (start + MAX_SPAN) * HASH_SIZE))
  }
}
