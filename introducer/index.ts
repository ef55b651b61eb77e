/**
 * An introducer: bootstrap, record cache, relay and witness in one libp2p host, asked over one kept stream per peer.
 * It can withhold, never forge: everything it hands out carries its own proof.
 */
import { randomBytes } from 'node:crypto'
import { access } from 'node:fs/promises'
import * as path from 'node:path'
import type { Connection, Stream } from '@libp2p/interface'
import { MAX_TERM } from '../node/core/claim.ts'
import { type Bytes, fromHex, toHex } from '../node/core/encoding.ts'
import { nodeKey } from '../node/core/keys.ts'
import { CLAIM_WINDOW, type Lease, leaseDhtKey, parseNamed } from '../node/core/lease.ts'
import { type Realm, realmId, realmOf } from '../node/core/realm.ts'
import type { Host } from '../node/net/host.ts'
import { INTRODUCER_PROTOCOL } from '../node/net/introducers.ts'
import { isLoopback, onKeptPort, startHost } from '../node/net/listen.ts'
import type { Takers } from '../node/net/one-port.ts'
import { tcpPortOf } from '../node/net/peers.ts'
import { RELAY_PROTOCOL } from '../node/net/relayed.ts'
import { serveRpc } from '../node/net/rpc.ts'
import { SWITCHBOARD_PROTOCOL } from '../node/net/switchboard.ts'
import { loadSeed } from '../node/seed.ts'
import { openStore, type Store } from '../node/store.ts'
import { Access, type AccessOptions } from './access.ts'
import { type Answering, answer, type Counters, preferred } from './answer.ts'
import { DescriptorKeeper } from './descriptor.ts'
import { fellowsOf } from './fellows.ts'
import { windowLimit } from './limits.ts'
import { startMetrics } from './metrics.ts'
import { startReflector } from './reflector.ts'
import { RELAY_LIMITS, Relay, type RelayLimits } from './relay.ts'
import { Switchboard } from './switchboard.ts'
import { tellWhere } from './tcp-reflector.ts'
import { createWitness } from './witness.ts'

export interface IntroducerOptions {
  home: string
  /** Default: any port of every IPv4 address, the same again after a restart. */
  listen?: string[]
  /**
   * Addresses of the witnesses of its realm, each with its peer id; its own may be among them. Those given once are remembered in
   * the home. Default: it stands alone.
   */
  witnesses?: string[]
  /** Health and metrics; off by default. */
  http?: { host: string; port: number }
  /** Bits of work that a first claim costs; 16 is some 0.2 s of one core. */
  bits?: number
  /** Whom it serves. Default: everyone. */
  access?: AccessOptions
  /** What peers may pass through it; those left out are as in RELAY_LIMITS. */
  relay?: Partial<RelayLimits>
  now?: () => number
}

export interface RunningIntroducer {
  /** The address to give to `--introducer`, with the peer id. */
  address: string
  addresses: string[]
  realm: Realm
  /** Seconds since 1970: until then it witnesses no new names, because it has lost its records. */
  lostUntil?: number
  http?: { host: string; port: number }
  stop(): Promise<void>
}

const DEFAULT_BITS = 16
const POKES_A_MINUTE = 30

export async function createIntroducer(options: IntroducerOptions): Promise<RunningIntroducer> {
  await using started = new AsyncDisposableStack()
  const now = options.now ?? Date.now
  const isNew = !(await hasSeed(options.home))
  const store = await openStore(options.home)
  started.defer(() => store.close())
  const lostUntil = await recordsLostUntil(store, isNew, now)
  const pair = nodeKey(await loadSeed(options.home, randomBytes))

  const { datastore } = store
  const { listen } = options
  const takers: Takers = { reflect: tellWhere }
  const ports = store.table<number>('ports')
  const host = await startHost({ key: pair, listen, datastore, role: 'introducer', lan: false, takers, now }, ports)
  started.defer(() => host.stop())
  const reflector = await onKeptPort(ports, 'reflector', (port) =>
    startReflector({ ports: [tcpPortOf(host.libp2p), port], ipv6: true }),
  )
  started.defer(() => reflector.stop())
  await ports.put('reflector', reflector.ports[1])
  const { libp2p, records } = host
  const { peers, own } = await fellowsOf(store.table('settings'), options.witnesses, {
    publicKey: pair.publicKey,
    libp2p,
    now,
  })
  started.defer(() => peers.forEach((peer) => peer.close()))

  const realm = realmOf([pair.publicKey, ...peers.map(({ witnessKey }) => witnessKey)], options.bits ?? DEFAULT_BITS)
  const addresses = () => libp2p.getMultiaddrs().map(String)
  const descriptor = new DescriptorKeeper({
    pair,
    realm,
    addresses: () => [...new Set([...own, ...reachable(addresses())])],
    peers,
    kept: store.table<string>('descriptor'),
    now,
  })
  const witness = createWitness({
    pair,
    realm,
    store: witnessStore(store),
    now,
    wait,
    peers: () =>
      peers.map((peer) => ({
        key: peer.witnessKey,
        gossip: (claim, auth, previous) => peer.gossip(claim, auth, previous),
        lease: (name) => peer.lease(name),
      })),
    lookup: (name) => lookUp(host, leaseDhtKey(realmId(realm), name)),
    lostUntil: async () => lostUntil,
  })
  const counters: Counters = { get: 0, put: 0, claim: 0, refused: 0 }
  const pokes = windowLimit({ now, length: 60_000, max: POKES_A_MINUTE })
  const access = new Access(options.access ?? { policy: 'everyone' })
  await serve({ host, realm, witness, descriptor, reflector, pokes, access, counters })
  await serveMeetings(host, { limits: { ...RELAY_LIMITS, ...options.relay }, access, now })
  await descriptor.start()
  started.defer(() => descriptor.stop())

  const http =
    options.http &&
    (await startMetrics(options.http, {
      connections: () => libp2p.getConnections().length,
      records: () => records.records,
      counters,
    }))
  if (http) started.defer(() => http.stop())
  const running = started.move()
  return {
    address: preferred(addresses()) ?? '',
    addresses: addresses(),
    realm,
    ...(now() < lostUntil * 1000 ? { lostUntil } : {}),
    ...(http ? { http: { host: http.host, port: http.port } } : {}),
    stop: () => running.disposeAsync(),
  }
}

async function serve(parts: Answering): Promise<void> {
  const { host, counters } = parts
  const onStream = (stream: Stream, connection: Connection) =>
    serveRpc(stream, async (method, args) => {
      try {
        return await answer(parts, connection, method, args)
      } catch (error) {
        counters.refused++
        throw error
      }
    })
  await host.libp2p.handle(INTRODUCER_PROTOCOL, onStream, { maxInboundStreams: 2, runOnLimitedConnection: true })
}

/** Peers meet here, and are joined where nothing else joins them. */
async function serveMeetings(
  { libp2p }: Host,
  { limits, access, now }: { limits: RelayLimits; access: Access; now: () => number },
): Promise<void> {
  const switchboard = new Switchboard(now)
  const relay = new Relay(limits, now)
  const admitted =
    (serve: (stream: Stream, connection: Connection) => Promise<void>) => (stream: Stream, connection: Connection) => {
      if (access.admits(connection)) void serve(stream, connection)
      else stream.abort(new Error('not admitted'))
    }
  const switching = admitted((stream, from) => switchboard.serve(stream, from))
  const relaying = admitted((stream, from) => relay.serve(stream, from))
  await libp2p.handle(SWITCHBOARD_PROTOCOL, switching, { maxInboundStreams: 4 })
  await libp2p.handle(RELAY_PROTOCOL, relaying, { maxInboundStreams: 32 })
}

/**
 * Seconds since 1970: the end of the longest term that it can have signed before it lost its records; 0 when it has them all.
 * They are lost when there is a seed, but not the mark that its records were begun, which is made before the seed.
 */
async function recordsLostUntil(store: Store, isNew: boolean, now: () => number): Promise<number> {
  const marks = store.table<number>('begun')
  const known = await marks.get('lostUntil')
  if (known !== undefined) return known
  const lostUntil = isNew ? 0 : Math.floor(now() / 1000) + CLAIM_WINDOW + MAX_TERM
  await marks.put('lostUntil', lostUntil)
  return lostUntil
}

function hasSeed(home: string): Promise<boolean> {
  return access(path.join(home, 'seed')).then(
    () => true,
    () => false,
  )
}

/** The lease that this node or the DHT has under `key`; each checks what it hands out. */
async function lookUp({ records, dht }: Host, key: Bytes): Promise<Lease | undefined> {
  const value = (await records.value(key)) ?? (await dht.get(key))?.value
  return value && parseNamed(value).lease
}

/** Keeps no process alive. */
function wait(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms).unref())
}

/** What others can use of its addresses: no loopback, unless there is nothing else. */
function reachable(addresses: string[]): string[] {
  const others = addresses.filter((address) => !isLoopback(address))
  return others.length > 0 ? others : addresses
}

function witnessStore(store: Store) {
  const table = store.table<string>('witness')
  return {
    async get(name: string): Promise<Bytes | undefined> {
      const hex = await table.get(name)
      return hex === undefined ? undefined : fromHex(hex)
    },
    put: (name: string, bytes: Bytes) => table.put(name, toHex(bytes)),
  }
}
