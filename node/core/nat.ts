/**
 * What a NAT does, judged from what reflectors saw of one UDP socket (RFC 5780's terms: mapping, filtering). Pure: it is
 * fed samples and asked for a judgement.
 */
import { type HostPort, sameHost, scopeOf } from './hosts.ts'

/** `independent`: the same public port towards everybody. `symmetric`: another for each. `blocked`: no UDP passes. */
export const MAPPINGS = ['unknown', 'independent', 'symmetric', 'blocked'] as const
export type Mapping = (typeof MAPPINGS)[number]
/** Who may send to a mapping: everybody, whoever's address was spoken to, or only the very address and port. */
export const FILTERINGS = ['unknown', 'independent', 'address', 'address-and-port'] as const
export type Filtering = (typeof FILTERINGS)[number]

export interface Samples {
  /** Of the socket. `local`: its own addresses, with the port it is bound to. */
  local: readonly HostPort[]
  /** What each reflector that answered saw; `reflector` is where it was asked. */
  seen: readonly { reflector: HostPort; mapped: HostPort }[]
  /** Reflectors that were asked and did not answer, three times. */
  silent: readonly HostPort[]
  /** Whether a datagram came in from an address that the socket never spoke to; undefined: not tried. */
  strangerCameIn?: boolean
  /** Whether one came in from another port of an address that it spoke to. */
  otherPortCameIn?: boolean
  /** Whether one that it sent to its own mapped address came back. */
  hairpinCameIn?: boolean
  /** The external address that a port mapping protocol told. */
  gateway?: string
}

export interface Judgement {
  mapping: Mapping
  filtering: Filtering
  /** Between this machine and the world addresses are translated. */
  translated: boolean
  /** The public port is the local one. */
  keepsPort: boolean
  /** A router that maps ports has itself no public address. */
  double: boolean
  hairpin: boolean | undefined
  /** Where others see the socket; undefined when that is different for each, or not known. */
  mapped: HostPort | undefined
  /** The public address, if it was always the same. */
  address: string | undefined
}

export function judge(samples: Samples): Judgement {
  const { local, seen } = samples
  const [first] = seen
  const same = first !== undefined && seen.every(({ mapped }) => sameHost(mapped, first.mapped))
  // An introducer on this machine sees what nobody translates.
  const isHere = first !== undefined && scopeOf(first.mapped.host) === 'loopback'
  const isOwn = isHere || (first !== undefined && local.some((own) => own.host === first.mapped.host))
  const mapping = mappingOf(samples, same)
  const addresses = new Set(seen.map(({ mapped }) => mapped.host))
  const gateway = samples.gateway
  return {
    mapping,
    filtering: filteringOf(samples),
    translated: first !== undefined && !isOwn,
    keepsPort: first !== undefined && same && local.some(({ port }) => port === first.mapped.port),
    double:
      gateway !== undefined &&
      (scopeOf(gateway) !== 'public' || (first !== undefined && seen.every(({ mapped }) => mapped.host !== gateway))),
    hairpin: samples.hairpinCameIn,
    mapped: same ? first.mapped : undefined,
    address: addresses.size === 1 ? first?.mapped.host : undefined,
  }
}

/** Two samples of the same reflector address and port say nothing about a NAT that maps by destination. */
function mappingOf({ seen, silent }: Samples, same: boolean): Mapping {
  if (seen.length === 0) return silent.length > 0 ? 'blocked' : 'unknown'
  if (!same) return 'symmetric'
  const places = new Set(seen.map(({ reflector }) => `${reflector.host} ${reflector.port}`))
  return places.size > 1 ? 'independent' : 'unknown'
}

function filteringOf({ seen, strangerCameIn, otherPortCameIn }: Samples): Filtering {
  if (strangerCameIn) return 'independent'
  if (seen.length === 0) return 'unknown'
  if (otherPortCameIn) return 'address'
  return otherPortCameIn === false ? 'address-and-port' : 'unknown'
}

/** What keeps two peers from a direct path, as a sentence; undefined: nothing that is known. */
export function whyNotDirect(own: { mapping: Mapping; filtering: Filtering }, theirs: typeof own): string | undefined {
  const isSymmetric = ({ mapping }: typeof own): boolean => mapping === 'symmetric'
  if (isSymmetric(own) && isSymmetric(theirs)) {
    return 'both NATs use another port for every connection (symmetric NAT); a mapped port on either router would help'
  }
  const isBlocked = ({ mapping }: typeof own): boolean => mapping === 'blocked'
  if ((isSymmetric(own) && isBlocked(theirs)) || (isBlocked(own) && isSymmetric(theirs))) {
    return 'one network lets no UDP through, and the NAT of the other uses another port for every connection'
  }
  return undefined
}
