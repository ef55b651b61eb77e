/**
 * What a node keeps in its home, and can tell before it has a network: its names, and those that it looked up before. libp2p takes
 * longer to load than all of this.
 */
import { randomBytes } from 'node:crypto'
import { type KeyPair, nodeKey } from './core/keys.ts'
import { parseName } from './core/name.ts'
import { type Learnt, Names, type Pin } from './names.ts'
import type { RecordNetwork } from './net/record-network.ts'
import type { Lookup, NodeOptions } from './options.ts'
import { OwnZones, type ZoneState } from './own-zones.ts'
import { type ProofRow, Proofs } from './proofs.ts'
import { type Published, Publisher } from './publisher.ts'
import { type PinnedRealm, Realms } from './realms.ts'
import { loadSeed } from './seed.ts'
import { openStore, type Store, type Table } from './store.ts'

export interface Kept {
  now: () => number
  key: KeyPair
  store: Store
  realms: Realms
  own: OwnZones
  proofs: Proofs
  petnames: Table<string>
  names: Names
  publisher: Publisher
  /** What needs the network waits for `met`. */
  lookup: Lookup
  /** From now on there is a network; `addresses`: those of this node that others can use. */
  joined(network: RecordNetwork, addresses: () => string[]): void
  /** Somebody there was met, or nobody is. */
  met(): void
  close(): Promise<void>
}

export async function openKept({ home, passphrase, now = Date.now }: NodeOptions): Promise<Kept> {
  await using opened = new AsyncDisposableStack()
  const master = await loadSeed(home, randomBytes, passphrase)
  const store = opened.adopt(await openStore(home), (store) => store.close())
  const network = Promise.withResolvers<RecordNetwork>()
  const met = Promise.withResolvers<void>()
  let addresses = (): string[] => []
  const late: RecordNetwork = {
    get: async (...asked) => (await network.promise).get(...asked),
    put: async (...asked) => (await network.promise).put(...asked),
  }
  const publisher = new Publisher(store.table<Published>('published'), late, now)
  const realms = new Realms(store.table<PinnedRealm>('realms'))
  const zones = store.table<ZoneState>('zones')
  const own = new OwnZones({ master, table: zones, network: late, publisher, addresses: () => addresses(), now })
  await Promise.all([realms.load(), own.load()])
  const proofs = new Proofs(store.table<ProofRow>('proofs'), realms, now)
  await proofs.load()
  const petnames = store.table<string>('petnames')
  const [cache, pins] = [store.table<Learnt>('cache'), store.table<Pin>('pins')]
  const names = new Names({ network: late, own, realms, cache, pins, petnames, proofs, now })
  const running = opened.move()
  return {
    now,
    key: nodeKey(master),
    store,
    realms,
    own,
    proofs,
    petnames,
    names,
    publisher,
    async lookup(apex, options = {}) {
      if (options.policy !== 'cache-only') await met.promise
      options.signal?.throwIfAborted()
      return names.lookup(parseName(apex), options)
    },
    joined(there, told) {
      addresses = told
      network.resolve(there)
    },
    met: () => met.resolve(),
    async close() {
      // Lookups that still wait end with what is closed under them.
      met.resolve()
      await running.disposeAsync()
    },
  }
}
