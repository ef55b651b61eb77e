/**
 * The zone record: what a key says about its name. Byte for byte a Pkarr SignedPacket
 * (`public key 32 | signature 64 | seq 8 | DNS packet`), see docs/spec/zone.md.
 */
import { DnsWriter, HEADER_BYTES, mapRdataNames, type Rr, readRecords } from './dns.ts'
import { type Bytes, compareBytes, concat, equalBytes, toZ32, utf8 } from './encoding.ts'
import { P2pnsError } from './errors.ts'
import { type KeyPair, verify } from './keys.ts'
import { TYPE } from './rdata.ts'

export interface Zone {
  /** 32 bytes. */
  key: Bytes
  /** Microseconds since 1970 by the signer's clock; the higher one wins. */
  seq: bigint
  /** Names relative to the apex: '' is the apex, 'www' stands below it. */
  rrs: Rr[]
  /** The whole signed record. */
  bytes: Bytes
}

/** More than BEP 44's 1000 bytes of value: a larger zone lives in our DHT only. */
export const MAX_ZONE_BYTES = 8192
/** Owners and data of all records with every name written out: compression hides up to a hundred times as much. */
const MAX_EXPANDED_BYTES = 32_768

const SIGNATURE_AT = 32
const SEQ_AT = 96
const PACKET_AT = 104
/** BEP 44 writes seq as a signed 64-bit integer. */
const MAX_SEQ = 2n ** 63n - 1n
/** How far a signer's clock may run ahead of ours, in microseconds. */
const SEQ_AHEAD = 600_000_000n
/** Header flags: QR, and the opcode that must be 0 (RFC 1035 section 4.1.1). */
const QR = 0x8000
const OPCODE = 0x7800

/** What is signed: `seq` and `v` of a BEP 44 item, bencoded, without its dictionary. */
function signable(seq: bigint, packet: Bytes): Bytes {
  return concat(utf8(`3:seqi${seq}e1:v${packet.length}:`), packet)
}

/**
 * Signs `rrs` (names relative to the apex) as the zone of `pair` at `seq`. Throws `too_large` beyond `MAX_ZONE_BYTES`,
 * `malformed` when a name or an RDATA is not one.
 */
export function signZone(pair: KeyPair, seq: bigint, rrs: Rr[]): Zone {
  const apex = toZ32(pair.publicKey)
  const head = Buffer.alloc(HEADER_BYTES)
  head.writeUInt16BE(QR, 2)
  head.writeUInt16BE(rrs.length, 6)
  const writer = new DnsWriter(head)
  for (const rr of rrs) {
    writer.record({ ...rr, name: rr.name === '' ? apex : `${rr.name}.${apex}` })
    checkSize(PACKET_AT + writer.length)
  }
  const packet = writer.bytes()
  const seqBytes = Buffer.alloc(8)
  seqBytes.writeBigUInt64BE(seq)
  const bytes = concat(pair.publicKey, pair.sign(signable(seq, packet)), seqBytes, packet)
  // What we publish is what others will read.
  return parseZone(bytes, { key: pair.publicKey })
}

function checkSize(size: number): void {
  if (size > MAX_ZONE_BYTES) {
    throw new P2pnsError('too_large', `a zone record has ${size} bytes, the limit is ${MAX_ZONE_BYTES}`)
  }
}

/**
 * Reads and verifies a zone record. `expect.key`: whose it must be; `expect.now` (ms since 1970): refuse one from the
 * future. The checks, in the order of docs/spec/zone.md, throw `too_large`, `malformed`, `key_mismatch`,
 * `seq_in_future` and `signature_invalid`. The packet is read last: compressed names can make that cost more than the
 * signature does, and a stranger's record must not.
 */
export function parseZone(bytes: Bytes, expect: { key?: Bytes; now?: number }): Zone {
  checkSize(bytes.length)
  if (bytes.length < PACKET_AT + HEADER_BYTES) {
    throw new P2pnsError('malformed', `a zone record of ${bytes.length} bytes is too short`)
  }
  const key = bytes.slice(0, SIGNATURE_AT)
  if (expect.key && !equalBytes(key, expect.key)) {
    throw new P2pnsError('key_mismatch', `a zone record of ${toZ32(key)} came for ${toZ32(expect.key)}`)
  }
  const seq = Buffer.from(bytes.subarray(SEQ_AT, PACKET_AT)).readBigUInt64BE()
  if (seq > MAX_SEQ) throw new P2pnsError('malformed', 'the seq of a zone record has more than 63 bits')
  if (expect.now !== undefined && seq > BigInt(Math.floor(expect.now)) * 1000n + SEQ_AHEAD) {
    throw new P2pnsError('seq_in_future', `the zone record of ${toZ32(key)} is over 10 minutes ahead of this clock`)
  }
  const packet = bytes.slice(PACKET_AT)
  if (!verify(key, signable(seq, packet), bytes.subarray(SIGNATURE_AT, SEQ_AT))) {
    throw new P2pnsError('signature_invalid', `the signature of the zone record of ${toZ32(key)} is wrong`)
  }
  return { key, seq, rrs: readPacket(packet, toZ32(key)), bytes: bytes.slice() }
}

/** The records of a Pkarr packet: a response that holds answers and nothing else, all of them in the zone. */
function readPacket(packet: Bytes, apex: string): Rr[] {
  const view = new DataView(packet.buffer, packet.byteOffset, packet.byteLength)
  const [questions, answers, authorities, additionals] = [4, 6, 8, 10].map((at) => view.getUint16(at))
  if ((view.getUint16(2) & (QR | OPCODE)) !== QR || questions || authorities || additionals) {
    throw new P2pnsError('malformed', 'the DNS packet of a zone record is not a response with answers only')
  }
  const { rrs, end } = readRecords(packet, HEADER_BYTES, answers ?? 0, MAX_EXPANDED_BYTES)
  if (end !== packet.length) throw new P2pnsError('malformed', 'bytes follow the DNS packet of a zone record')
  return rrs.map((rr) => {
    const name = below(rr.name, apex)
    if (name === undefined) throw new P2pnsError('malformed', `a zone record speaks of "${rr.name.slice(0, 80)}"`)
    return { ...rr, name }
  })
}

/** What stands in `name` below `apex` ('' for the apex itself), or undefined when it is not in that tree. */
export function below(name: string, apex: string): string | undefined {
  if (name === apex) return ''
  if (!name.endsWith(`.${apex}`)) return undefined
  const relative = name.slice(0, -apex.length - 1)
  // After an odd number of backslashes the dot is part of a label, and the last label only looks like the apex.
  const escapes = /\\*$/.exec(relative)?.[0].length ?? 0
  return escapes % 2 === 0 ? relative : undefined
}

/** Where the zone of a key is found in the DHT. */
export function zoneDhtKey(key: Bytes): Bytes {
  return concat(utf8('/p2pns-z/'), key)
}

/** Sort order of two zones of one key: positive when `a` is the newer. Higher seq, then higher packet, then higher bytes. */
export function newerZone(a: Zone, b: Zone): number {
  if (a.seq !== b.seq) return a.seq > b.seq ? 1 : -1
  return compareBytes(a.bytes.subarray(PACKET_AT), b.bytes.subarray(PACKET_AT)) || compareBytes(a.bytes, b.bytes)
}

/**
 * What the zone says about `owner` (relative to the apex, lower-case) and `type`, as RFC 1034 section 4.3.2 asks.
 * `answer`: `rrs` of that type (all, for ANY). `cname`: the owner is an alias, `rrs` its CNAME. `nodata`: the name exists,
 * or a name below it does (RFC 8020), without that type. `nxdomain`: there is no such name.
 */
export function lookupInZone(
  zone: Zone,
  owner: string,
  type: number,
): { status: 'answer' | 'nodata' | 'nxdomain' | 'cname'; rrs: Rr[] } {
  const here = zone.rrs.filter((rr) => rr.name === owner)
  const found = type === TYPE.ANY ? here : here.filter((rr) => rr.type === type)
  if (found.length > 0) return { status: 'answer', rrs: found }
  const alias = here.filter((rr) => rr.type === TYPE.CNAME).slice(0, 1)
  if (alias.length > 0) return { status: 'cname', rrs: alias }
  const exists = owner === '' || zone.rrs.some((rr) => below(rr.name, owner) !== undefined)
  return { status: exists ? 'nodata' : 'nxdomain', rrs: [] }
}

/**
 * The record as it is shown to somebody who asked under `apex` (such as `alice.p2p`): its own name and the names in its
 * data that stand under the zone's key are complete names under `apex`.
 */
export function rrUnder(zone: Zone, rr: Rr, apex: string): Rr {
  const key = toZ32(zone.key)
  const rdata = mapRdataNames(rr.type, rr.rdata, (name) => {
    const relative = below(name, key)
    return relative === undefined ? name : under(relative, apex)
  })
  return { ...rr, name: under(rr.name, apex), rdata }
}

function under(relative: string, apex: string): string {
  return relative === '' ? apex : `${relative}.${apex}`
}
