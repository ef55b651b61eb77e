/** The data of SVCB and HTTPS records (RFC 9460 section 2) as text and as bytes. */
import { isIPv4, isIPv6, SocketAddress } from 'node:net'
import { nameToWire, readName } from './dns.ts'
import { addressBytes } from './hosts.ts'

/** By number (RFC 9460 section 14.3.2, RFC 9461 for dohpath, RFC 9540 for ohttp). */
const KEYS = ['mandatory', 'alpn', 'no-default-alpn', 'port', 'ipv4hint', 'ech', 'ipv6hint', 'dohpath', 'ohttp']
const [MANDATORY, ALPN, NO_DEFAULT_ALPN, PORT, IPV4HINT, ECH, IPV6HINT, , OHTTP] = KEYS.keys()

const WORD = /(?:[^\s"\\]|\\\d{3}|\\\D|"(?:[^"\\]|\\\d{3}|\\\D)*")+/gsu
const HOST = /^(?=.{1,253}$)[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?)*$/

/** `priority target key=value...` to RDATA, its keys in ascending order. Throws an Error that says what is wrong. */
export function parseSvcb(data: string): Buffer {
  const [priority = '', target = '', ...params] = data.match(WORD) ?? []
  if (data.replace(WORD, '').trim() !== '' || target === '') {
    throw new Error('it looks like \'1 . alpn="h2,h3" port=8443\'')
  }
  const number = uint(priority)
  const name = target === '.' ? '' : target.toLowerCase().replace(/\.$/, '')
  if (name !== '' && !HOST.test(name)) throw new Error(`"${target.slice(0, 80)}" is not a host name`)
  if (number === 0 && params.length > 0) throw new Error('priority 0 makes an alias, which has no parameters')
  const values = new Map<number, Buffer>()
  for (const param of params) {
    const [, keyText = '', text] = /^([a-z0-9-]{1,63})(?:=(.*))?$/su.exec(param) ?? []
    const key = keyNumber(keyText)
    if (values.has(key)) throw new Error(`${keyText} is given twice`)
    values.set(key, parseValue(key, unescape(text ?? '')))
  }
  const sorted = [...values].sort(([a], [b]) => a - b)
  const rdata = Buffer.concat([
    uint16(number),
    nameToWire(name),
    ...sorted.flatMap(([key, value]) => [uint16(key), uint16(value.length), value]),
  ])
  checkParams(values)
  return rdata
}

/** RDATA to text; undefined when it is not well-formed (RFC 9460 section 2.2). */
export function svcbText(rdata: Buffer): string | undefined {
  try {
    const { name, end } = readName(rdata, 2)
    const values = new Map<number, Buffer>()
    let last = -1
    for (let at = end; at < rdata.length; ) {
      const key = rdata.readUInt16BE(at)
      const until = at + 4 + rdata.readUInt16BE(at + 2)
      if (key <= last || until > rdata.length) return undefined
      values.set(key, rdata.subarray(at + 4, until))
      at = until
      last = key
    }
    checkParams(values)
    const params = [...values].map(([key, value]) => ` ${paramText(key, value)}`).join('')
    return `${rdata.readUInt16BE(0)} ${name}.${params}`
  } catch {
    return undefined
  }
}

function uint(text: string): number {
  if (!/^\d{1,5}$/.test(text) || Number(text) > 0xffff) throw new Error(`"${text}" is not a number up to 65535`)
  return Number(text)
}

function uint16(value: number): Buffer {
  return Buffer.from([value >> 8, value & 0xff])
}

function keyNumber(text: string): number {
  const known = KEYS.indexOf(text)
  if (known !== -1) return known
  const [, digits] = /^key(0|[1-9]\d{0,4})$/.exec(text) ?? []
  // 65535 is the "invalid key" (section 14.3.2).
  if (digits === undefined || Number(digits) > 65_534) throw new Error(`"${text}" is not a parameter`)
  return Number(digits)
}

function keyName(key: number): string {
  return KEYS[key] ?? `key${key}`
}

/** Quotes off, `\X` and `\DDD` (RFC 1035 section 5.1) to the bytes that they mean. */
function unescape(text: string): Buffer {
  const inner = /^"(.*)"$/su.exec(text)?.[1] ?? text
  const pieces = inner.match(/\\\d{3}|\\\D|[^\\]+/gsu) ?? []
  return Buffer.concat(
    pieces.map((piece) => {
      if (!piece.startsWith('\\')) return Buffer.from(piece)
      if (piece.length !== 4) return Buffer.from(piece.slice(1))
      if (Number(piece.slice(1)) > 255) throw new Error(`${piece} is not a byte`)
      return Buffer.from([Number(piece.slice(1))])
    }),
  )
}

/** A list is separated by commas; one that belongs to an item has a backslash before it (appendix A.1). */
function items(value: Buffer): Buffer[] {
  const text = value.toString('latin1')
  const list = text.match(/(?:[^,\\]|\\[,\\])+/g) ?? []
  if (list.join(',') !== text) throw new Error(`"${text.slice(0, 80)}" is not a list`)
  return list.map((item) => Buffer.from(item.replace(/\\(.)/gs, '$1'), 'latin1'))
}

function parseValue(key: number, value: Buffer): Buffer {
  const text = value.toString('latin1')
  const each = (parse: (item: Buffer) => Uint8Array): Buffer => Buffer.concat(items(value).map(parse))
  const address = (item: Buffer, isAddress: (text: string) => boolean): Uint8Array => {
    const host = item.toString('latin1')
    if (!isAddress(host) || host.includes('%')) throw new Error(`"${host.slice(0, 80)}" is not an address`)
    return addressBytes(host)
  }
  switch (key) {
    case MANDATORY: {
      const keys = items(value).map((item) => keyNumber(item.toString('latin1')))
      return Buffer.concat(keys.sort((a, b) => a - b).map(uint16))
    }
    case ALPN:
      return each((item) => {
        if (item.length > 255) throw new Error('an alpn has at most 255 bytes')
        return Buffer.concat([Buffer.from([item.length]), item])
      })
    case PORT:
      return uint16(uint(text))
    case IPV4HINT:
      return each((item) => address(item, isIPv4))
    case IPV6HINT:
      return each((item) => address(item, isIPv6))
    case ECH:
      if (!/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(text))
        throw new Error('ech is not base64')
      return Buffer.from(text, 'base64')
    default:
      return value
  }
}

/** What sections 7 and 8 ask of the parameters of one record. */
function checkParams(values: Map<number, Buffer>): void {
  const check = (fine: boolean, what: string): void => {
    if (!fine) throw new Error(what)
  }
  const length = (key: number | undefined): number | undefined => values.get(key ?? -1)?.length
  for (const [key, size] of [
    [MANDATORY, 2],
    [IPV4HINT, 4],
    [IPV6HINT, 16],
  ] as const) {
    const bytes = length(key)
    check(bytes === undefined || (bytes > 0 && bytes % size === 0), `${keyName(key ?? 0)} is not a list of values`)
  }
  check([undefined, 2].includes(length(PORT)), 'port is not a number')
  check(length(ECH) !== 0, 'ech is empty')
  check(!length(NO_DEFAULT_ALPN) && !length(OHTTP), 'no-default-alpn and ohttp have no value')
  check(!values.has(NO_DEFAULT_ALPN ?? -1) || values.has(ALPN ?? -1), 'no-default-alpn needs alpn')
  const alpn = values.get(ALPN ?? -1)
  if (alpn) {
    let at = 0
    while (at < alpn.length && alpn[at] !== 0) at += 1 + (alpn[at] as number)
    check(alpn.length > 0 && at === alpn.length, 'alpn is not a list of values')
  }
  let last = MANDATORY as number
  for (const key of uint16s(values.get(MANDATORY as number) ?? Buffer.alloc(0))) {
    check(key > last && values.has(key), 'mandatory names each key that is there once, and never itself')
    last = key
  }
}

function uint16s(value: Buffer): number[] {
  return Array.from({ length: value.length / 2 }, (_, i) => value.readUInt16BE(i * 2))
}

function slices(value: Buffer, size: number): Buffer[] {
  return Array.from({ length: value.length / size }, (_, i) => value.subarray(i * size, (i + 1) * size))
}

function paramText(key: number, value: Buffer): string {
  const name = keyName(key)
  switch (key) {
    case MANDATORY:
      return `${name}=${uint16s(value).map(keyName).join(',')}`
    case ALPN: {
      const list: string[] = []
      for (let at = 0; at < value.length; at += 1 + (value[at] as number)) {
        const item = value.toString('latin1', at + 1, at + 1 + (value[at] as number))
        list.push(item.replace(/[,\\]/g, '\\$&'))
      }
      return `${name}=${quoted(Buffer.from(list.join(','), 'latin1'))}`
    }
    case PORT:
      return `${name}=${value.readUInt16BE(0)}`
    case IPV4HINT:
      return `${name}=${slices(value, 4)
        .map((bytes) => bytes.join('.'))
        .join(',')}`
    case IPV6HINT:
      return `${name}=${slices(value, 16).map(ipv6Text).join(',')}`
    case ECH:
      return `${name}=${value.toString('base64')}`
    default:
      return value.length === 0 ? name : `${name}=${quoted(value)}`
  }
}

function ipv6Text(bytes: Buffer): string {
  const address = bytes.toString('hex').match(/.{4}/g)?.join(':') ?? ''
  return new SocketAddress({ address, family: 'ipv6' }).address
}

function quoted(bytes: Buffer): string {
  let text = ''
  for (const byte of bytes) {
    if (byte === 0x22 || byte === 0x5c) text += `\\${String.fromCharCode(byte)}`
    else if (byte >= 0x20 && byte < 0x7f) text += String.fromCharCode(byte)
    else text += `\\${String(byte).padStart(3, '0')}`
  }
  return `"${text}"`
}
