/** What `p2pns doctor` makes of what was found: what is good, what is not, and what to do about it. Pure. */
import { type HostPort, hostText, scopeOf } from './hosts.ts'
import type { Judgement } from './nat.ts'

export interface Facts {
  nat: Judgement
  /** Addresses of this machine that are not loopback. */
  addresses: readonly string[]
  /** Whether UDP can be used at all; it cannot where udx-native has no build. */
  hasUdp: boolean
  /** Where TCP punches start, as others see it. */
  punch?: HostPort
  portMapping: { state: 'off' | 'trying' | 'mapped' | 'failed'; reason?: string; mapped: readonly HostPort[] }
  introducers: readonly {
    address: string
    connected: boolean
    /** Milliseconds. */
    rtt?: number
    /** Others can call us over it. */
    meeting: boolean
    /** It told us where we come from. */
    reflects: boolean
  }[]
  peer?: { whom: string; path?: string; rtt?: number; rate?: number; error?: string; why?: string }
}

export interface Finding {
  level: 'good' | 'warning' | 'bad'
  what: string
  /** What a person can do about it. */
  todo?: string
}

/** The worst last, as the last lines are those that are read. */
export function findingsOf(facts: Facts): Finding[] {
  const findings = [
    networkOf(facts),
    ...introducersOf(facts),
    natOf(facts),
    tcpOf(facts),
    mappingOf(facts),
    ...peerOf(facts),
  ]
  const order = { good: 0, warning: 1, bad: 2 }
  return findings.filter((one) => one !== undefined).toSorted((a, b) => order[a.level] - order[b.level])
}

function networkOf({ addresses }: Facts): Finding {
  if (addresses.length === 0) {
    return { level: 'bad', what: 'this machine has no network address', todo: 'connect it to a network' }
  }
  const publicIpv6 = addresses.some((host) => host.includes(':') && scopeOf(host) === 'public')
  const ipv4 = addresses.some((host) => !host.includes(':'))
  return { level: 'good', what: `${ipv4 ? 'IPv4' : 'no IPv4'}, ${publicIpv6 ? 'public IPv6' : 'no public IPv6'}` }
}

function introducersOf({ introducers }: Facts): Finding[] {
  if (introducers.length === 0) {
    return [
      {
        level: 'warning',
        what: 'no introducer is known: only peers on this network and those met before can be found',
        todo: 'give one with --introducer ADDRESS; it is remembered',
      },
    ]
  }
  return introducers.map(({ address, connected, rtt, meeting }): Finding => {
    if (!connected) {
      return {
        level: introducers.some((other) => other.connected) ? 'warning' : 'bad',
        what: `the introducer ${address} does not answer`,
        todo: 'check the address, and whether a firewall lets TCP out to its port',
      }
    }
    const time = rtt === undefined ? '' : ` in ${rtt.toFixed(0)} ms`
    if (meeting) return { level: 'good', what: `the introducer ${address} answers${time}` }
    return {
      level: 'warning',
      what: `the introducer ${address} answers${time}, and cannot call this node`,
      todo: 'start the node with `p2pns up`: a visitor is not called',
    }
  })
}

function natOf({ nat, hasUdp, introducers }: Facts): Finding | undefined {
  if (!hasUdp) {
    return {
      level: 'warning',
      what: 'UDP is not used: there is no udx-native for this system',
      todo: 'TCP and relays do',
    }
  }
  const where = nat.address ? ` as ${nat.address}` : ''
  switch (nat.mapping) {
    case 'blocked':
      return {
        level: 'warning',
        what: 'UDP does not come through: peers are reached over TCP, or relayed',
        todo: 'let UDP out in the firewall, if it is yours',
      }
    case 'symmetric':
      return {
        level: 'warning',
        what: `the NAT uses another port for every connection (symmetric)${where}: some peers are reached slowly or relayed`,
        todo: 'allow UPnP or NAT-PMP in the router, or forward the port of this node to it',
      }
    case 'independent': {
      if (!nat.translated) return { level: 'good', what: `UDP works, and there is no NAT${where}` }
      const kept = nat.keepsPort ? 'keeps ports' : 'changes ports'
      const double = nat.double ? ', behind another NAT' : ''
      return { level: 'good', what: `UDP works through a NAT that can be punched (${kept}${double})${where}` }
    }
    default:
      return introducers.some(({ connected }) => connected)
        ? { level: 'warning', what: 'what the NAT does is not known yet', todo: 'try again in a few seconds' }
        : undefined
  }
}

function tcpOf({ punch, nat, introducers }: Facts): Finding | undefined {
  if (punch) return { level: 'good', what: `TCP goes out as ${hostText(punch)}, from where it can be punched` }
  if (!introducers.some(({ connected }) => connected) || nat.mapping === 'unknown') return undefined
  return { level: 'warning', what: 'TCP cannot be punched: its public port is another one for every connection' }
}

function mappingOf({ portMapping, nat }: Facts): Finding | undefined {
  const { state, mapped, reason } = portMapping
  const [first] = mapped
  if (state === 'mapped' && first) {
    return { level: 'good', what: `the router lets others in at ${hostText(first)}${reason ? ` (${reason})` : ''}` }
  }
  if (state !== 'failed' || (nat.mapping === 'independent' && !nat.translated)) return undefined
  const isNeeded = nat.mapping === 'symmetric'
  return {
    level: isNeeded ? 'warning' : 'good',
    what: `the router maps no port${reason ? ` (${reason})` : ''}${isNeeded ? '' : '; none is needed'}`,
    ...(isNeeded ? { todo: 'switch on UPnP or NAT-PMP in the router' } : {}),
  }
}

function peerOf({ peer }: Facts): Finding[] {
  if (!peer) return []
  const { whom, path, rtt, rate, error, why } = peer
  if (error !== undefined) {
    return [
      { level: 'bad', what: `${whom} cannot be reached: ${error}`, todo: 'see whether it is on, and runs `p2pns up`' },
    ]
  }
  const speed = rate === undefined ? '' : `, ${(rate / 1e6).toFixed(1)} MB/s`
  const what = `${whom} is reached by ${path}, ${rtt?.toFixed(1)} ms${speed}`
  return [path === 'relayed' ? { level: 'warning', what: `${what}${why ? `: ${why}` : ''}` } : { level: 'good', what }]
}
