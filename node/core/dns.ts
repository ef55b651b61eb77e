/**
 * The DNS wire form (RFC 1035 sections 3 and 4): names, resource records, and name compression. Read strictly and within
 * bounds; written compressed (section 4.1.4), inside RDATA only for the types of RFC 1035 itself (RFC 3597 section 4).
 */
import { type Bytes, concat } from './encoding.ts'
import { P2pnsError } from './errors.ts'

/** A resource record of class IN. */
export interface Rr {
  /** Presentation form (RFC 1035 section 5.1 escapes), lower-case, no final dot; '' is the root, or a zone's apex. */
  name: string
  type: number
  /** Seconds. */
  ttl: number
  /** With every name in it written out. */
  rdata: Bytes
}

export const CLASS_IN = 1
export const HEADER_BYTES = 12
/** The longest name on the wire, length bytes and the root's zero included (RFC 1035 section 3.1). */
export const MAX_NAME_BYTES = 255
const MAX_LABEL_BYTES = 63
const MAX_RDATA_BYTES = 0xffff
/** A pointer is two bytes with the two highest bits set; the other 14 are the offset. */
const POINTER = 0xc0
const POINTER_LIMIT = 0x4000
/** Followed in one name, which has no more labels: else each name of a message could follow thousands. */
const MAX_POINTERS = 127

function malformed(what: string): P2pnsError {
  return new P2pnsError('malformed', what)
}

function labelText(label: Bytes): string {
  let text = ''
  for (const byte of label) {
    const lower = byte >= 0x41 && byte <= 0x5a ? byte + 0x20 : byte
    if (lower === 0x2e || lower === 0x5c) text += `\\${String.fromCharCode(lower)}`
    else if (lower > 0x20 && lower < 0x7f) text += String.fromCharCode(lower)
    else text += `\\${String(lower).padStart(3, '0')}`
  }
  return text
}

/** The uncompressed wire form of a name; lower-cased. `malformed` when a label or the whole is too long or empty. */
export function nameToWire(name: string): Bytes {
  const out = Buffer.alloc(MAX_NAME_BYTES + 1)
  let start = 0
  let at = 1
  const endLabel = (): void => {
    const length = at - start - 1
    if (length === 0 || length > MAX_LABEL_BYTES)
      throw malformed(`"${name.slice(0, 80)}" has a label of ${length} bytes`)
    out[start] = length
    start = at++
  }
  for (let i = 0; i < name.length; i++) {
    if (at >= MAX_NAME_BYTES) throw malformed(`"${name.slice(0, 80)}..." is longer than a DNS name may be`)
    let code = name.charCodeAt(i)
    if (code === 0x2e) {
      endLabel()
      continue
    }
    if (code === 0x5c) {
      const escape = /^(?:(\d{3})|(\D))/.exec(name.slice(i + 1, i + 4))
      code = escape?.[1] === undefined ? (escape?.[2] ?? '').charCodeAt(0) : Number(escape[1])
      i += escape?.[1] === undefined ? 1 : 3
    }
    if (!(code <= 0xff)) throw malformed(`"${name.slice(0, 80)}" is not a DNS name`)
    out[at++] = code >= 0x41 && code <= 0x5a ? code + 0x20 : code
  }
  if (name !== '') endLabel()
  return out.subarray(0, start + 1)
}

/**
 * The name at `at`, pointers followed, its bytes when written out, and where it ends. A pointer must lead to a name that ended before the
 * one it stands in began (RFC 1035 section 4.1.4: "a prior occurrence"), so that no chain of them loops, and no name changes with what
 * comes after it; offsets into the header are refused.
 */
export function readName(message: Bytes, at: number): { name: string; size: number; end: number } {
  const labels: string[] = []
  let size = 1
  let end: number | undefined
  let start = at
  let limit = message.length
  let pointers = 0
  for (;;) {
    const length = at < limit ? (message[at] as number) : undefined
    if (length === undefined) throw malformed('a DNS name runs past where it must end')
    if (length === 0) return { name: labels.join('.'), size, end: end ?? at + 1 }
    if (length >= POINTER) {
      const target = ((length & 0x3f) << 8) | (message[at + 1] ?? 0)
      if (at + 1 >= limit || target >= start || target < HEADER_BYTES) {
        throw malformed('a DNS name holds a pointer that does not lead backwards')
      }
      if (++pointers > MAX_POINTERS) throw malformed('a DNS name holds too many pointers')
      end ??= at + 2
      limit = start
      start = at = target
      continue
    }
    size += length + 1
    if (length > MAX_LABEL_BYTES || size > MAX_NAME_BYTES || at + 1 + length > limit) {
      throw malformed('a DNS name is too long')
    }
    labels.push(labelText(message.subarray(at + 1, at + 1 + length)))
    at += 1 + length
  }
}

/** What an RDATA is made of: a count of plain bytes, a name, one character-string, at least one until the end, or any bytes until there. */
type Field = number | 'name' | 'string' | 'strings' | 'rest'

const ONE_NAME: Field[] = ['name']

/** The types whose RDATA may be compressed (RFC 1035 section 3.3). */
const COMPRESSED = new Map<number, Field[]>([
  [2, ONE_NAME], // NS
  [3, ONE_NAME], // MD
  [4, ONE_NAME], // MF
  [5, ONE_NAME], // CNAME
  [6, ['name', 'name', 20]], // SOA
  [7, ONE_NAME], // MB
  [8, ONE_NAME], // MG
  [9, ONE_NAME], // MR
  [12, ONE_NAME], // PTR
  [14, ['name', 'name']], // MINFO
  [15, [2, 'name']], // MX
])

/** Types that are never compressed by us; those with names must be read even when they were (RFC 3597 section 4). */
const PLAIN = new Map<number, Field[]>([
  [1, [4]], // A
  [16, ['strings']], // TXT
  [17, ['name', 'name']], // RP
  [18, [2, 'name']], // AFSDB
  [21, [2, 'name']], // RT
  [26, [2, 'name', 'name']], // PX
  [28, [16]], // AAAA
  [33, [6, 'name']], // SRV
  [35, [4, 'string', 'string', 'string', 'name']], // NAPTR
  [36, [2, 'name']], // KX
  [39, ONE_NAME], // DNAME
  [64, [2, 'name', 'rest']], // SVCB
  [65, [2, 'name', 'rest']], // HTTPS
])

/**
 * The RDATA that stands in `message` from `at` to `end`, in pieces: names as text, all else as bytes. A type whose form
 * is not known here is one piece. `malformed` when it does not fit its type exactly.
 */
export function rdataParts(type: number, message: Bytes, at: number, end: number): (string | Bytes)[] {
  const fields = COMPRESSED.get(type) ?? PLAIN.get(type)
  if (!fields) return [message.subarray(at, end)]
  const parts: (string | Bytes)[] = []
  for (const field of fields) {
    if (field === 'name') {
      const { name, end: after } = readName(message, at)
      parts.push(name)
      at = after
      continue
    }
    const start = at
    const until = field === 'strings' ? end : start
    if (typeof field === 'number') at += field
    else if (field === 'rest') at = Math.max(at, end)
    else {
      do at += 1 + (message[at] ?? 0)
      while (at < until)
    }
    parts.push(message.subarray(start, Math.min(at, end)))
  }
  if (at !== end) throw malformed(`the data of a record of type ${type} does not have the form of its type`)
  return parts
}

function joinParts(parts: (string | Bytes)[]): Bytes {
  return concat(...parts.map((part) => (typeof part === 'string' ? nameToWire(part) : part)))
}

/** `malformed` unless `rdata` has the form of `type`, with every name in it uncompressed. */
export function checkRdata(type: number, rdata: Bytes): void {
  const plain = joinParts(rdataParts(type, rdata, 0, rdata.length))
  if (plain.length !== rdata.length) throw malformed(`the data of a record of type ${type} holds a compressed name`)
}

/** The same RDATA with every name in it replaced by `replace(name)`. */
export function mapRdataNames(type: number, rdata: Bytes, replace: (name: string) => string): Bytes {
  const parts = rdataParts(type, rdata, 0, rdata.length)
  return joinParts(parts.map((part) => (typeof part === 'string' ? replace(part) : part)))
}

/**
 * `count` records of class IN from `at` on, and where they end. `too_large` when their owners and data, every name written
 * out, have over `limit` bytes: a pointer of 2 bytes may stand for a name of 255.
 */
export function readRecords(message: Bytes, at: number, count: number, limit: number): { rrs: Rr[]; end: number } {
  const view = new DataView(message.buffer, message.byteOffset, message.byteLength)
  const rrs: Rr[] = []
  let size = 0
  while (rrs.length < count) {
    const { name, size: nameSize, end: fixed } = readName(message, at)
    const start = fixed + 10
    if (start > message.length) throw malformed('a DNS record runs past the end of its message')
    const type = view.getUint16(fixed)
    const end = start + view.getUint16(fixed + 8)
    if (end > message.length) throw malformed('a DNS record runs past the end of its message')
    if (view.getUint16(fixed + 2) !== CLASS_IN) throw malformed('a DNS record is not of class IN')
    const ttl = view.getUint32(fixed + 4)
    const rdata = joinParts(rdataParts(type, message, start, end))
    size += nameSize + rdata.length
    // Written out, the data of one record may be too long for a record.
    if (size > limit || rdata.length > MAX_RDATA_BYTES) {
      throw new P2pnsError('too_large', `a DNS message has over ${limit} bytes when it is written out`)
    }
    // A TTL with the highest bit set counts as zero (RFC 2181 section 8).
    rrs.push({ name, type, ttl: ttl > 0x7fffffff ? 0 : ttl, rdata })
    at = end
  }
  return { rrs, end: at }
}

/** Writes a message: a head (the header, or the header and one question), then records, compressing names against all before. */
export class DnsWriter {
  #buffer = Buffer.alloc(512)
  #length = 0
  /** Wire form of a name (lower-case) to the offset where it stands. */
  readonly #names = new Map<string, number>()

  /** `head`: the first bytes, copied as they are; a question in it stands at offset 12 and serves compression. */
  constructor(head: Bytes) {
    this.#append(head)
    if (head.length > HEADER_BYTES)
      this.#remember(Buffer.from(nameToWire(readName(head, HEADER_BYTES).name)), HEADER_BYTES)
  }

  get length(): number {
    return this.#length
  }

  /** Appends a record; answers the offset of its TTL. */
  record(rr: Rr): number {
    this.#name(rr.name, true)
    const fixed = Buffer.alloc(10)
    fixed.writeUInt16BE(rr.type, 0)
    fixed.writeUInt16BE(CLASS_IN, 2)
    fixed.writeUInt32BE(rr.ttl, 4)
    this.#append(fixed)
    const start = this.#length
    const compress = COMPRESSED.has(rr.type)
    for (const part of rdataParts(rr.type, rr.rdata, 0, rr.rdata.length)) {
      if (typeof part === 'string') this.#name(part, compress)
      else this.#append(part)
    }
    const size = this.#length - start
    if (size > MAX_RDATA_BYTES) throw new P2pnsError('too_large', `the data of a record has ${size} bytes`)
    this.#buffer.writeUInt16BE(size, start - 2)
    return start - 6
  }

  /** A copy of what was written. */
  bytes(): Buffer {
    return Buffer.from(this.#buffer.subarray(0, this.#length))
  }

  #name(name: string, compress: boolean): void {
    const wire = Buffer.from(nameToWire(name))
    if (!compress) return this.#append(wire)
    for (let at = 0; wire[at] !== 0; at += 1 + (wire[at] as number)) {
      const known = this.#names.get(wire.toString('latin1', at))
      if (known === undefined) continue
      this.#remember(wire, this.#length, at)
      this.#append(wire.subarray(0, at))
      return this.#append(Buffer.from([POINTER | (known >> 8), known & 0xff]))
    }
    this.#remember(wire, this.#length)
    this.#append(wire)
  }

  /** Notes the suffixes of `wire`, which stands at `offset`, that begin before `until`. */
  #remember(wire: Buffer, offset: number, until = wire.length): void {
    for (let at = 0; at < until && wire[at] !== 0 && offset + at < POINTER_LIMIT; at += 1 + (wire[at] as number)) {
      this.#names.set(wire.toString('latin1', at), offset + at)
    }
  }

  #append(bytes: Bytes): void {
    const length = this.#length + bytes.length
    if (length > this.#buffer.length) {
      const grown = Buffer.alloc(Math.max(length, this.#buffer.length * 2))
      this.#buffer.copy(grown, 0, 0, this.#length)
      this.#buffer = grown
    }
    this.#buffer.set(bytes, this.#length)
    this.#length = length
  }
}
