/**
 * Every datagram that is not UDX, byte by byte (docs/spec/reaching.md). The first byte is 0x70: UDX packets begin with 0xff.
 */
import * as crypto from 'node:crypto'
import { type Bytes, concat } from './encoding.ts'
import { addressBytes, addressText, type HostPort } from './hosts.ts'

export const MAGIC = 0x70
export const REFLECT = { question: 1, cookie: 2, answer: 3, poke: 4 } as const
export const PROBE = { probe: 16, echo: 17 } as const

/** A question is longer than the longest answer, so that nobody is made to send more than came. */
export const QUESTION_SIZE = 48
export const NONCE_SIZE = 12
export const COOKIE_SIZE = 16
const PROBE_SIZE = 33
const PROBE_MAC_SIZE = 18
const PROBE_NONCE_SIZE = 8

/** What a peer asks over TCP, and the reflector answers with `family | port | address`. */
export const TCP_QUESTION = Buffer.from('p2pns-reflect/1\n')
export const TCP_ANSWER_SIZE = 19

export function encodeQuestion(nonce: Bytes, cookie: Bytes = new Uint8Array(COOKIE_SIZE)): Bytes {
  const bytes = Buffer.alloc(QUESTION_SIZE)
  bytes.set([MAGIC, REFLECT.question])
  bytes.set(nonce, 2)
  bytes.set(cookie, 2 + NONCE_SIZE)
  return bytes
}

/** undefined: it is none. */
export function parseQuestion(bytes: Bytes): { nonce: Bytes; cookie: Bytes } | undefined {
  if (bytes.length !== QUESTION_SIZE || bytes[0] !== MAGIC || bytes[1] !== REFLECT.question) return undefined
  return { nonce: bytes.subarray(2, 14), cookie: bytes.subarray(14, 30) }
}

export function encodeCookie(nonce: Bytes, cookie: Bytes): Bytes {
  return concat(Uint8Array.of(MAGIC, REFLECT.cookie), nonce, cookie)
}

export function encodeReflection(nonce: Bytes, seen: HostPort): Bytes {
  return concat(Uint8Array.of(MAGIC, REFLECT.answer), nonce, seenBytes(seen))
}

export function encodePoke(nonce: Bytes): Bytes {
  return concat(Uint8Array.of(MAGIC, REFLECT.poke), nonce)
}

export type Reflection =
  | { type: 'cookie'; nonce: Bytes; cookie: Bytes }
  | { type: 'answer'; nonce: Bytes; seen: HostPort }
  | { type: 'poke'; nonce: Bytes }

/** What a reflector says; undefined: it is none of that. */
export function parseReflection(bytes: Bytes): Reflection | undefined {
  if (bytes[0] !== MAGIC) return undefined
  const nonce = bytes.subarray(2, 2 + NONCE_SIZE)
  const rest = bytes.subarray(2 + NONCE_SIZE)
  if (bytes[1] === REFLECT.cookie && rest.length === COOKIE_SIZE) return { type: 'cookie', nonce, cookie: rest }
  if (bytes[1] === REFLECT.poke && nonce.length === NONCE_SIZE && rest.length === 0) return { type: 'poke', nonce }
  const seen = bytes[1] === REFLECT.answer ? parseSeen(rest) : undefined
  return seen && { type: 'answer', nonce, seen }
}

/** `family 4 or 6 | port 2 | address 16`, an IPv4 address in the first 4 of the 16. */
export function seenBytes({ host, port }: HostPort): Bytes {
  const address = addressBytes(host)
  const bytes = Buffer.alloc(TCP_ANSWER_SIZE)
  bytes[0] = address.length === 4 ? 4 : 6
  bytes.writeUInt16BE(port, 1)
  bytes.set(address, 3)
  return bytes
}

/** The inverse of `seenBytes`; undefined for anything else. */
export function parseSeen(bytes: Bytes): HostPort | undefined {
  const family = bytes[0]
  if (bytes.length !== TCP_ANSWER_SIZE || (family !== 4 && family !== 6)) return undefined
  const port = ((bytes[1] as number) << 8) | (bytes[2] as number)
  return port === 0 ? undefined : { host: addressText(bytes.slice(3, family === 4 ? 7 : 19)), port }
}

export interface Probe {
  type: keyof typeof PROBE
  /** The first 8 bytes of the meeting's nonce: which meeting it is of. */
  nonce: Bytes
  seq: number
  fromCaller: boolean
}

export function encodeProbe({ type, nonce, seq, fromCaller }: Probe, key: Bytes): Bytes {
  const head = Buffer.alloc(PROBE_SIZE - PROBE_MAC_SIZE)
  head.set([MAGIC, PROBE[type]])
  head.set(nonce.subarray(0, PROBE_NONCE_SIZE), 2)
  head.writeUInt32BE(seq, 10)
  head[14] = fromCaller ? 0 : 1
  return concat(head, macOf(head, key))
}

/** The meeting that a probe says it is of; undefined: it is none. Nothing is checked yet. */
export function probeNonce(bytes: Bytes): Bytes | undefined {
  if (bytes.length !== PROBE_SIZE || bytes[0] !== MAGIC || (bytes[1] as number) < PROBE.probe) return undefined
  return bytes.subarray(2, 2 + PROBE_NONCE_SIZE)
}

/** undefined: it is none, or not made with `key`. */
export function parseProbe(bytes: Bytes, key: Bytes): Probe | undefined {
  const nonce = probeNonce(bytes)
  const type = (Object.keys(PROBE) as Probe['type'][]).find((name) => PROBE[name] === bytes[1])
  const head = bytes.subarray(0, PROBE_SIZE - PROBE_MAC_SIZE)
  if (!nonce || !type || !crypto.timingSafeEqual(macOf(head, key), bytes.subarray(head.length))) return undefined
  return { type, nonce, seq: Buffer.from(head).readUInt32BE(10), fromCaller: head[14] === 0 }
}

/** The UDX stream ids of a meeting, different for each side. */
export function streamIds(key: Bytes): { caller: number; callee: number } {
  const mac = crypto.createHmac('sha256', key).update('udx').digest()
  return { caller: mac.readUInt32BE(0), callee: mac.readUInt32BE(4) }
}

function macOf(head: Bytes, key: Bytes): Bytes {
  return crypto.createHmac('sha256', key).update(head).digest().subarray(0, PROBE_MAC_SIZE)
}
