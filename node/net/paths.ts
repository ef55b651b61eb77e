/**
 * Reaching a peer for data: over the authenticated control connection it hands out a single-use ticket and the
 * addresses of its link port; the link is then dialled there. One way today, direct TCP, behind the one interface that
 * the others (reversed, punched, relayed) will stand behind too: a duplex byte stream and a word for its path.
 */

import { BlockList, isIP, isIPv6 } from 'node:net'
import { networkInterfaces } from 'node:os'
import type { Duplex } from 'node:stream'
import type { Connection, Libp2p, PeerId, Stream } from '@libp2p/interface'
import type { Multiaddr } from '@multiformats/multiaddr'
import { type Bytes, fromCbor, toCbor } from '../core/encoding.ts'
import { isError, P2pnsError } from '../core/errors.ts'
import { asBytes, asList, asText, asUint } from '../core/shape.ts'
import { framesOf } from './frames.ts'
import { type Candidate, createLinkServer, type LinkServer, type Ticket } from './link.ts'
import { isNearby } from './peers.ts'

/** A link that another peer opened. `path`: `lan` or `direct-tcp` today (docs/design.md, the command line, lists them all). */
export interface Link {
  peer: string
  path: string
  stream: Duplex
}

/** Where a link to a peer can be dialled, in whatever thread will own it. */
export interface Offer {
  peer: string
  candidates: Candidate[]
  ticket: Ticket
}

const PROTOCOL = '/p2pns/link/1'
const OFFER_BYTES = 2048
const MAX_CANDIDATES = 16
const DIAL_TIMEOUT_MS = 10_000
const OFFER_TIMEOUT_MS = 10_000

export class Paths {
  readonly #libp2p: Libp2p
  #server: LinkServer<string> | undefined

  constructor(libp2p: Libp2p) {
    this.#libp2p = libp2p
  }

  /**
   * Opens the link port (0: any) and offers it to peers that ask; resolves to the port. `onLink` gets every link that
   * another peer opened. Errors: port_in_use.
   */
  async listen(options: {
    port: number
    now: () => number
    random: (bytes: number) => Bytes
    onLink: (link: Link) => void
  }): Promise<number> {
    const server = await createLinkServer<string>({
      host: '0.0.0.0',
      port: options.port,
      now: options.now,
      random: options.random,
      onLink: (socket, peer) => options.onLink({ peer, path: pathTo(socket.remoteAddress), stream: socket }),
    })
    this.#server = server
    const offer = (stream: Stream, connection: Connection) => sendOffer(server, stream, connection)
    await this.#libp2p.handle(PROTOCOL, offer, { maxInboundStreams: 8, runOnLimitedConnection: true })
    return server.port
  }

  /** Asks a peer for a ticket. Errors: peer_unreachable, timed_out, interrupted. */
  async offerOf(peer: PeerId | Multiaddr[], signal: AbortSignal): Promise<Offer> {
    const stop = AbortSignal.any([signal, AbortSignal.timeout(DIAL_TIMEOUT_MS)])
    try {
      const connection = await this.#libp2p.dial(peer, { signal: stop })
      const { ticket, candidates } = parseOffer(await readOffer(connection, stop))
      return { peer: connection.remotePeer.toString(), candidates: inOrder(candidates, hostOf(connection)), ticket }
    } catch (cause) {
      if (signal.aborted) throw new P2pnsError('interrupted', 'The dial was stopped', { cause })
      if (stop.aborted) throw new P2pnsError('timed_out', `The peer ${String(peer)} did not answer in time`, { cause })
      if (isError(cause)) throw cause
      throw new P2pnsError('peer_unreachable', `The peer ${String(peer)} cannot be reached`, { cause })
    }
  }

  async stop(): Promise<void> {
    await this.#server?.stop()
  }
}

async function sendOffer(server: LinkServer<string>, stream: Stream, connection: Connection): Promise<void> {
  const ticket = server.issue(connection.remotePeer.toString())
  const hosts = [...new Set([localHostOf(connection), ...interfaceHosts()])].filter((host) => host !== undefined)
  const offer = [1, ticket.id, ticket.secret, hosts.slice(0, MAX_CANDIDATES).map((host) => [host, server.port])]
  const signal = AbortSignal.timeout(OFFER_TIMEOUT_MS)
  try {
    await framesOf(stream, OFFER_BYTES).write(toCbor(offer), { signal })
    await stream.close({ signal })
  } catch (error) {
    stream.abort(error as Error)
  }
}

async function readOffer(connection: Connection, signal: AbortSignal): Promise<Bytes> {
  const stream = await connection.newStream(PROTOCOL, { signal, runOnLimitedConnection: true })
  try {
    const bytes = (await framesOf(stream, OFFER_BYTES).read({ signal })).subarray()
    void stream.close().catch(() => {})
    return bytes
  } catch (error) {
    stream.abort(error as Error)
    throw error
  }
}

/** `[1, ticket id, secret, [[host, port], ...]]` (docs/spec/transfer.md). Errors: malformed, too_large. */
function parseOffer(bytes: Bytes): { ticket: Ticket; candidates: Candidate[] } {
  const what = 'A link offer'
  const [version, id, secret, list] = asList(fromCbor(bytes, OFFER_BYTES, what), what, 4)
  if (asUint(version, what, 1) !== 1) throw new P2pnsError('malformed', `${what} has an unknown version`)
  const candidates = asList(list, what, 1, MAX_CANDIDATES).map((item) => {
    const [host, port] = asList(item, what, 2)
    const candidate = { host: asText(host, what), port: asUint(port, what, 65_535) }
    // A name would be looked up in the DNS for whoever asks us to.
    if (isIP(candidate.host) === 0 || candidate.port === 0) {
      throw new P2pnsError('malformed', `${what} names something else than an IP address and a port`)
    }
    return candidate
  })
  return { ticket: { id: asBytes(id, what, 16), secret: asBytes(secret, what, 32), expires: 0 }, candidates }
}

/** The address that the control connection reached (`seen`) comes first: it is the most likely to work. */
function inOrder(candidates: Candidate[], seen: string | undefined): Candidate[] {
  const [{ port }] = candidates as [Candidate]
  const first = seen === undefined ? [] : [{ host: seen, port }]
  // Nobody else may send us to the services of our own machine.
  return [...first, ...candidates.filter(({ host }) => host !== seen && !isThisMachine(host))]
}

const THIS_MACHINE = new BlockList()
THIS_MACHINE.addSubnet('127.0.0.0', 8)
THIS_MACHINE.addSubnet('0.0.0.0', 8)
THIS_MACHINE.addSubnet('::', 127, 'ipv6')

function isThisMachine(host: string): boolean {
  return THIS_MACHINE.check(host, isIPv6(host) ? 'ipv6' : 'ipv4')
}

/** The IP address at the other end of a direct connection; undefined for a relayed one. */
function hostOf(connection: Connection): string | undefined {
  return connection.remoteAddr.toString().includes('/p2p-circuit') ? undefined : ipOf(connection.remoteAddr)
}

/** Loopback, if the other side is on this machine: there may be no interface to offer. */
function localHostOf(connection: Connection): string | undefined {
  const remote = hostOf(connection)
  return remote !== undefined && isThisMachine(remote) ? remote : undefined
}

function ipOf(address: Multiaddr): string | undefined {
  return address.getComponents().find((part) => part.name === 'ip4' || part.name === 'ip6')?.value
}

function interfaceHosts(): string[] {
  return (
    Object.values(networkInterfaces())
      .flatMap((addresses) => addresses ?? [])
      // A link-local IPv6 address means nothing without the interface that it is on.
      .filter((address) => !address.internal && !(address.scopeid !== undefined && address.scopeid > 0))
      .map((address) => address.address)
  )
}

/** The word for the path to a link at `host`. */
export function pathTo(host: string | undefined): string {
  return isNearby(host) ? 'lan' : 'direct-tcp'
}
