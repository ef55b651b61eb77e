/**
 * What a content identifier stands for: a signed list of paths, sizes and tree roots (docs/spec/manifest.md).
 *
 *     manifest = [1, publisher, created, hint, entries | [size, root]]
 *     entry    = [path, size, root, mode, type]
 *     stored   = [manifest bytes, signature over "p2pns/manifest/v1\0" | manifest bytes]
 *
 * The first entry is the content itself, with the empty path: a file, and then it is the only entry, or a folder, and then
 * everything in it follows. Entries stand in byte order of their paths, each after the folder it lies in. A list too long
 * for MAX_DHT_MANIFEST is set apart: it is then a file of its own, given by size and root and fetched like any other.
 */
import { CID } from 'multiformats/cid'
import { create as createDigest } from 'multiformats/hashes/digest'
import { type Bytes, type CborValue, compareBytes, concat, equalBytes, fromCbor, toCbor, utf8 } from './encoding.ts'
import { P2pnsError } from './errors.ts'
import { type KeyPair, sha256, verify } from './keys.ts'
import { checkPath, collisionKey, parentOf } from './path.ts'
import { readRows } from './rows.ts'
import { asBytes, asList, asText, asUint } from './shape.ts'
import { CHUNK_SIZE, chunkCount, EMPTY_ROOT, HASH_SIZE, leavesOf, MAX_CHUNKS, rootOf } from './tree.ts'

/** Bytes of a manifest in its stored form; every one fits in a DHT record. */
export const MAX_DHT_MANIFEST = 8192
/** Bytes of an entry list that is set apart. */
export const MAX_LIST = 16 * 1024 * 1024
/** Entries of a content: each is a file or folder that somebody's disk and memory have to hold. */
export const MAX_ENTRIES = 200_000

export interface FileEntry {
  type: 'file'
  /** Relative, '/' between components, '' for the content itself. */
  path: string
  /** Bytes. */
  size: number
  root: Bytes
  /** The nine permission bits. */
  mode: number
}

export interface FolderEntry {
  type: 'folder'
  path: string
  mode: number
}

export type Entry = FileEntry | FolderEntry

/** An entry list that is set apart: a file of `size` bytes under `root`. */
export interface ListFile {
  size: number
  root: Bytes
}

export interface SignedManifest {
  /** CIDv1, dag-cbor, sha2-256 of the manifest bytes, base32. */
  id: string
  /** The 32 bytes inside `id`. */
  hash: Bytes
  /** The stored form, signature included. */
  stored: Bytes
  publisher: Bytes
  /** Seconds since 1970. */
  created: number
  /** A file name to offer when nobody asked for another; safe as one path component, or empty. */
  hint: string
  /** Undefined while the list is set apart and not yet read (`withList`). */
  entries: readonly Entry[] | undefined
  list: ListFile | undefined
}

const VERSION = 1
const DAG_CBOR = 0x71
const SHA2_256 = 0x12
const CONTEXT = utf8('p2pns/manifest/v1\0')
const DHT_PREFIX = utf8('/p2pns-m/')
const FILE = 0
const FOLDER = 1
/** Bytes of an entry: the longest path, and what stands around it. */
const MAX_ROW = 1200
/** Entries read before others get a turn. */
const STEP = 500

export function cidOfHash(hash: Bytes): string {
  return CID.createV1(DAG_CBOR, createDigest(SHA2_256, hash)).toString()
}

/** The 32 bytes inside a content identifier. Throws `cid_invalid`. */
export function hashOfCid(id: string): Bytes {
  let cid: CID | undefined
  try {
    cid = id.length <= 100 ? CID.parse(id) : undefined
  } catch {
    cid = undefined
  }
  if (!cid || cid.code !== DAG_CBOR || cid.multihash.code !== SHA2_256 || cid.toString() !== id) {
    throw new P2pnsError('cid_invalid', `"${id.slice(0, 80)}" is not the CID of a manifest`)
  }
  return cid.multihash.digest
}

/** `/p2pns-m/` and the 32 bytes inside `id`. */
export function manifestDhtKey(id: string): Bytes {
  return concat(DHT_PREFIX, hashOfCid(id))
}

/** The entry list as it is set apart. */
export function encodeEntries(entries: readonly Entry[]): Bytes {
  return toCbor(entries.map(toRow))
}

/** The root and size that stand for an entry list set apart. */
function listFileOf(bytes: Bytes): ListFile {
  return { size: bytes.length, root: rootOf(leavesOf(bytes)) }
}

/** The identifier of a manifest whose entries stand inside it, which follows from what it says; nobody has to sign it for that. */
export function idOf(
  publisher: Bytes,
  { created, hint, entries }: { created: number; hint: string; entries: Entry[] },
): string {
  return cidOfHash(sha256(toCbor([VERSION, publisher, created, hint, entries.map(toRow)])))
}

/**
 * Signs `entries` (in any order). `created`: seconds since 1970. Throws `path_unsafe` or `too_large` for what no reader
 * would accept.
 */
export function signManifest(
  pair: KeyPair,
  { created, hint, entries }: { created: number; hint: string; entries: readonly Entry[] },
): SignedManifest {
  if (entries.length > MAX_ENTRIES) throw tooMany()
  const sorted = [...entries].sort((a, b) => compareBytes(utf8(a.path), utf8(b.path)))
  const rows = sorted.map(toRow)
  const sign = (content: CborValue): Bytes => {
    const bytes = toCbor([VERSION, pair.publicKey, created, hint, content])
    return toCbor([bytes, pair.sign(concat(CONTEXT, bytes))])
  }
  const whole = sign(rows)
  if (whole.length <= MAX_DHT_MANIFEST) return parseManifest(whole)
  const list = encodeEntries(sorted)
  const { size, root } = listFileOf(list)
  return withList(parseManifest(sign([size, root])), list)
}

/**
 * Reads the stored form: bounded, canonical, signed by the publisher inside, every path safe; with `expect`, the one that
 * `expect.id` stands for. Throws `too_large`, `malformed`, `key_mismatch`, `signature_invalid` or `path_unsafe`.
 */
export function parseManifest(stored: Bytes, expect?: { id: string }): SignedManifest {
  const outer = asList(fromCbor(stored, MAX_DHT_MANIFEST, 'a manifest'), 'a stored manifest', 2)
  const bytes = asBytes(outer[0], 'a manifest')
  const signature = asBytes(outer[1], 'the signature of a manifest', 64)
  const hash = sha256(bytes)
  const id = cidOfHash(hash)
  if (expect && expect.id !== id) throw new P2pnsError('key_mismatch', `manifest ${id} is not the wanted ${expect.id}`)

  const fields = asList(fromCbor(bytes, MAX_DHT_MANIFEST, 'a manifest'), 'a manifest', 5)
  if (fields[0] !== VERSION) throw malformed(`manifest version ${String(fields[0])} is not known`)
  const publisher = asBytes(fields[1], 'the publisher', 32)
  const created = asUint(fields[2], 'the creation time', Number.MAX_SAFE_INTEGER)
  const hint = readHint(fields[3])
  if (!verify(publisher, concat(CONTEXT, bytes), signature)) {
    throw new P2pnsError('signature_invalid', `manifest ${id} is not signed by its publisher`)
  }
  const head = { id, hash, stored: Uint8Array.from(stored), publisher, created, hint }
  const content = asList(fields[4], 'the entries', 1, MAX_DHT_MANIFEST)
  if (Array.isArray(content[0])) return { ...head, entries: readEntries(content), list: undefined }
  asList(content, 'the reference to an entry list', 2)
  const size = asUint(content[0], 'the size of an entry list', Number.MAX_SAFE_INTEGER)
  if (size > MAX_LIST) throw new P2pnsError('too_large', `an entry list has ${size} bytes, the limit is ${MAX_LIST}`)
  return {
    ...head,
    entries: undefined,
    list: { size, root: asBytes(content[1], 'the root of an entry list', HASH_SIZE) },
  }
}

/** `manifest` with the entries of its list, once that was fetched. Throws `key_mismatch` and what `parseManifest` throws. */
export function withList(manifest: SignedManifest, bytes: Bytes): SignedManifest {
  const steps = stepsWithList(manifest, bytes)
  for (;;) {
    const step = steps.next()
    if (step.done) return step.value
  }
}

/** As `withList`, in steps of a few milliseconds: a list of MAX_ENTRIES takes a second, and others want to be served. */
export function* stepsWithList(manifest: SignedManifest, bytes: Bytes): Generator<void, SignedManifest> {
  const { list } = manifest
  if (!list) throw new P2pnsError('internal', 'this manifest has its entries inside')
  const found = bytes.length > MAX_LIST ? undefined : listFileOf(bytes)
  if (found?.size !== list.size || !equalBytes(found.root, list.root)) {
    throw new P2pnsError('key_mismatch', `the entry list is not the one of manifest ${manifest.id}`)
  }
  const reader = new EntryReader()
  for (const row of readRows(bytes, { what: 'an entry list', rows: MAX_ENTRIES, rowBytes: MAX_ROW })) {
    reader.add(row)
    if (reader.entries.length % STEP === 0) yield
  }
  if (reader.entries.length === 0) throw malformed('an entry list is empty')
  return { ...manifest, entries: reader.entries }
}

/** What the entries hold: bytes and number of files. */
export function totals(entries: readonly Entry[]): { bytes: number; files: number } {
  let bytes = 0
  let files = 0
  for (const entry of entries) {
    if (entry.type === 'folder') continue
    bytes += entry.size
    files++
  }
  return { bytes, files }
}

function toRow(entry: Entry): CborValue {
  return entry.type === 'file'
    ? [entry.path, entry.size, entry.root, entry.mode, FILE]
    : [entry.path, 0, new Uint8Array(0), entry.mode, FOLDER]
}

function readHint(value: CborValue | undefined): string {
  const hint = asText(value, 'the name hint')
  if (hint === '') return hint
  checkPath(hint)
  if (hint.includes('/')) throw new P2pnsError('path_unsafe', `the name hint ${JSON.stringify(hint)} is a path`)
  return hint
}

function readEntry(row: CborValue): Entry {
  const fields = asList(row, 'an entry', 5)
  const path = asText(fields[0], 'the path of an entry')
  const what = `entry ${JSON.stringify(path.slice(0, 80))}`
  const size = asUint(fields[1], `the size of ${what}`, MAX_CHUNKS * CHUNK_SIZE)
  const mode = asUint(fields[3], `the mode of ${what}`, 0o777)
  if (fields[4] === FOLDER) {
    if (size !== 0) throw malformed(`${what} is a folder with a size`)
    asBytes(fields[2], `the root of ${what}`, 0)
    return { type: 'folder', path, mode }
  }
  if (fields[4] !== FILE) throw malformed(`${what} is neither file nor folder`)
  const root = asBytes(fields[2], `the root of ${what}`, HASH_SIZE)
  if ((size === 0) !== equalBytes(root, EMPTY_ROOT)) throw malformed(`${what} has the root of another size`)
  return { type: 'file', path, size, root, mode }
}

function readEntries(rows: readonly CborValue[]): Entry[] {
  const reader = new EntryReader()
  for (const row of rows) reader.add(row)
  return reader.entries
}

/** Takes the rows of a list one after the other; each is judged by those before it. */
class EntryReader {
  readonly entries: Entry[] = []
  readonly #folders = new Set<string>()
  /** By what some systems take them for. */
  readonly #seen = new Map<string, string>()
  #last: Bytes | undefined
  #chunks = 0

  /** Throws `malformed`, `path_unsafe` or `too_large`. */
  add(row: CborValue): void {
    const entry = readEntry(row)
    const { path } = entry
    const order = utf8(path)
    if (this.#last && compareBytes(this.#last, order) >= 0) {
      throw malformed(`entry ${JSON.stringify(path)} is out of order`)
    }
    this.#last = order
    if (this.entries.length > 0) this.#checkPlace(path)
    else if (path !== '') throw malformed('the first entry is not the content itself')
    if (entry.type === 'folder') this.#folders.add(path)
    else this.#chunks += chunkCount(entry.size)
    if (this.#chunks > MAX_CHUNKS - chunkCount(MAX_LIST)) {
      throw new P2pnsError('too_large', 'the content has too many chunks')
    }
    this.entries.push(entry)
  }

  #checkPlace(path: string): void {
    checkPath(path)
    if (!this.#folders.has(parentOf(path))) throw unsafe(path, 'it lies in no folder of the manifest')
    const key = collisionKey(path)
    const twin = this.#seen.get(key)
    if (twin !== undefined) throw unsafe(path, `some systems cannot tell it from ${JSON.stringify(twin)}`)
    this.#seen.set(key, path)
  }
}

function tooMany(): P2pnsError {
  return new P2pnsError('too_large', `the content has more than ${MAX_ENTRIES} files and folders`)
}

function unsafe(path: string, why: string): P2pnsError {
  return new P2pnsError('path_unsafe', `entry ${JSON.stringify(path.slice(0, 80))} was refused: ${why}`)
}

function malformed(what: string): P2pnsError {
  return new P2pnsError('malformed', what)
}
