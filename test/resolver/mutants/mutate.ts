/** What may become of a DNS packet, by accident or on purpose. The number of a packet alone says what is done to it. */
import { Random } from '../../sim/random.ts'

/** Bytes at the ends of ranges: of labels, of pointers, of signed and unsigned numbers. */
const EDGES = [0, 1, 2, 11, 12, 13, 0x29, 0x3f, 0x40, 0x41, 0x7f, 0x80, 0xbf, 0xc0, 0xc1, 0xfe, 0xff]
const COUNTS = [0, 1, 2, 3, 255, 256, 0x7fff, 0xffff]
const TYPES = [0, 1, 2, 5, 6, 12, 15, 16, 28, 33, 35, 39, 41, 46, 64, 65, 249, 250, 252, 255, 256, 257, 0xffff]
const HEADER = 12
/** What still fits a datagram. Bytes. */
const MAX_PACKET = 8_000

type Change = (packet: Buffer, random: Random, others: readonly Buffer[]) => Buffer

const CHANGES: readonly Change[] = [
  bitFlips,
  edgeBytes,
  truncation,
  extension,
  splice,
  labelLength,
  pointer,
  count,
  optLength,
  secondOpt,
  moreRecords,
  option,
  header,
]

/** One that is the same for the same two numbers, and has nothing to do with that of the next index. */
export function randomOf(seed: number, index: number): Random {
  return new Random(Math.imul(seed, 0x9e3779b1) ^ Math.imul(index + 1, 0x85ebca6b))
}

/** `packet` after up to three changes. */
export function mutated(packet: Buffer, random: Random, others: readonly Buffer[]): Buffer {
  let result: Buffer = Buffer.from(packet)
  for (let left = random.pick([0, 0, 1, 1, 1, 1, 1, 2, 2, 3]); left > 0; left--) {
    result = random.pick(CHANGES)(result, random, others)
  }
  return result.subarray(0, MAX_PACKET)
}

function at(packet: Buffer, random: Random, from = 0): number {
  return random.between(Math.min(from, packet.length), packet.length)
}

function bitFlips(packet: Buffer, random: Random): Buffer {
  for (let left = random.between(1, 3); left > 0 && packet.length > 0; left--) {
    const bit = random.between(0, packet.length * 8 - 1)
    packet[bit >> 3] = (packet[bit >> 3] as number) ^ (1 << (bit & 7))
  }
  return packet
}

function edgeBytes(packet: Buffer, random: Random): Buffer {
  for (let left = random.between(1, 3); left > 0 && packet.length > 0; left--) {
    packet[random.between(0, packet.length - 1)] = random.pick(EDGES)
  }
  return packet
}

function truncation(packet: Buffer, random: Random): Buffer {
  return packet.subarray(0, random.chance(0.8) ? at(packet, random, HEADER) : at(packet, random))
}

function extension(packet: Buffer, random: Random): Buffer {
  const length = random.chance(0.02) ? random.between(500, 5_000) : random.between(1, 40)
  return Buffer.concat([packet, random.chance(0.3) ? Buffer.alloc(length, random.pick(EDGES)) : random.bytes(length)])
}

/** The head of one packet with the tail of another. */
function splice(packet: Buffer, random: Random, others: readonly Buffer[]): Buffer {
  const other = random.pick(others)
  const end = at(packet, random, HEADER)
  return Buffer.concat([packet.subarray(0, end), other.subarray(random.chance(0.5) ? end : at(other, random))])
}

/** Where the labels of the name behind the header begin, its end among them. */
function labelsOf(packet: Buffer): number[] {
  const found: number[] = []
  for (let at = HEADER; at < packet.length; at += 1 + (packet[at] as number)) {
    found.push(at)
    if ((packet[at] as number) === 0 || (packet[at] as number) > 63) break
  }
  return found
}

function labelLength(packet: Buffer, random: Random): Buffer {
  const places = labelsOf(packet)
  if (places.length === 0) return packet
  const place = random.pick(places)
  const length = packet[place] as number
  packet[place] = random.pick([0, 1, length + 1, length - 1, 62, 63, 64, 65, 127, 191, 192]) & 0xff
  return packet
}

/** To anywhere: itself, ahead, into the header, behind the end, to another. */
function pointer(packet: Buffer, random: Random): Buffer {
  if (packet.length < HEADER + 2) return packet
  const place = random.chance(0.5) ? random.pick(labelsOf(packet)) : random.between(HEADER, packet.length - 2)
  if (place + 2 > packet.length) return packet
  const target = random.pick([
    place,
    place + 2,
    place - 2,
    0,
    HEADER,
    HEADER + 1,
    packet.length,
    random.between(0, 0x3fff),
  ])
  packet.writeUInt16BE(0xc000 | (target & 0x3fff), place)
  return packet
}

function count(packet: Buffer, random: Random): Buffer {
  if (packet.length >= HEADER) packet.writeUInt16BE(random.pick(COUNTS), random.pick([4, 6, 8, 10]))
  return packet
}

/** Where the OPT begins that looks like one: the root, and type 41. */
function optIn(packet: Buffer): number {
  return packet.lastIndexOf(Buffer.from([0, 0, 41]))
}

/** Of the OPT, or of an option in it. */
function optLength(packet: Buffer, random: Random): Buffer {
  const start = optIn(packet)
  const place = start + random.pick([9, 9, 13])
  if (start < 0 || place + 2 > packet.length) return packet
  const length = packet.readUInt16BE(place)
  packet.writeUInt16BE(random.pick([0, 1, length + 1, length + 4, length - 1, 4, 8, 255, 0xffff]) & 0xffff, place)
  return packet
}

function oneMore(packet: Buffer, ...records: Uint8Array[]): Buffer {
  if (packet.length < HEADER) return packet
  packet.writeUInt16BE((packet.readUInt16BE(10) + records.length) & 0xffff, 10)
  return Buffer.concat([packet, ...records])
}

function opt(random: Random, data: Uint8Array): Buffer {
  const head = Buffer.alloc(11)
  head[2] = 41
  head.writeUInt16BE(random.pick([0, 1, 511, 512, 513, 1231, 1232, 1233, 4096, 0xffff]), 3)
  if (random.chance(0.1)) head[5] = random.pick(EDGES)
  if (random.chance(0.1)) head[6] = random.pick(EDGES)
  head[7] = random.pick([0, 0x80, 0xff])
  head.writeUInt16BE(data.length, 9)
  return Buffer.concat([head, data])
}

function secondOpt(packet: Buffer, random: Random): Buffer {
  const start = optIn(packet)
  const again: Buffer = start >= 0 && random.chance(0.5) ? packet.subarray(start) : opt(random, Buffer.alloc(0))
  return oneMore(packet, again)
}

/** An OPT with options that are known, and lengths that they may have or not. */
function option(packet: Buffer, random: Random): Buffer {
  const options = Array.from({ length: random.between(1, 4) }, () => {
    const data = random.bytes(random.pick([0, 0, 1, 2, 7, 8, 9, 15, 16, 24, 40, 41]))
    return Buffer.concat([Buffer.from([0, random.pick([3, 8, 10, 10, 11, 11, 12, 12, 15, 255]), 0, data.length]), data])
  })
  return oneMore(packet, opt(random, Buffer.concat(options)))
}

/** Of any type, at the root, at the question's name, or at one that ends in it; into any section. */
function moreRecords(packet: Buffer, random: Random): Buffer {
  const records = Array.from({ length: random.pick([1, 1, 2, 30]) }, () => {
    const owner = random.pick([[0], [0xc0, 12], [1, 0x61, 0xc0, 12], [0xc0, random.between(0, 255)], [1, 0x61, 0]])
    const data = random.bytes(random.pick([0, 1, 2, 4, 16, 30]))
    const fixed = Buffer.alloc(10)
    fixed.writeUInt16BE(random.pick(TYPES), 0)
    fixed.writeUInt16BE(random.chance(0.9) ? 1 : random.pick(COUNTS), 2)
    fixed.writeUInt32BE(random.pick([0, 60, 0x7fffffff, 0x80000000, 0xffffffff]), 4)
    fixed.writeUInt16BE(data.length, 8)
    return Buffer.concat([Buffer.from(owner), fixed, data])
  })
  const result = oneMore(packet, ...records)
  if (result.length < HEADER || random.chance(0.7)) return result
  const section = random.pick([6, 8])
  const [from, to] = [result.readUInt16BE(10), result.readUInt16BE(section)]
  result.writeUInt16BE(from, section)
  result.writeUInt16BE(to, 10)
  return result
}

/** Flags, opcode, id, and who speaks. */
function header(packet: Buffer, random: Random): Buffer {
  const place = random.between(0, 3)
  if (place < packet.length) packet[place] = random.between(0, place === 2 && random.chance(0.7) ? 0x7f : 255)
  return packet
}
