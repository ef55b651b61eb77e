/** What a node tells of itself: its state, whom it is connected to, and what doctor finds. */
import type { Facts, Finding } from './core/diagnosis.ts'
import type { Judgement } from './core/nat.ts'

export interface Status {
  peerId: string
  version: string
  home: string
  /** Seconds. */
  uptime: number
  addresses: string[]
  introducers: { address: string; connected: boolean }[]
  peers: number
  dns?: string
  /** Where DNS over HTTPS (a URL) and over TLS (host and port) is answered. */
  doh?: string
  dot?: string
  names: { name: string; keyName: string; seq: string; until?: string }[]
  shares: { cid: string; path: string; bytes: number; files: number }[]
  /** How others get here. `nat`: what it does to UDP; `places`: peer ids of introducers over which this node can be called. */
  reach: { nat: Judgement; portMapping: string; places: string[] }
  /** What the person should look into: names that end soon, two owners of one name, a witness that lied. */
  warnings: string[]
}

export interface PeerStatus {
  peer: string
  address: string
  /** `lan`, `direct-tcp`, `reversed-tcp`, `punched-tcp`, `punched-udp` or `relayed`. */
  path: string
  /** Round trip in milliseconds, when measured. */
  rtt?: number
  introducer: boolean
  /** A control connection, or a link over which something is fetched from there or served to it. */
  use: 'control' | 'fetching' | 'serving'
  /** Why the path is no direct one, where that is known. */
  why?: string
}

/** What `p2pns doctor` found. */
export interface Diagnosis extends Facts {
  findings: Finding[]
}
