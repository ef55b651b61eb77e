/** Coming into the network: through introducers, or through peers met before when no introducer answers. */
import type { Libp2p } from '@libp2p/interface'
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr'
import { DHT_PROTOCOL } from './dht.ts'
import type { Host } from './host.ts'
import type { Introducer } from './introducers.ts'
import { withPeerId } from './peers.ts'

/** Of the peers met before, how many are tried at once. */
const REMEMBERED = 20
/** Dials of one wave that may take this long (ms); whoever answers later is welcome still. */
const DIAL_TIMEOUT_MS = 4_000
/** A node with nobody to talk to tries again this often (ms). */
const RETRY_MS = 15_000

/** One round: resolves as soon as the DHT has a first contact, or when every way has been tried in vain. */
export async function bootstrap(host: Host, introducers: readonly Introducer[]): Promise<void> {
  const { libp2p } = host
  const contact = firstContact(host)
  try {
    const met = await remembered(libp2p)
    const ways = [
      ...introducers.map((introducer) => dialThrough(libp2p, introducer)),
      ...met.map((addresses) => dial(libp2p, addresses)),
    ]
    await Promise.race([contact.promise, Promise.allSettled(ways)])
    // The last dial may just have ended: its peer enters the table when it has said what it speaks.
    if (libp2p.getPeers().length > 0) await contact.promise
  } finally {
    contact.stop()
  }
}

/** A newcomer that knew only introducers would find only what is near them. */
async function dialThrough(libp2p: Libp2p, introducer: Introducer): Promise<void> {
  await introducer.connect()
  const peers = await introducer.peers()
  await Promise.all(peers.map((peer) => dial(libp2p, peer)))
}

/** Keeps the node from being alone: runs a round whenever it has no connection left. */
export function keepBootstrapped(host: Host, introducers: readonly Introducer[]): { stop(): void } {
  const timer = setInterval(() => {
    const alone = host.libp2p.getPeers().length === 0
    const lost = introducers.some((introducer) => !introducer.connected)
    if (alone) void bootstrap(host, introducers).catch(() => {})
    else if (lost) for (const introducer of introducers) void introducer.connect().catch(() => {})
  }, RETRY_MS)
  timer.unref()
  return { stop: () => clearInterval(timer) }
}

/** Resolves when the routing table has a peer, at the latest after a short while. */
function firstContact(host: Host): { promise: Promise<void>; stop: () => void } {
  const { promise, resolve } = Promise.withResolvers<void>()
  const table = host.routingTable
  const timer = setTimeout(resolve, DIAL_TIMEOUT_MS)
  const onAdd = () => resolve()
  table.addEventListener('peer:add', onAdd)
  if (table.size > 0) resolve()
  const stop = () => {
    clearTimeout(timer)
    table.removeEventListener('peer:add', onAdd)
    resolve()
  }
  return { promise, stop }
}

/** Addresses of DHT peers that this home has met before, a few of them. */
async function remembered(libp2p: Libp2p): Promise<Multiaddr[][]> {
  const peers = await libp2p.peerStore.all({
    filters: [(peer) => peer.protocols.includes(DHT_PROTOCOL) && peer.addresses.length > 0],
    limit: REMEMBERED,
  })
  return peers.map((peer) =>
    peer.addresses.map(({ multiaddr: address }) => multiaddr(withPeerId(address.toString(), peer.id.toString()))),
  )
}

/** Tries; an introducer may hand out anything, so what is no address is a failed dial too. */
async function dial(libp2p: Libp2p, target: string | Multiaddr[]): Promise<void> {
  try {
    const address = typeof target === 'string' ? multiaddr(target) : target
    await libp2p.dial(address, { signal: AbortSignal.timeout(DIAL_TIMEOUT_MS) })
  } catch {
    // Another way may work.
  }
}
