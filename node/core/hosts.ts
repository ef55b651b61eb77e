/** Where a peer may be reached: an IP address, a port, and what one does there. As bytes and as text. */
import { BlockList, isIP, isIPv4, isIPv6 } from 'node:net'
import type { Bytes, CborValue } from './encoding.ts'
import { P2pnsError } from './errors.ts'
import { asBytes, asList, asUint } from './shape.ts'

/** An IP address as text (no zone, no name) and a port. */
export interface HostPort {
  host: string
  port: number
}

/** `tcp`: somebody listens. `punch`: a TCP punch starts from there. `udp`: probes and UDX. */
export type Use = 'tcp' | 'punch' | 'udp'
export interface Host extends HostPort {
  use: Use
}

const USES: readonly Use[] = ['tcp', 'punch', 'udp']

export const MAX_HOSTS = 12

export function hostFields({ use, host, port }: Host): CborValue {
  return [USES.indexOf(use), addressBytes(host), port]
}

/** Errors: malformed. */
export function parseHosts(value: CborValue | undefined, what: string): Host[] {
  return asList(value, what, 0, MAX_HOSTS).map((item) => {
    const [use, address, port] = asList(item, what, 3)
    return { use: USES[asUint(use, what, USES.length - 1)] as Use, ...parseHostPort(address, port, what) }
  })
}

/** Errors: malformed. */
export function parseHostPort(address: CborValue | undefined, port: CborValue | undefined, what: string): HostPort {
  const host = addressText(asBytes(address, what, 4, 16))
  const number = asUint(port, what, 65_535)
  if (number === 0) throw new P2pnsError('malformed', `${what} names port 0`)
  return { host, port: number }
}

/** 4 or 16 bytes. An IPv4 address inside IPv6 (`::ffff:1.2.3.4`) is the IPv4 address. */
export function addressBytes(host: string): Bytes {
  const plain = plainHost(host)
  if (isIPv4(plain)) return Uint8Array.from(plain.split('.').map(Number))
  if (!isIPv6(plain)) throw new RangeError(`${host} is no IP address`)
  const bytes = new Uint8Array(16)
  groupsOf(plain).forEach((group, i) => {
    bytes[2 * i] = group >> 8
    bytes[2 * i + 1] = group & 0xff
  })
  return bytes
}

/** The inverse of `addressBytes`; IPv6 as RFC 5952 spells it. */
export function addressText(bytes: Bytes): string {
  if (bytes.length === 4) return bytes.join('.')
  const groups = Array.from({ length: 8 }, (_, i) => ((bytes[2 * i] as number) << 8) | (bytes[2 * i + 1] as number))
  const text = groups.map((group) => group.toString(16)).join(':')
  // The longest run of zeros, the first of equals, two at least (RFC 5952 section 4.2).
  const [longest] = [...text.matchAll(/\b0(?::0)+\b/g)].toSorted((a, b) => b[0].length - a[0].length)
  if (!longest) return text
  return `${text.slice(0, longest.index).replace(/:$/, '')}::${text.slice(longest.index + longest[0].length).replace(/^:/, '')}`
}

/** Without what sockets add: `::ffff:` before an IPv4 address, `%eth0` after a link-local one. */
export function plainHost(host: string): string {
  return host.replace(/^::ffff:(?=\d+\.)/i, '').replace(/%.*$/, '')
}

export function sameHost(a: HostPort, b: HostPort): boolean {
  return a.port === b.port && a.host === b.host
}

export function hostText({ host, port }: HostPort): string {
  return isIPv6(host) ? `[${host}]:${port}` : `${host}:${port}`
}

const LOOPBACK = blockList(['127.0.0.0', 8], ['0.0.0.0', 8], ['::', 127])
/** RFC 1918, 3927, 4193, 4291, 6598. */
const PRIVATE = blockList(
  ['10.0.0.0', 8],
  ['172.16.0.0', 12],
  ['192.168.0.0', 16],
  ['169.254.0.0', 16],
  ['100.64.0.0', 10],
  ['fc00::', 7],
  ['fe80::', 10],
)
/** Multicast, broadcast and what is reserved: nobody is there. */
const NOBODY = blockList(['224.0.0.0', 3], ['ff00::', 8])

/** `loopback`: this machine; `private`: this site; `public`: anywhere; `none`: nobody can be there. */
export function scopeOf(host: string): 'loopback' | 'private' | 'public' | 'none' {
  const plain = plainHost(host)
  const family = isIPv6(plain) ? 'ipv6' : 'ipv4'
  if (LOOPBACK.check(plain, family)) return 'loopback'
  if (PRIVATE.check(plain, family)) return 'private'
  return NOBODY.check(plain, family) ? 'none' : 'public'
}

/**
 * The block of addresses that `host` is in: what one customer of a provider has at least, /24 of IPv4 or /48 of IPv6. Undefined for
 * what is no public address: private ones cost nothing, and behind one, as with a container's proxy, everybody may stand.
 */
export function addressBlock(host: string): string | undefined {
  const plain = plainHost(host)
  if (isIP(plain) === 0 || scopeOf(plain) !== 'public') return undefined
  if (isIPv4(plain)) return `${plain.split('.').slice(0, 3).join('.')}.0/24`
  const groups = groupsOf(plain).slice(0, 3)
  return `${groups.map((group) => group.toString(16)).join(':')}::/48`
}

function blockList(...nets: [string, number][]): BlockList {
  const list = new BlockList()
  for (const [net, bits] of nets) list.addSubnet(net, bits, isIPv6(net) ? 'ipv6' : 'ipv4')
  return list
}

function groupsOf(address: string): number[] {
  const mapped = address.replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (_, a, b, c, d) =>
    [(Number(a) << 8) | Number(b), (Number(c) << 8) | Number(d)].map((group) => group.toString(16)).join(':'),
  )
  const [head = '', tail] = mapped.split('::')
  const groups = (text: string): number[] =>
    text === '' ? [] : text.split(':').map((group) => Number.parseInt(group, 16))
  const [left, right] = [groups(head), groups(tail ?? '')]
  return [...left, ...Array.from({ length: 8 - left.length - right.length }, () => 0), ...right]
}
