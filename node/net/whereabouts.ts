/** Where this machine may be reached: what its interfaces, reflectors and the router that maps ports say, to tell others of. */
import { BlockList, isIPv6 } from 'node:net'
import { networkInterfaces } from 'node:os'
import { type Host, type HostPort, hostText, MAX_HOSTS, scopeOf } from '../core/hosts.ts'

/** Milliseconds between two looks at the interfaces: somebody waits for a transfer to go on. */
const LOOK_EVERY = 1_000

export interface Ports {
  /** 0: none. */
  tcp: number
  udp: number
  /** Where TCP punches start. */
  punch?: number
}

export interface Outside {
  /** The UDP port, and the port from which TCP punches start, as others see them. */
  udp?: HostPort | undefined
  punch?: HostPort | undefined
  /** What a router lets in to us. */
  mapped?: { tcp?: HostPort | undefined; udp?: HostPort | undefined }
}

/** Hosts to tell somebody who comes from `seen`: those of this machine only to programs on it. What may be public comes first. */
export function ownHosts(ports: Ports, outside: Outside, seen: HostPort | undefined): Host[] {
  const isHere = seen !== undefined && scopeOf(seen.host) === 'loopback'
  const all = interfaceHosts()
  // A machine may have many temporary IPv6 addresses and bridges of containers, and a message has little room.
  const isPublic = (host: string): number => (scopeOf(host) === 'public' ? 1 : 0)
  const four = all.filter((host) => !host.includes(':')).slice(0, 3)
  const six = all.filter((host) => host.includes(':')).toSorted((a, b) => isPublic(b) - isPublic(a))
  const some = [...six.slice(0, 1), ...four, ...six.slice(1, 2)]
  const ipv6 = ports.punch ? publicIpv6() : undefined
  const inside = [...(isHere ? [seen.host] : []), ...some]
  const at = (use: Host['use'], place: HostPort | undefined): Host[] => (place ? [{ use, ...place }] : [])
  const hosts = [
    ...at('tcp', outside.mapped?.tcp),
    ...at('udp', outside.mapped?.udp),
    ...at('udp', outside.udp),
    ...at('punch', outside.punch),
    ...at('punch', ipv6 === undefined ? undefined : { host: ipv6, port: ports.punch as number }),
    ...inside.flatMap((host): Host[] => [
      ...(ports.tcp > 0 ? at('tcp', { host, port: ports.tcp }) : []),
      ...(ports.udp > 0 ? at('udp', { host, port: ports.udp }) : []),
    ]),
  ]
  const known = new Map(hosts.map((host) => [`${host.use} ${hostText(host)}`, host]))
  return [...known.values()].slice(0, MAX_HOSTS)
}

/**
 * Whether to try a host that another peer says it has: nobody may send us to the services of this machine or of the network
 * it is in, unless they are in it themselves. `theirs`: where they are seen to come from; `ours`: where we are, if known.
 */
export function isWorthTrying({ host }: HostPort, theirs: HostPort, ours: string | undefined): boolean {
  switch (scopeOf(host)) {
    case 'public':
      return true
    case 'loopback':
      return scopeOf(theirs.host) === 'loopback'
    case 'private':
      if (theirs.host === host || theirs.host === ours || scopeOf(theirs.host) !== 'public') return true
      // Where we are is not known in that family.
      return (ours === undefined || ours.includes(':') !== theirs.host.includes(':')) && isInOurNetwork(host)
    default:
      return false
  }
}

/** Addresses of this machine that others may use. */
export function interfaceHosts(): string[] {
  return (
    Object.values(networkInterfaces())
      .flatMap((addresses) => addresses ?? [])
      // A link-local IPv6 address means nothing without the interface that it is on.
      .filter((address) => !address.internal && !(address.scopeid !== undefined && address.scopeid > 0))
      .map((address) => address.address)
  )
}

/** That from which TCP punches start; of several, others are told of this one. Its port is the same outside. */
export function publicIpv6(): string | undefined {
  return interfaceHosts().find((host) => host.includes(':') && scopeOf(host) === 'public')
}

function isInOurNetwork(host: string): boolean {
  const block = new BlockList()
  for (const { cidr, internal } of Object.values(networkInterfaces()).flatMap((list) => list ?? [])) {
    const [net, bits] = cidr?.split('/') ?? []
    if (!internal && net && bits) block.addSubnet(net, Number(bits), isIPv6(net) ? 'ipv6' : 'ipv4')
  }
  return block.check(host, isIPv6(host) ? 'ipv6' : 'ipv4')
}

/** Calls `onLost` when an address that this machine had is gone, and `onChange` then and when it has a new one. */
export function watchInterfaces(events: { onChange: () => void; onLost: () => void }): { stop(): void } {
  let before = new Set(interfaceHosts())
  const timer = setInterval(() => {
    const now = new Set(interfaceHosts())
    if (now.symmetricDifference(before).size === 0) return
    const lost = before.difference(now).size > 0
    before = now
    if (lost) events.onLost()
    events.onChange()
  }, LOOK_EVERY).unref()
  return { stop: () => clearInterval(timer) }
}
