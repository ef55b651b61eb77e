/** What an introducer answers (docs/spec/introducer.md, "Methods"). */
import { randomInt } from 'node:crypto'
import type { Connection, Libp2p, PeerId } from '@libp2p/interface'
import { parseAuth } from '../node/core/claim.ts'
import { type Bytes, type CborValue, equalBytes } from '../node/core/encoding.ts'
import { P2pnsError } from '../node/core/errors.ts'
import { encodeReceipt, type Lease, parseLease } from '../node/core/lease.ts'
import type { Realm } from '../node/core/realm.ts'
import { kindOf } from '../node/core/records.ts'
import { asBytes, asText, asUint } from '../node/core/shape.ts'
import type { Host } from '../node/net/host.ts'
import { isLoopback } from '../node/net/listen.ts'
import { hostOf, withPeerId } from '../node/net/peers.ts'
import type { Arguments } from '../node/net/rpc.ts'
import type { Access } from './access.ts'
import type { DescriptorKeeper } from './descriptor.ts'
import { addressBlock, type WindowLimit } from './limits.ts'
import type { Reflector } from './reflector.ts'
import type { Witness } from './witness.ts'

export interface Counters {
  get: number
  put: number
  claim: number
  refused: number
}

export interface Answering {
  host: Host
  realm: Realm
  witness: Witness
  descriptor: DescriptorKeeper
  reflector: Pick<Reflector, 'ports' | 'poke'>
  pokes: WindowLimit
  access: Access
  counters: Counters
}

/** Peers that one answer to `peers` names. */
const PEERS_PER_ANSWER = 16

export async function answer(parts: Answering, from: Connection, method: string, args: Arguments): Promise<CborValue> {
  const { host, realm, witness, descriptor, counters, access } = parts
  if (method === 'enter') {
    access.enter(from, asText(args[0], 'A token'))
    return 1
  }
  access.check(from)
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
      return randomPeers(host.libp2p, from.remotePeer)
    case 'realm':
      return descriptor.bytes()
    case 'claim': {
      counters.claim++
      const [block, previous] = [blockOf(from), leaseAt(args, 2)]
      const source = { ...(block ? { block } : {}), ...(previous ? { previous } : {}) }
      return encodeReceipt(await witness.claim(bytesAt(args, 0), parseAuth(bytesAt(args, 1)), source))
    }
    case 'lease': {
      const held = await witness.lease(asText(args[0], 'A name'))
      return held === undefined ? [] : [held]
    }
    case 'gossip':
      checkWitness(from.remotePeer, realm)
      await witness.gossip(bytesAt(args, 0), parseAuth(bytesAt(args, 1)), leaseAt(args, 2))
      return 1
    case 'endorse':
      checkWitness(from.remotePeer, realm)
      return descriptor.endorse(bytesAt(args, 0))
    case 'adopt':
      checkWitness(from.remotePeer, realm)
      await descriptor.adopt(bytesAt(args, 0))
      return 1
    case 'reflector':
      return parts.reflector.ports
    case 'poke': {
      // To nobody but who asks.
      const to = hostOf(from.remoteAddr)
      const [which, port] = [asUint(args[0], 'A port', 1), asUint(args[1], 'A port', 65_535)]
      if (!to || port === 0 || !parts.pokes.take(to.host))
        throw new P2pnsError('limit_reached', 'No more pokes for now')
      parts.reflector.poke(which === 0 ? 0 : 1, { host: to.host, port }, asBytes(args[2], 'A nonce', 12))
      return 1
    }
    default:
      throw new P2pnsError(
        'frame_invalid',
        `An introducer was asked for "${method.slice(0, 32)}", which it does not know`,
      )
  }
}

function bytesAt(args: Arguments, index: number): Bytes {
  const value = args[index]
  if (!(value instanceof Uint8Array)) throw new P2pnsError('frame_invalid', 'A question lacks an argument')
  return value
}

function leaseAt(args: Arguments, index: number): Lease | undefined {
  return args.length > index ? parseLease(bytesAt(args, index)) : undefined
}

/** What only the witnesses of its realm may ask. */
function checkWitness(peer: PeerId, { keys }: Realm): void {
  const key = peer.type === 'Ed25519' ? peer.publicKey.raw : new Uint8Array(0)
  if (keys.some((other) => equalBytes(other, key))) return
  throw new P2pnsError('frame_invalid', 'That is a question between the witnesses of a realm')
}

function blockOf({ remoteAddr }: Connection): string | undefined {
  const host = remoteAddr.getComponents().find(({ name }) => name === 'ip4' || name === 'ip6')?.value
  return host === undefined ? undefined : addressBlock(host)
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
export function preferred(addresses: string[]): string | undefined {
  return addresses.find((address) => !isLoopback(address)) ?? addresses[0]
}
