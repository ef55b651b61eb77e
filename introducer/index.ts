/**
 * An introducer: bootstrap, record cache, relay and witness in one libp2p host, asked over one kept stream per peer.
 * It can withhold, never forge: everything it hands out carries its own proof.
 */
import { randomBytes, randomInt } from 'node:crypto'
import type { Libp2p, PeerId } from '@libp2p/interface'
import { parseAuth } from '../node/core/claim.ts'
import { signDescriptor } from '../node/core/descriptor.ts'
import { type Bytes, type CborValue, fromHex, toHex } from '../node/core/encoding.ts'
import { P2pnsError } from '../node/core/errors.ts'
import { nodeKey } from '../node/core/keys.ts'
import { encodeReceipt } from '../node/core/lease.ts'
import { realmOf } from '../node/core/realm.ts'
import { kindOf } from '../node/core/records.ts'
import { asText } from '../node/core/shape.ts'
import type { Host } from '../node/net/host.ts'
import { INTRODUCER_PROTOCOL } from '../node/net/introducers.ts'
import { isLoopback, startHost } from '../node/net/listen.ts'
import { withPeerId } from '../node/net/peers.ts'
import { serveRpc } from '../node/net/rpc.ts'
import { loadSeed } from '../node/seed.ts'
import { openStore, type Store } from '../node/store.ts'
import { type HttpServer, startHttp } from './http.ts'
import { createWitness, type Witness } from './witness.ts'

export interface IntroducerOptions {
  home: string
  /** Default: any port of every IPv4 address, the same again after a restart. */
  listen?: string[]
  /** Health and metrics; off by default. */
  http?: { host: string; port: number }
  /** Bits of work that a first claim costs; 16 is some 0.2 s of one core. */
  bits?: number
  now?: () => number
}

export interface RunningIntroducer {
  /** The address to give to `--introducer`, with the peer id. */
  address: string
  addresses: string[]
  http?: { host: string; port: number }
  stop(): Promise<void>
}

export interface Counters {
  get: number
  put: number
  claim: number
  refused: number
}

/** Peers that one answer to `peers` names. */
const PEERS_PER_ANSWER = 16
const DEFAULT_BITS = 16

export async function createIntroducer(options: IntroducerOptions): Promise<RunningIntroducer> {
  const now = options.now ?? Date.now
  const pair = nodeKey(await loadSeed(options.home, randomBytes))
  const store = await openStore(options.home)
  let host: Host | undefined
  try {
    const { datastore } = store
    const { listen } = options
    host = await startHost({ key: pair, listen, datastore, role: 'introducer', lan: false, now }, store.table('ports'))
    const realm = realmOf([pair.publicKey], options.bits ?? DEFAULT_BITS)
    const witness = createWitness({ pair, realm, store: witnessStore(store), now })
    const counters: Counters = { get: 0, put: 0, claim: 0, refused: 0 }
    const { libp2p, records } = host
    const addresses = () => libp2p.getMultiaddrs().map(String)
    const descriptor = () =>
      signDescriptor({ realm, displayName: '', addresses: addresses(), issued: Math.floor(now() / 1000) }, pair)
    await libp2p.handle(
      INTRODUCER_PROTOCOL,
      (stream, connection) =>
        serveRpc(stream, async (method, args) => {
          try {
            return await answer(
              { host: host as Host, witness, descriptor, counters },
              connection.remotePeer,
              method,
              args,
            )
          } catch (error) {
            counters.refused++
            throw error
          }
        }),
      { maxInboundStreams: 2, runOnLimitedConnection: true },
    )
    let http: HttpServer | undefined
    if (options.http) {
      http = await startHttp(options.http, {
        connections: () => libp2p.getConnections().length,
        records: () => records.records,
        counters,
      })
    }
    const running = host
    return {
      address: preferred(addresses()) ?? '',
      addresses: addresses(),
      ...(http ? { http: { host: http.host, port: http.port } } : {}),
      async stop() {
        await http?.stop()
        await running.stop()
        await store.close()
      },
    }
  } catch (error) {
    await host?.stop()
    await store.close()
    throw error
  }
}

interface Parts {
  host: Host
  witness: Witness
  descriptor: () => Bytes
  counters: Counters
}

async function answer(parts: Parts, asker: PeerId, method: string, args: readonly CborValue[]): Promise<CborValue> {
  const { host, witness, descriptor, counters } = parts
  switch (method) {
    case 'get': {
      counters.get++
      const key = bytesAt(args, 0)
      kindOf(key)
      const value = await host.records.value(key)
      return value === undefined ? [] : [value]
    }
    case 'put':
      counters.put++
      await host.records.store(bytesAt(args, 0), bytesAt(args, 1))
      return 1
    case 'peers':
      return randomPeers(host.libp2p, asker)
    case 'realm':
      return descriptor()
    case 'claim':
      counters.claim++
      return encodeReceipt(await witness.claim(bytesAt(args, 0), parseAuth(bytesAt(args, 1))))
    case 'lease': {
      const held = await witness.lease(asText(args[0], 'A name'))
      return held === undefined ? [] : [held]
    }
    default:
      throw new P2pnsError(
        'frame_invalid',
        `An introducer was asked for "${method.slice(0, 32)}", which it does not know`,
      )
  }
}

function bytesAt(args: readonly CborValue[], index: number): Bytes {
  const value = args[index]
  if (!(value instanceof Uint8Array)) throw new P2pnsError('frame_invalid', 'A question lacks an argument')
  return value
}

/**
 * Addresses of random connected peers. A newcomer that met only introducers would know only their neighbourhoods: in
 * a routing model of 10,000 nodes random contacts raise the recall of the closest 20 from 0.13 to 0.80.
 */
async function randomPeers(libp2p: Libp2p, asker: PeerId): Promise<string[]> {
  const peers = libp2p.getPeers().filter((peer) => !peer.equals(asker))
  const found: string[] = []
  while (peers.length > 0 && found.length < PEERS_PER_ANSWER) {
    const [peer] = peers.splice(randomInt(peers.length), 1)
    const known = await libp2p.peerStore.get(peer as PeerId).catch(() => undefined)
    const address = preferred((known?.addresses ?? []).map(({ multiaddr }) => multiaddr.toString()))
    if (address !== undefined) found.push(withPeerId(address, String(peer)))
  }
  return found
}

/** One that others can reach: loopback comes last. */
function preferred(addresses: string[]): string | undefined {
  return addresses.find((address) => !isLoopback(address)) ?? addresses[0]
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
