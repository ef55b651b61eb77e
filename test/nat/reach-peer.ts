/** A peer of the lab that does nothing but reach others and be reached: it echoes what comes over links. */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import type { Duplex } from 'node:stream'
import { peerIdFromString } from '@libp2p/peer-id'
import { MemoryDatastore } from 'datastore-core'
import { nodeKey } from '../../node/core/keys.ts'
import { createHost } from '../../node/net/host.ts'
import { Introducer } from '../../node/net/introducers.ts'
import { dialLink } from '../../node/net/link.ts'
import type { Takers } from '../../node/net/one-port.ts'
import { pathTo } from '../../node/net/paths.ts'
import type { Way } from '../../node/net/race.ts'
import { Reach } from '../../node/net/reach.ts'

export type ToPeer = { id: number; call: 'reach'; peer: string } | { id: number; call: 'judgement' }

export interface Opened {
  path: string
  /** Milliseconds from the wish to the link, and to the first byte that came over it. */
  open: number
  ms: number
}

const introducerAddresses = process.argv.slice(2)
const key = nodeKey(randomBytes(32))
const takers: Takers = {}
const host = await createHost({
  key,
  listen: ['/ip4/0.0.0.0/tcp/0'],
  datastore: new MemoryDatastore(),
  role: 'peer',
  lan: false,
  takers,
  now: Date.now,
})
const reach = await Reach.open({
  libp2p: host.libp2p,
  key,
  introducers: introducerAddresses.map((address) => new Introducer(host.libp2p, address, Date.now)),
  takers,
  listens: true,
  portMapping: false,
  birthday: true,
  now: Date.now,
  onLink: ({ stream }) => {
    stream.on('error', () => undefined)
    stream.pipe(stream)
  },
})

async function openWay(way: Way, signal: AbortSignal): Promise<{ path: string; stream: Duplex }> {
  if ('stream' in way) return way
  const { socket, candidate } = await dialLink(way.candidates, way.ticket, { timeout: 5_000, signal })
  const path = pathTo(candidate.host)
  way.up?.(path)
  return { path, stream: socket }
}

async function reachPeer(peer: string): Promise<Opened[]> {
  const started = performance.now()
  const stop = new AbortController()
  const opened: Opened[] = []
  const { ways } = await reach.to(peerIdFromString(peer), [], stop.signal)
  const tries: Promise<void>[] = []
  const use = async (way: Way): Promise<void> => {
    const { path, stream } = await openWay(way, stop.signal)
    const open = Math.round(performance.now() - started)
    stream.write('x')
    await once(stream, 'data')
    opened.push({ path, open, ms: Math.round(performance.now() - started) })
    stream.destroy()
  }
  for await (const way of ways) tries.push(use(way).catch(() => undefined))
  await Promise.all(tries)
  return opened
}

process.on('message', (message: ToPeer) => {
  const answer = message.call === 'reach' ? reachPeer(message.peer) : Promise.resolve(reach.judgement)
  answer.then(
    (result) => process.send?.({ id: message.id, result }),
    (error: Error) => process.send?.({ id: message.id, error: error.message }),
  )
})
process.on('disconnect', () => process.exit())
process.send?.({ ready: host.libp2p.peerId.toString() })
