/** A libp2p host with our settings: tcp, noise, yamux, identify, ping, discovery on the link and the DHT. */
import { generateKeyPairFromSeed } from '@libp2p/crypto/keys'
import { type Identify, identify } from '@libp2p/identify'
import type { Libp2p, PeerId } from '@libp2p/interface'
import type { KadDHT } from '@libp2p/kad-dht'
import { noise } from '@libp2p/noise'
import { peerIdFromPrivateKey, peerIdFromString } from '@libp2p/peer-id'
import { type Ping, ping } from '@libp2p/ping'
import { yamux } from '@libp2p/yamux'
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr'
import type { Datastore } from 'interface-datastore'
import { createLibp2p } from 'libp2p'
import { P2pnsError } from '../core/errors.ts'
import { type KeyPair, sha256 } from '../core/keys.ts'
import { Dht, dhtService, ENOUGH_ANSWERS } from './dht.ts'
import { handshakeLimit } from './handshake-limit.ts'
import { LanDiscovery } from './lan.ts'
import { type KadParts, nearbyNodes } from './nearby.ts'
import { onePortTcp, type Takers } from './one-port.ts'
import { ownAddresses } from './own-addresses.ts'
import { PeerGuard } from './peer-guard.ts'
import { ProviderGuard } from './provider-guard.ts'
import { RecordGuard } from './record-guard.ts'

/**
 * A peer stores records for others. An introducer does too, with more connections. A visitor only asks: it
 * will be gone in a moment, so nobody should count on it.
 */
export type Role = 'peer' | 'introducer' | 'visitor'

/** The routing table of kad-dht, which its interface hides: a first contact is an event of it. */
export interface RoutingTable {
  readonly size: number
  addEventListener(type: 'peer:add', listener: () => void): void
  removeEventListener(type: 'peer:add', listener: () => void): void
}

export interface HostOptions {
  key: KeyPair
  /** Multiaddrs, such as `/ip4/0.0.0.0/tcp/0`. */
  listen: string[]
  datastore: Datastore
  role: Role
  /** Finding peers on the same link. */
  lan: boolean
  /** Who takes the connections to its port that are not for libp2p. */
  takers: Takers
  now: () => number
}

export type Services = { dht: KadDHT; identify: Identify; ping: Ping; ownAddresses: object }

export interface Host {
  libp2p: Libp2p<Services>
  dht: Dht
  records: RecordGuard
  routingTable: RoutingTable
  stop(): Promise<void>
}

const HOUR_MS = 3600_000

/** js-libp2p's defaults (300 connections, 5 new ones per second and host) are those of a browser tab. */
const LIMITS = {
  visitor: { maxConnections: 100, inboundConnectionThreshold: 5, maxIncomingPendingConnections: 10 },
  peer: { maxConnections: 500, inboundConnectionThreshold: 50, maxIncomingPendingConnections: 100 },
  introducer: { maxConnections: 5000, inboundConnectionThreshold: 200, maxIncomingPendingConnections: 1000 },
} as const

/**
 * How often all connections are asked whether they live. With libp2p's own 10 s an introducer with 2,000 of them held up newcomers for a
 * second; the 100 nodes of test/bench/lookups.ts took 0.8 to 0.9 of a core, and with 30 s 0.2 to 0.3.
 */
const HEARTBEAT_MS = { visitor: 30_000, peer: 30_000, introducer: 60_000 } as const

export async function createHost(options: HostOptions): Promise<Host> {
  for (const address of options.listen) parseAddress(address)
  const privateKey = await generateKeyPairFromSeed('Ed25519', options.key.seed)
  const self = peerIdFromPrivateKey(privateKey)
  const providers = new ProviderGuard(new PeerGuard(options.datastore), self)
  await providers.load()
  const records = new RecordGuard(providers, options.now, sha256(self.toMultihash().bytes))
  await records.sweep()
  const libp2p = await createLibp2p<Services>({
    privateKey,
    nodeInfo: { name: 'p2pns', userAgent: 'p2pns' },
    addresses: { listen: options.listen },
    datastore: records,
    // Provider records carry addresses from the peer store: they must outlive the 1 h of the default.
    peerStore: { maxAddressAge: 48 * HOUR_MS, maxPeerAge: 72 * HOUR_MS },
    connectionManager: {
      ...LIMITS[options.role],
      dialTimeout: 8_000,
      addressDialTimeout: 3_000,
    },
    connectionMonitor: { pingInterval: HEARTBEAT_MS[options.role] },
    connectionGater: handshakeLimit(),
    transports: [onePortTcp(options.takers)],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    services: {
      identify: identify(),
      // libp2p's heartbeat and the DHT ping too: with the default of one stream the heartbeat fails, and closes the connection.
      ping: ping({ maxInboundStreams: 8, maxOutboundStreams: 8 }),
      ownAddresses: ownAddresses(),
      dht: dhtService(options.now, options.role !== 'visitor') as unknown as (components: object) => KadDHT,
    },
  }).catch((cause: unknown) => {
    throw listenError(cause, options.listen)
  })
  const sweeper = setInterval(() => void records.sweep().catch(() => {}), HOUR_MS)
  sweeper.unref()
  const lan = options.lan ? new LanDiscovery(libp2p) : undefined
  const kad = libp2p.services.dht as KadDHT & KadParts & { routingTable: RoutingTable }
  const nearby = nearbyNodes(kad, () => libp2p.getConnections(), ENOUGH_ANSWERS)
  return {
    libp2p,
    routingTable: kad.routingTable,
    dht: new Dht(kad, records, options.now, nearby),
    records,
    async stop() {
      clearInterval(sweeper)
      lan?.stop()
      await libp2p.stop()
    },
  }
}

function listenError(cause: unknown, listen: string[]): unknown {
  const text = `${(cause as Error).message} ${String((cause as { errors?: unknown[] }).errors ?? '')}`
  if (/EADDRINUSE|UnsupportedListenAddresses|could not listen|Some configured addresses failed/i.test(text)) {
    return new P2pnsError('port_in_use', `It is not possible to listen on ${listen.join(', ')}`, { cause })
  }
  return cause
}

/** Reads a multiaddr that a person or another machine gave. */
export function parseAddress(text: string): Multiaddr {
  try {
    return multiaddr(text)
  } catch (cause) {
    throw new P2pnsError(
      'usage',
      `"${text.slice(0, 200)}" is not a multiaddr such as /ip4/192.0.2.1/tcp/4001/p2p/12D3Koo...`,
      { cause },
    )
  }
}

/** The peer id at the end of a multiaddr; undefined where there is none, or text that is no peer id. */
export function peerIdOf(address: Multiaddr): PeerId | undefined {
  const value = address.getComponents().findLast((part) => part.name === 'p2p')?.value
  try {
    return value === undefined ? undefined : peerIdFromString(value)
  } catch {
    return undefined
  }
}
