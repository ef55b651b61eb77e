/** Every option of a node: unit, default, reason. */
import type { Limits, Policy } from './contract.ts'
import type { ZoneAnswer } from './names.ts'

/** The zone of an apex such as `alice.p2p`: what a resolver is handed. */
export type Lookup = (apex: string, options?: { policy?: Policy; signal?: AbortSignal }) => Promise<ZoneAnswer>

export interface NodeOptions {
  /** The folder that keeps everything of this node. */
  home: string
  /** Multiaddrs with peer ids; those given once are remembered in the home. */
  introducers?: string[]
  /** Multiaddrs to listen on. Default: any port of every IPv4 address, the same again after a restart. */
  listen?: string[]
  /** Finding peers on the same link by mDNS. Default: true for a node that stays and listens on more than loopback. */
  lan?: boolean
  /**
   * A visitor comes for one question and leaves: it stores nothing for others, listens on no address and is nobody's
   * neighbour in the DHT. Default: false.
   */
  visitor?: boolean
  /**
   * Whether to try many ports against a NAT that gives each connection another one: some routers take that for an attack.
   * Default: true.
   */
  birthday?: boolean
  /** Whether to ask the router to let others in, by PCP, NAT-PMP or UPnP. Default: true for a node that listens on more than loopback. */
  portMapping?: boolean
  /** Asked for when the seed of the home is locked; without it such a home does not open. */
  passphrase?: () => Promise<string>
  /** For all transfers together. Default: none. */
  limits?: Limits
  /**
   * Called when names that are kept here can be looked up, which is before the network is met; a lookup that needs the network waits
   * for it. When this fails the node does not start.
   */
  onNames?: (lookup: Lookup) => Promise<void>
  /** Milliseconds since 1970; default: the system's clock. */
  now?: () => number
}
