/** What may become of a record on its way, by accident or on purpose: in its bytes, in its fields, in its spelling, in its keys. */
import { readFileSync } from 'node:fs'
import { type Bytes, type CborValue, concat, fromCbor, fromHex, toCbor, toHex, utf8 } from '../../node/core/encoding.ts'
import { sha256 } from '../../node/core/keys.ts'
import type { Random } from '../sim/random.ts'
import type { Sample } from './corpus.ts'

export const MUTATIONS = {
  bitFlips,
  otherBytes,
  truncation,
  insertion,
  splice,
  fieldSwap,
  otherSpelling,
  craftedCurve,
} as const

export type Mutation = keyof typeof MUTATIONS

function vectors(file: string): unknown {
  return JSON.parse(readFileSync(new URL(`../vectors/${file}`, import.meta.url), 'utf8'))
}

const zip215 = vectors('zip215.json') as { vk_bytes: string; sig_bytes: string }[]
const edgeCases = vectors('edge-cases.json') as { pub_key: string; signature: string }[]
/** Keys under which, and signatures with which, some verifiers accept what nobody signed. */
const KEYS = [...zip215.map((c) => c.vk_bytes), ...edgeCases.map((c) => c.pub_key)].map(fromHex)
const SIGNATURES = [...zip215.map((c) => c.sig_bytes), ...edgeCases.map((c) => c.signature)].map(fromHex)
/** The order of the base point, little-endian: added to S, it gives another S that means the same. */
const ORDER = 2n ** 252n + 27742317777372353535851937790883648493n

function bitFlips(bytes: Bytes, random: Random): Bytes {
  const result = Uint8Array.from(bytes)
  for (let i = random.between(1, 3); i > 0; i--) {
    const bit = random.between(0, bytes.length * 8 - 1)
    result[bit >> 3] = (result[bit >> 3] as number) ^ (1 << (bit & 7))
  }
  return result
}

function otherBytes(bytes: Bytes, random: Random): Bytes {
  const result = Uint8Array.from(bytes)
  const at = random.between(0, bytes.length - 1)
  result.set(random.bytes(Math.min(random.between(1, 8), bytes.length - at)), at)
  return result
}

function truncation(bytes: Bytes, random: Random): Bytes {
  const cut = random.between(1, bytes.length)
  return random.chance(0.7) ? bytes.slice(0, -cut) : bytes.slice(cut)
}

function insertion(bytes: Bytes, random: Random): Bytes {
  const at = random.between(0, bytes.length)
  return concat(bytes.subarray(0, at), random.bytes(random.between(1, 40)), bytes.subarray(at))
}

/** The head of one record with the tail of another. */
function splice(bytes: Bytes, random: Random, others: readonly Sample[]): Bytes {
  const other = random.pick(others).bytes
  const at = random.between(0, bytes.length)
  return concat(bytes.subarray(0, at), other.subarray(random.chance(0.5) ? at : random.between(0, other.length)))
}

/** One field replaced by the one that another record has in its place, or by a neighbour, or bent; all of it well encoded. */
function fieldSwap(bytes: Bytes, random: Random, others: readonly Sample[]): Bytes {
  const tree = treeOf(bytes)
  if (tree === undefined) return zoneFields(bytes, random, others)
  const path = random.pick(pathsIn(tree))
  const donor = treeOf(random.pick(others).bytes) ?? tree
  const chosen = random.chance(0.5) ? at(donor, path) : at(tree, random.pick(pathsIn(tree)))
  const value = chosen === undefined || random.chance(0.3) ? bent(at(tree, path) ?? 0, random) : chosen
  return fromTree(replaced(tree, path, value))
}

/** The same values as a decoder may accept them and an encoder would not write them. */
function otherSpelling(bytes: Bytes, random: Random): Bytes {
  const tree = treeOf(bytes)
  if (tree === undefined) return zonePacket(bytes, random)
  const path = random.pick(pathsIn(tree))
  return fromTree(tree, { path, spell: (value) => misspelt(value, random) })
}

/** Keys of small order and signatures made for them; and S + L, which some verifiers take for S. */
function craftedCurve(bytes: Bytes, random: Random): Bytes {
  const tree = treeOf(bytes)
  if (tree === undefined) {
    const key = random.chance(0.7) ? random.pick(KEYS) : bytes.subarray(0, 32)
    return concat(key, craftedSignature(bytes.subarray(32, 96), random), bytes.subarray(96))
  }
  const paths = pathsIn(tree)
  const keys = new Map<string, Bytes>()
  let result = tree
  for (const path of paths) {
    const value = at(tree, path)
    if (!(value instanceof Uint8Array)) continue
    if (value.length === 32) {
      // The same key wherever it stood, so that what binds them still binds them.
      const id = toHex(value)
      keys.set(id, keys.get(id) ?? (random.chance(0.6) ? random.pick(KEYS) : value))
      result = replaced(result, path, keys.get(id) as Bytes)
    } else if (value.length === 64 && random.chance(0.8)) {
      result = replaced(result, path, craftedSignature(value, random))
    }
  }
  return fromTree(random.chance(0.8) ? rebound(result) : result)
}

/** With the keys of a realm in order, its id in the claims, and the owner of a lease in front of the zone that comes with it. */
function rebound(tree: Tree): Tree {
  const isRealm = (value: Tree | undefined): value is [number, Bytes[], number] =>
    Array.isArray(value) && Array.isArray(value[1]) && value[1].every((key) => key instanceof Uint8Array)
  const isClaim = (value: Tree | undefined) => Array.isArray(value) && value.length === 10
  const paths = pathsIn(tree)
  const realmPath = paths.find((path) => isRealm(at(tree, path)))
  if (realmPath === undefined) return tree
  const [quorum, keys, bits] = at(tree, realmPath) as [number, Bytes[], number]
  const realm = [quorum, keys.toSorted((a, b) => Buffer.compare(a, b)), bits]
  const rid = sha256(utf8('p2pns/realm/v1\0'), fromTree(realm))
  let result = replaced(tree, realmPath, realm)
  for (const path of paths.filter((one) => isClaim(at(tree, one)))) {
    result = replaced(result, [...path, 1], rid)
    const zone = at(result, [1])
    const owner = at(result, [...path, 5])
    if (realmPath.length === 3 && zone instanceof Uint8Array && owner instanceof Uint8Array) {
      result = replaced(result, [1], concat(owner, zone.subarray(32)))
    }
  }
  return result
}

function craftedSignature(good: Bytes, random: Random): Bytes {
  if (random.chance(0.7)) return random.pick(SIGNATURES)
  let s = BigInt(`0x${toHex(good.slice(32).toReversed())}`)
  s += ORDER * BigInt(random.between(1, 15))
  const bytes = fromHex((s % 2n ** 256n).toString(16).padStart(64, '0')).toReversed()
  return concat(good.subarray(0, 32), bytes)
}

/** A value as decoded; a byte string that holds CBOR is a `Nested`. */
type Tree = number | bigint | string | Bytes | Tree[] | Nested
interface Nested {
  inside: Tree
}

type Path = readonly number[]

function isNested(tree: Tree): tree is Nested {
  return typeof tree === 'object' && 'inside' in tree
}

/** Undefined for a zone record, which is not CBOR. */
function treeOf(bytes: Bytes): Tree | undefined {
  try {
    const value = fromCbor(bytes, 20_000, 'A record')
    return Array.isArray(value) ? nest(value) : undefined
  } catch {
    return undefined
  }
}

function nest(value: CborValue): Tree {
  if (Array.isArray(value)) return (value as readonly CborValue[]).map(nest)
  if (!(value instanceof Uint8Array)) return value as number | bigint | string
  const inside = value.length > 64 ? treeOf(value) : undefined
  return inside === undefined ? value : { inside }
}

function childrenOf(tree: Tree): Tree[] {
  if (Array.isArray(tree)) return tree
  return isNested(tree) ? [tree.inside] : []
}

function pathsIn(tree: Tree): Path[] {
  return [[], ...childrenOf(tree).flatMap((child, i) => pathsIn(child).map((rest) => [i, ...rest]))]
}

function at(tree: Tree, path: Path): Tree | undefined {
  const [first, ...rest] = path
  if (first === undefined) return tree
  const child = childrenOf(tree)[first]
  return child === undefined ? undefined : at(child, rest)
}

function replaced(tree: Tree, [first, ...rest]: Path, value: Tree): Tree {
  if (first === undefined) return value
  if (isNested(tree)) return { inside: replaced(tree.inside, rest, value) }
  return Array.isArray(tree) ? tree.map((child, i) => (i === first ? replaced(child, rest, value) : child)) : tree
}

/** CBOR of the tree; the value at `odd.path` is spelt as `odd.spell` says. */
function fromTree(tree: Tree, odd?: { path: Path; spell: (value: Tree) => Bytes }): Bytes {
  if (odd?.path.length === 0) return odd.spell(tree)
  const below = (i: number) => {
    return odd?.path[0] === i ? { path: odd.path.slice(1), spell: odd.spell } : undefined
  }
  if (Array.isArray(tree)) return concat(head(4, tree.length), ...tree.map((child, i) => fromTree(child, below(i))))
  if (isNested(tree)) {
    const inside = fromTree(tree.inside, below(0))
    return concat(head(2, inside.length), inside)
  }
  return toCbor(tree)
}

/** Major type and argument (RFC 8949 section 3), with `width` bytes of argument where the shortest form is not wanted. */
function head(major: number, argument: number | bigint, width?: 1 | 2 | 4 | 8): Bytes {
  const shortest = argument < 24 ? 0 : argument < 256 ? 1 : argument < 65_536 ? 2 : argument < 2 ** 32 ? 4 : 8
  const size = width ?? shortest
  if (size === 0) return Uint8Array.of((major << 5) | Number(argument))
  const bytes = Buffer.alloc(9)
  bytes[0] = (major << 5) | (24 + Math.log2(size))
  bytes.writeBigUInt64BE(BigInt(argument) << BigInt(64 - 8 * size), 1)
  return bytes.subarray(0, 1 + size)
}

/** A wrong value of the same type, near the good one or at an end of its range. */
function bent(value: Tree, random: Random): Tree {
  if (typeof value === 'number' || typeof value === 'bigint') {
    const near = Number(value) + random.pick([-1, 1, 60, -60, 86_400])
    return Math.max(0, random.pick([near, near, 0, 1, 23, 24, 255, 256, 2 ** 32 - 1, 2 ** 32, 2 ** 40, 2 ** 53 - 1]))
  }
  if (typeof value === 'string')
    return random.pick([`${value}a`, value.toUpperCase(), '', `${value}\0`, 'pet', 'é', '../x'])
  if (value instanceof Uint8Array) {
    return random.pick([value.slice(1), new Uint8Array(0), new Uint8Array(value.length), random.bytes(value.length)])
  }
  if (isNested(value)) return random.pick([value.inside, fromTree(value.inside), { inside: value } as Nested])
  const i = random.between(0, value.length)
  return random.pick([
    value.toReversed(),
    value.toSpliced(i, 1),
    [...value, ...value],
    [],
    value.toSpliced(i, 0, value),
  ])
}

/** CBOR of the same value that is not canonical, or of a value so like it that a careless reader takes it for the same. */
function misspelt(value: Tree, random: Random): Bytes {
  const plain = fromTree(value)
  const tag = random.pick([0xc0, 0xc2, 0xd7])
  if (random.chance(0.15)) return concat(Uint8Array.of(tag), plain)
  if (typeof value === 'number' || typeof value === 'bigint') {
    const float = Buffer.alloc(9, 0xfb)
    float.writeDoubleBE(Number(value), 1)
    const bignum = concat(Uint8Array.of(0xc2, 0x48), head(0, value, 8).subarray(1))
    return random.pick([float, bignum, ...wider(0, value)])
  }
  if (Array.isArray(value)) {
    const rest = plain.subarray(head(4, value.length).length)
    const endless = concat(Uint8Array.of(0x9f), rest, Uint8Array.of(0xff))
    return random.pick([endless, ...wider(4, value.length).map((other) => concat(other, rest))])
  }
  const major = typeof value === 'string' ? 3 : 2
  const content = isNested(value) ? fromTree(value.inside) : value instanceof Uint8Array ? value : utf8(value)
  const pieces = concat(Uint8Array.of((major << 5) | 31), head(major, content.length), content, Uint8Array.of(0xff))
  const otherType = concat(head(5 - major, content.length), content)
  return random.pick([pieces, otherType, ...wider(major, content.length).map((other) => concat(other, content))])
}

/** Heads that say the same in more bytes than needed. */
function wider(major: number, argument: number | bigint): Bytes[] {
  const widths = [1, 2, 4, 8] as const
  const needed = head(major, argument).length - 1
  return widths.filter((width) => width > needed).map((width) => head(major, argument, width))
}

/** Key, signature, seq or packet of another zone. */
function zoneFields(bytes: Bytes, random: Random, others: readonly Sample[]): Bytes {
  const [from, to] = random.pick([
    [0, 32],
    [32, 64],
    [64, 96],
    [32, 96],
    [96, 104],
    [104, bytes.length],
  ]) as [number, number]
  const other = random.pick(others.filter(({ kind }) => kind === 'zone')).bytes
  const donor = random.chance(0.7)
    ? other.subarray(from, to === bytes.length ? other.length : to)
    : random.bytes(to - from)
  return concat(bytes.subarray(0, from), donor, bytes.subarray(to))
}

/** The DNS packet of a zone with another header, or with a record twice or cut. */
function zonePacket(bytes: Bytes, random: Random): Bytes {
  const result = Uint8Array.from(bytes)
  const field = 104 + random.between(0, 11)
  result[field] = random.between(0, 255)
  const from = random.between(116, Math.max(116, bytes.length))
  return random.chance(0.5) ? result : concat(result, bytes.subarray(from))
}
