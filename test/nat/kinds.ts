/** The kinds of NAT, as nftables rules of a router whose inner side is `lan` and whose outer side is `wan`. */

export const KINDS = [
  'open',
  'firewall',
  'full-cone',
  'address-restricted',
  'port-restricted',
  'port-changing',
  'double',
  'symmetric',
  'double-symmetric',
  'udp-blocked',
] as const
export type Kind = (typeof KINDS)[number]

/** What comes in must answer what went out. */
const STATEFUL = `chain forward { type filter hook forward priority 0; policy drop;
  ct state established,related accept
  ct status dnat accept
  iifname lan accept
}
chain input { type filter hook input priority 0; policy accept;
  iifname wan ct state new drop
}`

const masquerade = (how = ''): string =>
  `chain out { type nat hook postrouting priority 100; oifname wan meta l4proto { tcp, udp } masquerade ${how}
    oifname wan masquerade
}`

/** Whoever the inner host spoke to (`spoken`), or everybody, may send to a port that it uses. */
function cone(protocol: 'tcp' | 'udp', restricted: boolean): string {
  const [map, set] = [`${protocol}_map`, `${protocol}_spoken`]
  return `
  map ${map} { type inet_service : ipv4_addr . inet_service; flags dynamic,timeout; timeout 5m; }
  set ${set} { type ipv4_addr . inet_service; flags dynamic,timeout; timeout 5m; }
  chain note_${protocol} {
    update @${map} { ${protocol} sport : ip saddr . ${protocol} sport }
    update @${set} { ip daddr . ${protocol} sport }
  }
  chain learn_${protocol} { type filter hook postrouting priority 90;
    oifname wan meta l4proto ${protocol} jump note_${protocol}
  }
  chain in_${protocol} { type nat hook prerouting priority -100;
    iifname wan meta l4proto ${protocol} ${restricted ? `ip saddr . ${protocol} dport @${set}` : ''} dnat ip to ${protocol} dport map @${map}
  }`
}

const router = (...parts: string[]): string => `table ip nat_lab {\n${[STATEFUL, ...parts].join('\n')}\n}`
const coneRouter = (restricted: boolean): string =>
  router(masquerade(), cone('udp', restricted), cone('tcp', restricted))
const NO_UDP = 'chain no_udp { type filter hook forward priority -10; meta l4proto udp drop\n}'

/** The rules of the routers of a kind, the innermost first; none for a host that is itself on the public segment. */
export const ROUTERS: Record<Kind, readonly string[]> = {
  open: [],
  firewall: [],
  'full-cone': [coneRouter(false)],
  'address-restricted': [coneRouter(true)],
  'port-restricted': [router(masquerade())],
  'port-changing': [router(masquerade('to :10000-19999'))],
  double: [router(masquerade()), router(masquerade())],
  symmetric: [router(masquerade('fully-random'))],
  'double-symmetric': [router(masquerade()), router(masquerade('fully-random'))],
  'udp-blocked': [router(masquerade(), NO_UDP)],
}

/** Of a router whose LAN has public IPv6 addresses. */
export const IPV6_FIREWALL = `table ip6 firewall_lab {\n${STATEFUL}\n}`

/** What the LAN of a cone router sends to its public `address` comes back in, as if from the router itself: as home routers do it. */
export function hairpin(address: string): string {
  const to = (protocol: string): string =>
    `iifname lan ip daddr ${address} meta l4proto ${protocol} dnat ip to ${protocol} dport map @${protocol}_map`
  return `table ip nat_lab {
chain hairpin_in { type nat hook prerouting priority -100;
  ${to('tcp')}
  ${to('udp')}
}
chain hairpin_out { type nat hook postrouting priority 100;
  ip saddr 192.168.0.0/16 oifname lan ct status dnat masquerade
}
}`
}

/** Of a host on the public segment, for both families. */
export const HOST_FIREWALL = `table inet host_lab {
chain input { type filter hook input priority 0; policy drop;
  ct state established,related accept
  iifname lo accept
  icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert } accept
}
}`

/** Whether two peers can be joined directly: what physics and their NATs allow. */
export function canBeDirect(a: Kind, b: Kind): boolean {
  const isSymmetric = (kind: Kind): boolean => kind === 'symmetric' || kind === 'double-symmetric'
  const letsAllIn = (kind: Kind): boolean => kind === 'open' || kind === 'full-cone'
  const pair = [a, b]
  if (pair.some(letsAllIn)) return true
  if (pair.every(isSymmetric)) return false
  if (!pair.some(isSymmetric)) return true
  // Guessing a port takes UDP.
  return !pair.includes('udp-blocked')
}
