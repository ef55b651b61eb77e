/** Single hosts without names or files: honest ones as a node has them, and one that keeps no rule. */
import { createHash } from 'node:crypto'
import type { TestContext } from 'node:test'
import { identify } from '@libp2p/identify'
import type { Libp2p } from '@libp2p/interface'
import { type KadDHT, kadDHT, passthroughMapper } from '@libp2p/kad-dht'
import { noise } from '@libp2p/noise'
import { ping } from '@libp2p/ping'
import { Libp2pRecord } from '@libp2p/record'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { MemoryDatastore } from 'datastore-core'
import type { Datastore } from 'interface-datastore'
import { createLibp2p } from 'libp2p'
import type { Bytes } from '../../node/core/encoding.ts'
import { keyPairFromSeed } from '../../node/core/keys.ts'
import { RECORD_KINDS } from '../../node/core/records.ts'
import { DHT_PROTOCOL } from '../../node/net/dht.ts'
import { createHost, type Host, type Role } from '../../node/net/host.ts'
import type { Takers } from '../../node/net/one-port.ts'
import { LOOPBACK } from './testnet.ts'

export async function honestHost(
  t: Pick<TestContext, 'after'>,
  seed: string,
  options: { role?: Role; datastore?: Datastore; takers?: Takers; now?: () => number } = {},
): Promise<Host> {
  const host = await createHost({
    key: keyPairFromSeed(createHash('sha256').update(seed).digest()),
    listen: options.role === 'visitor' ? [] : LOOPBACK,
    datastore: options.datastore ?? new MemoryDatastore(),
    role: options.role ?? 'peer',
    lan: false,
    takers: options.takers ?? {},
    now: options.now ?? Date.now,
  })
  t.after(() => host.stop())
  return host
}

export interface HostileHost {
  libp2p: Libp2p<{ dht: KadDHT }>
  /** What it claims to have stored. */
  datastore: MemoryDatastore
}

/** A DHT node that believes anything of our namespaces, or refuses every put. */
export async function hostileHost(t: Pick<TestContext, 'after'>, puts: 'accepts' | 'refuses'): Promise<HostileHost> {
  const datastore = new MemoryDatastore()
  const names = Object.keys(RECORD_KINDS)
  const validate = () => {
    if (puts === 'refuses') throw new Error('refused')
  }
  const libp2p = await createLibp2p({
    addresses: { listen: LOOPBACK },
    datastore,
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    services: {
      identify: identify(),
      ping: ping(),
      dht: kadDHT({
        protocol: DHT_PROTOCOL,
        clientMode: false,
        peerInfoMapper: passthroughMapper,
        allowQueryWithZeroPeers: true,
        validators: Object.fromEntries(names.map((name) => [name, validate])),
        selectors: Object.fromEntries(names.map((name) => [name, () => 0])),
      }) as unknown as (components: object) => KadDHT,
    },
  })
  t.after(async () => {
    await libp2p.stop()
  })
  return { libp2p, datastore }
}

/** Connects `from` to each of `to` and waits until they stand in its routing table, and it in theirs. */
export async function meet(from: Host | HostileHost, ...to: (Host | HostileHost)[]): Promise<void> {
  for (const other of to) {
    await from.libp2p.dial(other.libp2p.getMultiaddrs())
    await Promise.all([knows(from.libp2p, other.libp2p), knows(other.libp2p, from.libp2p)])
  }
}

interface Table extends EventTarget {
  find(peer: Libp2p['peerId']): Promise<unknown>
}

async function knows(one: Libp2p<{ dht: KadDHT }>, other: Libp2p<{ dht: KadDHT }>): Promise<void> {
  if (other.services.dht.getMode() === 'client') return
  const table = (one.services.dht as unknown as { routingTable: Table }).routingTable
  const added = new Promise<void>((resolve) => {
    table.addEventListener('peer:add', (event) => {
      if ((event as CustomEvent<Libp2p['peerId']>).detail.equals(other.peerId)) resolve()
    })
  })
  if ((await table.find(other.peerId)) !== undefined) return
  await added
}

/** kad-dht's wire form of a record, as a hostile or foreign node would send it. */
export function encodeDhtRecord(key: Bytes, value: Bytes, receivedAt: number): Bytes {
  return new Libp2pRecord(key, value, new Date(receivedAt)).serialize()
}
