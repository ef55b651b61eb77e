/** Answers over encrypted transports are made equally long (RFC 7830), in blocks as RFC 8467 section 4.1 has them for servers. */
import { HEADER_BYTES } from '../node/core/dns.ts'
import { TYPE } from '../node/core/rdata.ts'
import { skipName } from './wire-walk.ts'

const PADDING = 12
const BLOCK = 468
/** The option's code and length. */
const OPTION_HEAD = 4
/** Of an OPT: root, type, class, TTL, length. */
const OPT_HEAD = 11
const MAX_MESSAGE = 65_535

/** `response` as long as it should be, when `query` asks for that by padding itself, and has an OPT to hold it. */
export function padded(query: Buffer, response: Buffer): Buffer {
  if (!asksForPadding(query)) return response
  const opt = findOpt(response)
  // Only one that stands last can grow without moving what follows.
  if (opt === undefined || opt.end !== response.length) return response
  const bare = response.length + OPTION_HEAD
  const length = Math.min(Math.ceil(bare / BLOCK) * BLOCK, MAX_MESSAGE)
  if (length < bare) return response
  const out = Buffer.alloc(length)
  out.set(response)
  out.writeUInt16BE(PADDING, response.length)
  out.writeUInt16BE(length - bare, response.length + 2)
  out.writeUInt16BE(length - opt.at - OPT_HEAD, opt.at + OPT_HEAD - 2)
  return out
}

function asksForPadding(query: Buffer): boolean {
  const opt = findOpt(query)
  if (!opt) return false
  for (let at = opt.at + OPT_HEAD; at + OPTION_HEAD <= opt.end; at += OPTION_HEAD + query.readUInt16BE(at + 2)) {
    if (query.readUInt16BE(at) === PADDING) return true
  }
  return false
}

/** Where the OPT of a message begins and ends; undefined for none, and for what is no message. */
function findOpt(message: Buffer): { at: number; end: number } | undefined {
  if (message.length < HEADER_BYTES) return undefined
  let at = HEADER_BYTES
  // What the counts promise need not be there.
  for (let left = message.readUInt16BE(4); left > 0 && at < message.length; left--) at = skipName(message, at) + 4
  for (let left = message.readUInt16BE(6) + message.readUInt16BE(8) + message.readUInt16BE(10); left > 0; left--) {
    const owner = at
    at = skipName(message, at)
    if (at + 10 > message.length) return undefined
    const end = at + 10 + message.readUInt16BE(at + 8)
    if (end > message.length) return undefined
    if (message.readUInt16BE(at) === TYPE.OPT && at === owner + 1) return { at: owner, end }
    at = end
  }
  return undefined
}
