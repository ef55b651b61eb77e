/**
 * DNS rebinding: a name of somebody else that leads to this machine or its network lets a page from there speak to what
 * trusts its neighbours. So addresses that mean something else to everybody are not shown, unless the name is allowed to.
 */
import { type Rr, readName } from '../node/core/dns.ts'
import { TYPE } from '../node/core/rdata.ts'
import { EDE, type ExtendedError, extendedError } from './edns.ts'
import { specialName } from './special.ts'

/** Whether what stands at this name (lower-case) may lead into the network of whoever asks. */
export type MayBePrivate = (name: string) => boolean

/** The type and data of a record, its names not compressed. */
type Data = Pick<Rr, 'type' | 'rdata'>

const RRSIG = 46
const SVCB = 64
const HTTPS = 65
/** Parameters of SVCB and HTTPS that are addresses, and how long one is (RFC 9460 section 7.3). */
const HINT_BYTES = new Map([
  [4, 4],
  [6, 16],
])

/** Bytes, and how many bits of them count. The registries of RFC 6890, without what is for documentation only. */
const V4: [number[], number][] = [
  [[0], 8], // this host
  [[10], 8],
  [[100, 64], 10], // behind the NAT of a provider (RFC 6598)
  [[127], 8],
  [[169, 254], 16], // of one link
  [[172, 16], 12],
  [[192, 168], 16],
  [[255, 255, 255, 255], 32],
]
const V6: [number[], number][] = [
  [[0xfc], 7], // unique local (RFC 4193)
  [[0xfe, 0x80], 10], // of one link
  [[0xfe, 0xc0], 10], // of one site (RFC 3879)
  [[0, 0x64, 0xff, 0x9b, 0, 1], 48], // translated inside a network (RFC 8215)
]
/** IPv6 addresses that hold an IPv4 one, and where: `::` and `::1` are among the first. */
const HOLDS_V4: [number[], number, number][] = [
  [Array<number>(12).fill(0), 96, 12],
  [[...Array<number>(10).fill(0), 0xff, 0xff], 96, 12], // RFC 4291 section 2.5.5.2
  [[0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0], 96, 12], // RFC 6052
  [[0x20, 0x02], 16, 2], // RFC 3056
]
/** Suffixes that nobody can own, and that many networks use inside (RFC 6762 appendix G, RFC 8375). */
const LOCAL = ['home.arpa', 'local', 'internal', 'intranet', 'private', 'corp', 'home', 'lan']

/** `address`: 4 or 16 bytes. */
export function isPrivate(address: Uint8Array): boolean {
  if (address.length === 4) return V4.some(([prefix, bits]) => startsWith(address, prefix, bits))
  const holder = HOLDS_V4.find(([prefix, bits]) => startsWith(address, prefix, bits))
  if (holder) return isPrivate(address.subarray(holder[2], holder[2] + 4))
  return V6.some(([prefix, bits]) => startsWith(address, prefix, bits))
}

/** Whether an address in the record is private: an A, an AAAA, or a hint. What cannot be read counts as private. */
export function showsPrivate({ type, rdata }: Data): boolean {
  if (type === TYPE.A || type === TYPE.AAAA) {
    return rdata.length !== (type === TYPE.A ? 4 : 16) || isPrivate(rdata)
  }
  if (type !== SVCB && type !== HTTPS) return false
  try {
    return hintsIn(rdata).some(isPrivate)
  } catch {
    return true
  }
}

/** What is left of the records when those with private addresses are gone, and the signatures that no longer hold. */
export function withoutPrivate<T extends Data>(rrs: T[]): T[] {
  const gone = new Set(rrs.filter(showsPrivate).map(({ type }) => type))
  const signsGone = ({ type, rdata }: Data): boolean =>
    type === RRSIG && gone.has(((rdata[0] as number) << 8) | (rdata[1] as number))
  return gone.size === 0 ? rrs : rrs.filter((rr) => !showsPrivate(rr) && !signsGone(rr))
}

/** Tells whoever asked for `name`. */
export function hidden(name: string): ExtendedError {
  return extendedError(EDE.BLOCKED, `private addresses left out; --allow-private ${name.slice(0, 60)} shows them`)
}

/** `allowed`: true for all names, or the names below which it is. `search`: the domains that the system's network gave it. */
export function privacyRule(allowed: boolean | readonly string[], search: () => readonly string[]): MayBePrivate {
  if (allowed === true) return () => true
  const always = [...LOCAL, ...(allowed === false ? [] : allowed.map(canonical))]
  return (name) =>
    specialName(name) !== undefined || [...always, ...search().map(canonical)].some((apex) => isBelow(name, apex))
}

function canonical(name: string): string {
  return name.toLowerCase().replace(/^\./, '').replace(/\.$/, '')
}

function isBelow(name: string, apex: string): boolean {
  return apex !== '' && (name === apex || name.endsWith(`.${apex}`))
}

/** RFC 9460 section 2.2: priority, target, then keys with their values. */
function hintsIn(rdata: Uint8Array): Uint8Array[] {
  const hints: Uint8Array[] = []
  const view = new DataView(rdata.buffer, rdata.byteOffset, rdata.byteLength)
  for (let at = readName(rdata, 2).end; at < rdata.length; ) {
    const size = HINT_BYTES.get(view.getUint16(at))
    const end = at + 4 + view.getUint16(at + 2)
    if (end > rdata.length) throw new RangeError('a parameter runs past its record')
    if (size !== undefined) hints.push(...inPieces(rdata.subarray(at + 4, end), size))
    at = end
  }
  return hints
}

function inPieces(bytes: Uint8Array, size: number): Uint8Array[] {
  if (bytes.length % size !== 0) throw new RangeError('a hint is no address')
  return Array.from({ length: bytes.length / size }, (_, i) => bytes.subarray(i * size, (i + 1) * size))
}

function startsWith(address: Uint8Array, prefix: number[], bits: number): boolean {
  return prefix.every((byte, i) => {
    const mask = bits >= (i + 1) * 8 ? 0xff : (0xff00 >> (bits - i * 8)) & 0xff
    return ((address[i] as number) & mask) === byte
  })
}
