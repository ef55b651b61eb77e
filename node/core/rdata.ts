/** Record data as a person writes and reads it (RFC 1035 section 5.1; RFC 3597 section 5 for every other type). */
import { isIPv4, isIPv6, SocketAddress } from 'node:net'
import dnsPacket, { type Answer } from 'dns-packet'
import { checkRdata, nameToWire, type Rr, rdataParts } from './dns.ts'
import { type Bytes, concat, toHex, utf8 } from './encoding.ts'
import { P2pnsError } from './errors.ts'
import { parseSvcb, svcbText } from './svcb.ts'

export const TYPE = {
  A: 1,
  NS: 2,
  CNAME: 5,
  SOA: 6,
  PTR: 12,
  HINFO: 13,
  MX: 15,
  TXT: 16,
  RP: 17,
  AFSDB: 18,
  AAAA: 28,
  LOC: 29,
  SRV: 33,
  NAPTR: 35,
  KX: 36,
  CERT: 37,
  DNAME: 39,
  OPT: 41,
  DS: 43,
  SSHFP: 44,
  DNSKEY: 48,
  TLSA: 52,
  SMIMEA: 53,
  OPENPGPKEY: 61,
  SVCB: 64,
  HTTPS: 65,
  ANY: 255,
  URI: 256,
  CAA: 257,
} as const

const NAMES = new Map<number, string>(Object.entries(TYPE).map(([name, number]) => [number, name]))

/** Seconds. A record lives at least 30 s in caches, so that one name costs at most two lookups a minute, and at most a day. */
export const MIN_TTL = 30
const MAX_TTL = 86_400
export const DEFAULT_TTL = 300

export function clampTtl(ttl: number): number {
  return Math.min(Math.max(ttl, MIN_TTL), MAX_TTL)
}

function invalid(type: string, data: string, why: string): P2pnsError {
  return new P2pnsError('record_data_invalid', `"${data.slice(0, 80)}" is not ${type} data: ${why}`)
}

/** The number of a type given by mnemonic or as `TYPE65` (RFC 3597); `record_data_invalid` when there is no such type. */
export function typeNumber(name: string): number {
  const upper = name.toUpperCase()
  const known = Object.hasOwn(TYPE, upper) ? TYPE[upper as keyof typeof TYPE] : undefined
  if (known !== undefined) return known
  const number = /^TYPE(\d{1,5})$/.exec(upper)?.[1]
  if (number === undefined || Number(number) > 0xffff) {
    throw new P2pnsError('record_data_invalid', `"${name.slice(0, 20)}" is not a record type`)
  }
  return Number(number)
}

/** The mnemonic of a type, or `TYPE65` and the like when it has none here. */
export function typeName(type: number): string {
  return NAMES.get(type) ?? `TYPE${type}`
}

/** The character-strings of TXT RDATA, as UTF-8. */
export function txtStrings(rdata: Bytes): string[] {
  return characterStrings(rdata).map((bytes) => Buffer.from(bytes).toString('utf8'))
}

function characterStrings(rdata: Bytes): Bytes[] {
  const strings: Bytes[] = []
  for (let at = 0; at < rdata.length; ) {
    const end = at + 1 + (rdata[at] as number)
    strings.push(rdata.subarray(at + 1, end))
    at = end
  }
  return strings
}

function quoted(bytes: Bytes): string {
  let text = ''
  for (const byte of bytes) {
    if (byte === 0x22 || byte === 0x5c) text += `\\${String.fromCharCode(byte)}`
    else if (byte >= 0x20 && byte < 0x7f) text += String.fromCharCode(byte)
    else text += `\\${String(byte).padStart(3, '0')}`
  }
  return `"${text}"`
}

/** `"..." "..."` with the escapes of RFC 1035 when `data` starts with a quote; else the whole text, as it is. */
function parseStrings(type: string, data: string): Bytes[] {
  if (!data.startsWith('"')) return [utf8(data)]
  if (!/^"(?:[^"\\]|\\(?:\d{3}|\D))*"(?:\s+"(?:[^"\\]|\\(?:\d{3}|\D))*")*$/su.test(data)) {
    throw invalid(type, data, 'a text that starts with a quote is one or more "quoted strings"')
  }
  return [...data.matchAll(/"((?:[^"\\]|\\(?:\d{3}|\D))*)"/gsu)].map(([, inner = '']) => {
    const pieces = inner.match(/\\\d{3}|\\\D|[^\\]+/gsu) ?? []
    return concat(
      ...pieces.map((piece) => {
        if (!piece.startsWith('\\')) return utf8(piece)
        if (piece.length !== 4) return utf8(piece.slice(1))
        if (Number(piece.slice(1)) > 255) throw invalid(type, data, `${piece} is not a byte`)
        return Buffer.from([Number(piece.slice(1))])
      }),
    )
  })
}

/** A character-string holds 255 bytes (RFC 1035 section 3.3); longer text goes on in the next one. */
function split(bytes: Bytes): Buffer[] {
  const pieces: Buffer[] = []
  for (let at = 0; at === 0 || at < bytes.length; at += 255) pieces.push(Buffer.from(bytes.subarray(at, at + 255)))
  return pieces
}

/** RDATA of a checked value: a message of one record with the root as owner, without its header (12) and fixed part (11). */
function build(answer: Answer): Bytes {
  return dnsPacket.encode({ type: 'response', answers: [answer] }).subarray(23)
}

const HOST = /^(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?\.)*[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?$/

/** A complete name, with or without its final dot; `.` is the root where `root` allows it. */
function host(type: string, data: string, text: string, root = false): string {
  if (root && text === '.') return '.'
  const name = text.toLowerCase().replace(/\.$/, '')
  if (name.length > 253 || !HOST.test(name)) throw invalid(type, data, `"${text.slice(0, 80)}" is not a host name`)
  return name
}

function uint(type: string, data: string, text: string, max: number): number {
  if (!/^\d{1,5}$/.test(text) || Number(text) > max) throw invalid(type, data, `"${text}" is not a number up to ${max}`)
  return Number(text)
}

function fields(type: string, data: string, form: string): string[] {
  const words = data.trim().split(/\s+/)
  if (words.length !== form.split(' ').length) throw invalid(type, data, `it looks like "${form}"`)
  return words
}

/** Text to RDATA for the types with a form of their own; all others are given as `\# length hex`. */
const PARSERS: Record<string, (data: string) => Bytes> = {
  A(data) {
    if (!isIPv4(data)) throw invalid('A', data, 'it is not an IPv4 address')
    return build({ name: '.', type: 'A', data })
  },
  AAAA(data) {
    if (!isIPv6(data) || data.includes('%')) throw invalid('AAAA', data, 'it is not an IPv6 address')
    return build({ name: '.', type: 'AAAA', data })
  },
  CNAME: (data) => nameToWire(host('CNAME', data, data.trim())),
  DNAME: (data) => nameToWire(host('DNAME', data, data.trim())),
  NS: (data) => nameToWire(host('NS', data, data.trim())),
  PTR: (data) => nameToWire(host('PTR', data, data.trim())),
  MX(data) {
    const [preference = '', exchange = ''] = fields('MX', data, 'preference host')
    const mx = { preference: uint('MX', data, preference, 65_535), exchange: host('MX', data, exchange, true) }
    return build({ name: '.', type: 'MX', data: mx })
  },
  SRV(data) {
    const [priority = '', weight = '', port = '', target = ''] = fields('SRV', data, 'priority weight port target')
    const srv = {
      priority: uint('SRV', data, priority, 65_535),
      weight: uint('SRV', data, weight, 65_535),
      port: uint('SRV', data, port, 65_535),
      target: host('SRV', data, target, true),
    }
    return build({ name: '.', type: 'SRV', data: srv })
  },
  TXT: (data) => build({ name: '.', type: 'TXT', data: parseStrings('TXT', data).flatMap(split) }),
  CAA(data) {
    const match = /^(\d{1,3})\s+([a-zA-Z0-9]{1,15})\s+(.*)$/su.exec(data.trim())
    if (!match) throw invalid('CAA', data, 'it looks like \'0 issue "ca.example.net"\'')
    const [, flags = '', tag = '', value = ''] = match
    const text = concat(...parseStrings('CAA', value))
    return concat(Buffer.from([uint('CAA', data, flags, 255), tag.length]), utf8(tag.toLowerCase()), text)
  },
  SVCB: (data) => svcb('SVCB', data),
  HTTPS: (data) => svcb('HTTPS', data),
}

function svcb(type: string, data: string): Bytes {
  try {
    return parseSvcb(data.trim())
  } catch (error) {
    throw invalid(type, data, error instanceof Error ? error.message : String(error))
  }
}

/** RFC 3597 section 5: `\# length hex`, in any number of words. */
function parseGeneric(type: string, number: number, data: string): Bytes {
  const match = /^\\#\s+(\d{1,5})((?:\s+[0-9a-fA-F]+)*)$/.exec(data.trim())
  const hex = match?.[2]?.replace(/\s/g, '') ?? ''
  if (!match || hex.length !== Number(match[1]) * 2) throw invalid(type, data, 'it looks like "\\# length hex"')
  const rdata = Buffer.from(hex, 'hex')
  try {
    checkRdata(number, rdata)
  } catch (cause) {
    throw new P2pnsError('record_data_invalid', `"${data.slice(0, 80)}" does not have the form of ${type} data`, {
      cause,
    })
  }
  return rdata
}

/** Characters; twice what a zone record holds, as hex needs. */
const MAX_TEXT = 16_384

/** Below the apex; the first character may be an underscore (RFC 8552). */
const LABELS = /^(?:_?[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.(?!$)|$))+$/

/** A type that stands in zones: not reserved (0), not OPT, not one for questions or transactions only (RFC 6895 section 3.1). */
function publishable(type: number): boolean {
  return type !== 0 && type !== TYPE.OPT && !(type >= 128 && type <= 255)
}

/**
 * A record from what a person typed. `label` stands below the apex (none, or `@`: the apex itself), `ttl` is in seconds.
 * Names in `data` are complete, never relative. Throws `record_data_invalid`.
 */
export function rrFromText(input: { label?: string; type: string; data: string; ttl?: number }): Rr {
  const { type: typeText, data, ttl = DEFAULT_TTL } = input
  const name = input.label === undefined || input.label === '@' ? '' : input.label.toLowerCase()
  if (name !== '' && (name.length > 189 || name.split('.').some((label) => label.length > 63) || !LABELS.test(name))) {
    throw new P2pnsError('record_data_invalid', `"${name.slice(0, 80)}" cannot stand below a name`)
  }
  const type = typeNumber(typeText)
  if (!publishable(type)) throw new P2pnsError('record_data_invalid', `${typeText} is not a type that can be published`)
  if (!Number.isFinite(ttl) || ttl < 0) throw invalid(typeText, data, `${ttl} is not a number of seconds`)
  if (data.length > MAX_TEXT) throw invalid(typeText, data, 'it is longer than a zone can hold')
  const parse = PARSERS[typeName(type)]
  const generic = parse === undefined || /^\\#(?:\s|$)/.test(data)
  const rdata = generic ? parseGeneric(typeName(type), type, data) : parse(data)
  return { name, type, ttl: clampTtl(Math.round(ttl)), rdata }
}

function dotted(name: string | Bytes | undefined): string {
  return `${String(name)}.`
}

/** RDATA to text; answers undefined when it does not have a form that can be shown. Names are complete, with final dot. */
const FORMATTERS: Record<string, (rdata: Buffer) => string | undefined> = {
  A: (rdata) => rdata.join('.'),
  AAAA(rdata) {
    const groups = rdata.toString('hex').match(/.{4}/g)?.join(':') ?? ''
    // The canonical spelling (RFC 5952), as the system's own inet_ntop writes it.
    return new SocketAddress({ address: groups, family: 'ipv6' }).address
  },
  CNAME: (rdata) => dotted(rdataParts(TYPE.CNAME, rdata, 0, rdata.length)[0]),
  DNAME: (rdata) => dotted(rdataParts(TYPE.DNAME, rdata, 0, rdata.length)[0]),
  NS: (rdata) => dotted(rdataParts(TYPE.NS, rdata, 0, rdata.length)[0]),
  PTR: (rdata) => dotted(rdataParts(TYPE.PTR, rdata, 0, rdata.length)[0]),
  MX: (rdata) => `${rdata.readUInt16BE(0)} ${dotted(rdataParts(TYPE.MX, rdata, 0, rdata.length)[1])}`,
  SRV(rdata) {
    const target = dotted(rdataParts(TYPE.SRV, rdata, 0, rdata.length)[1])
    return `${rdata.readUInt16BE(0)} ${rdata.readUInt16BE(2)} ${rdata.readUInt16BE(4)} ${target}`
  },
  SOA(rdata) {
    const [mname, rname] = rdataParts(TYPE.SOA, rdata, 0, rdata.length)
    const numbers = [20, 16, 12, 8, 4].map((back) => rdata.readUInt32BE(rdata.length - back))
    return `${dotted(mname)} ${dotted(rname)} ${numbers.join(' ')}`
  },
  TXT: (rdata) => characterStrings(rdata).map(quoted).join(' '),
  CAA(rdata) {
    const tag = rdata.toString('latin1', 2, 2 + (rdata[1] ?? 0))
    if (tag.length !== rdata[1] || !/^[a-zA-Z0-9]+$/.test(tag)) return undefined
    return `${rdata[0]} ${tag} ${quoted(rdata.subarray(2 + tag.length))}`
  },
  SVCB: svcbText,
  HTTPS: svcbText,
}

/**
 * A record as a person reads it: `name` complete under `apex`, without final dot; `data` as dig prints it, so names in it
 * end in a dot; what has no form here is shown as `\# length hex`, which `rrFromText` reads back.
 */
export function rrToText(rr: Rr, apex: string): { name: string; type: string; ttl: number; data: string } {
  const type = typeName(rr.type)
  const rdata = Buffer.from(rr.rdata)
  const data = FORMATTERS[type]?.(rdata) ?? `\\# ${rdata.length}${rdata.length > 0 ? ` ${toHex(rdata)}` : ''}`
  return { name: rr.name === '' ? apex : `${rr.name}.${apex}`, type, ttl: rr.ttl, data }
}
