/** Query packets made by hand, and responses read by a reader of their own: neither knows the code that is tested. */

export interface Made {
  /** All of bytes 2 and 3; default: RD. */
  flags?: number
  class?: number
  /** Counts of the four sections; default: what is there. */
  counts?: [number, number, number, number]
  /** Whole records, as bytes, behind the question. */
  records?: Buffer[]
  /** Bytes that belong to nothing. */
  tail?: Buffer
}

export const TYPES: Record<string, number> = {
  A: 1,
  NS: 2,
  CNAME: 5,
  SOA: 6,
  PTR: 12,
  HINFO: 13,
  MX: 15,
  TXT: 16,
  AAAA: 28,
  SRV: 33,
  OPT: 41,
  SVCB: 64,
  HTTPS: 65,
  ANY: 255,
  CAA: 257,
}

export function u16(...values: number[]): Buffer {
  return Buffer.from(values.flatMap((value) => [value >> 8, value & 0xff]))
}

/** Bytes of a name, one char each; its case is kept. */
export function wireName(name: string): Buffer {
  const labels = name === '' ? [] : name.split('.').map((label) => Buffer.from(label, 'latin1'))
  return Buffer.concat([...labels.flatMap((label) => [Buffer.from([label.length]), label]), Buffer.alloc(1)])
}

export function typeOf(type: string | number): number {
  return typeof type === 'number' ? type : (TYPES[type] ?? Number(type.replace('TYPE', '')))
}

/** A query; its id is 0x1234. */
export function ask(name: string | Buffer, type: string | number = 'A', made: Made = {}): Buffer {
  const owner = typeof name === 'string' ? wireName(name) : name
  return message(Buffer.concat([owner, u16(typeOf(type), made.class ?? 1)]), made)
}

export function message(
  question: Buffer,
  { flags = 0x0100, counts, records = [], tail = Buffer.alloc(0) }: Made = {},
): Buffer {
  const [questions, answers, authorities, additionals] = counts ?? [question.length > 0 ? 1 : 0, 0, 0, records.length]
  return Buffer.concat([u16(0x1234, flags, questions, answers, authorities, additionals), question, ...records, tail])
}

export interface Opt {
  payload?: number
  version?: number
  /** The 16 bits behind the version. */
  flags?: number
  options?: Buffer
  owner?: Buffer
}

export function opt({
  payload = 1232,
  version = 0,
  flags = 0,
  options = Buffer.alloc(0),
  owner = wireName(''),
}: Opt = {}): Buffer {
  return Buffer.concat([owner, u16(41, payload), Buffer.from([0, version]), u16(flags, options.length), options])
}

export function option(code: number, data: Buffer | string = ''): Buffer {
  const bytes = typeof data === 'string' ? Buffer.from(data, 'hex') : data
  return Buffer.concat([u16(code, bytes.length), bytes])
}

/** A record of class IN. */
export function record(name: string, type: string, rdata: Buffer, ttl = 0): Buffer {
  return Buffer.concat([wireName(name), u16(typeOf(type), 1, ttl >> 16, ttl & 0xffff, rdata.length), rdata])
}

/** What a response says, in a form that can be compared and printed. */
export interface Reply {
  rcode: number
  opcode: number
  /** Of aa tc rd ra z ad cd, those that are set. */
  flags: string
  /** Hex; empty for none. */
  question: string
  /** `name type data`, sorted: the order of a set means nothing. A CNAME chain stays in its order. */
  answer: string[]
  authority: string[]
  additional: string[]
  /** TTLs of the answer records. */
  ttls: number[]
  opt: { payload: number; version: number; flags: number } | undefined
  /** `code:hex`. */
  options: string[]
  size: number
  /** Owner names of the answers as they stand, in their case. */
  owners: string[]
}

const FLAGS: [string, number][] = [
  ['aa', 0x0400],
  ['tc', 0x0200],
  ['rd', 0x0100],
  ['ra', 0x0080],
  ['z', 0x0040],
  ['ad', 0x0020],
  ['cd', 0x0010],
]

/** Throws when the packet is not one message, whole and without a byte left over. */
export function readReply(packet: Buffer): Reply {
  const [, flags = 0, questions = 0, ...counts] = Array.from({ length: 6 }, (_, i) => packet.readUInt16BE(i * 2))
  if ((flags & 0x8000) === 0) throw new Error('QR is not set')
  let at = 12
  for (let left = questions; left > 0; left--) at = nameAt(packet, at).end + 4
  const reply: Reply = {
    rcode: flags & 0x0f,
    opcode: (flags >> 11) & 0x0f,
    flags: FLAGS.filter(([, bit]) => flags & bit)
      .map(([name]) => name)
      .join(' '),
    question: packet.toString('hex', 12, at),
    answer: [],
    authority: [],
    additional: [],
    ttls: [],
    opt: undefined,
    options: [],
    size: packet.length,
    owners: [],
  }
  for (const [i, section] of [reply.answer, reply.authority, reply.additional].entries()) {
    for (let left = counts[i] ?? 0; left > 0; left--) at = readInto(reply, section, packet, at)
  }
  if (at !== packet.length) throw new Error(`${packet.length - at} bytes are left over`)
  return reply
}

function readInto(reply: Reply, section: string[], packet: Buffer, at: number): number {
  const { name, end } = nameAt(packet, at)
  const type = packet.readUInt16BE(end)
  const start = end + 10
  const after = start + packet.readUInt16BE(end + 8)
  if (after > packet.length) throw new Error('a record overruns')
  if (type === 41) {
    if (reply.opt) throw new Error('two OPTs')
    reply.rcode |= (packet[end + 4] as number) << 4
    reply.opt = {
      payload: packet.readUInt16BE(end + 2),
      version: packet[end + 5] as number,
      flags: packet.readUInt16BE(end + 6),
    }
    for (let o = start; o < after; o += 4 + packet.readUInt16BE(o + 2)) {
      reply.options.push(
        `${packet.readUInt16BE(o)}:${packet.toString('hex', o + 4, o + 4 + packet.readUInt16BE(o + 2))}`,
      )
    }
    return after
  }
  if (section === reply.answer) {
    reply.ttls.push(packet.readUInt32BE(end + 4))
    reply.owners.push(name)
  }
  const typeText = Object.entries(TYPES).find(([, number]) => number === type)?.[0] ?? `TYPE${type}`
  section.push(`${name.toLowerCase()} ${typeText} ${rdataText(typeText, packet, start, after)}`)
  return after
}

function rdataText(type: string, packet: Buffer, start: number, end: number): string {
  if (type === 'A') return packet.subarray(start, end).join('.')
  if (['NS', 'CNAME', 'PTR'].includes(type)) return nameAt(packet, start).name.toLowerCase()
  if (type === 'MX') return `${packet.readUInt16BE(start)} ${nameAt(packet, start + 2).name.toLowerCase()}`
  if (type === 'SOA') return `minimum ${packet.readUInt32BE(end - 4)}`
  // A hexadecimal form shows as well whether a name in it was compressed.
  return packet.toString('hex', start, end)
}

function nameAt(packet: Buffer, at: number): { name: string; end: number } {
  const labels: string[] = []
  let end: number | undefined
  // The longest name has 127 labels, and may have as many pointers.
  for (let hops = 0; hops < 256; hops++) {
    const length = packet[at]
    if (length === undefined) break
    if (length === 0) return { name: labels.join('.'), end: end ?? at + 1 }
    if (length >= 0xc0) {
      end ??= at + 2
      at = packet.readUInt16BE(at) & 0x3fff
      continue
    }
    labels.push(packet.toString('latin1', at + 1, at + 1 + length))
    at += 1 + length
  }
  throw new Error('a name does not end')
}
