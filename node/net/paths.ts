/**
 * Reaching a peer for data, by every path that may work at once (docs/spec/reaching.md, "Paths"). What comes of it are
 * links: a duplex byte stream and a word for its path, or, where a thread can dial it, the place and the ticket.
 */
import { randomInt } from 'node:crypto'
import type { Duplex } from 'node:stream'
import { setTimeout } from 'node:timers/promises'
import type { Bytes } from '../core/encoding.ts'
import { isError } from '../core/errors.ts'
import { type Host, type HostPort, scopeOf } from '../core/hosts.ts'
import type { TicketUse } from '../core/meeting.ts'
import type { Path } from '../core/path-rank.ts'
import { type Candidate, dialLink, type LinkServer, openLink, type Ticket } from './link.ts'
import type { Met } from './meetings.ts'
import { isNearby, peerOf } from './peers.ts'
import { punchUdp } from './punch.ts'
import { Race, type Way } from './race.ts'
import type { Circuits } from './relayed.ts'
import { punchTcp } from './tcp-punch.ts'
import type { UdpPort } from './udp.ts'
import { isWorthTrying } from './whereabouts.ts'

/** A link that another peer opened. */
export interface Link {
  peer: string
  path: Path
  stream: Duplex
}

/** Milliseconds: what direct paths are ahead of a circuit, at least and at most. Half the round trip of the call is one between the two. */
const MIN_HEAD_START = 20
const MAX_HEAD_START = 150
const DIAL_TIME = 5_000
/** Until somebody who did not take a ticket is dialled again. */
const AGAIN = 100

export interface PathParts {
  server: LinkServer
  udp: UdpPort | undefined
  /** The local port from which TCP punches start; 0: none. */
  punchPort: () => number
  /** Our public address, if it is known. */
  address: () => string | undefined
  circuits: (met: Met) => Circuits | undefined
  /** Whether to try the birthday method. */
  birthday: boolean
  /** Links that others opened. */
  onLink: (link: Link) => void
}

export class Paths {
  readonly #parts: PathParts
  /** It takes hundreds of sockets, or datagrams a second. */
  #isGuessing = false

  constructor(parts: PathParts) {
    this.#parts = parts
  }

  /** Every way to whom we met, as they open, cheap ones as a rule first; ends when all have opened or failed. */
  async *to(met: Met, signal: AbortSignal): AsyncGenerator<Way> {
    const race = new Race(signal)
    const { tickets } = met.secrets
    const candidates = this.#hosts(met, 'tcp')
    const opened = (path: Path) => (stream: Duplex) => race.opened({ path, stream })
    if (candidates.length > 0) race.dial(candidates, tickets.direct)
    if (met.own.hosts.some(({ use }) => use === 'tcp')) {
      this.#parts.server.expect(tickets.reversed, nameOf(met), opened('reversed-tcp'))
      race.begin('reversed-tcp', (stop) => setTimeout(DIAL_TIME, undefined, { signal: stop }))
    }
    for (const [path, use, open] of this.#punches(met)) {
      race.begin(path, async (stop) => opened(path)(await openLink(await open(stop), tickets[use], stop)))
    }
    const circuits = this.#parts.circuits(met)
    if (circuits) {
      circuits.prepare()
      race.begin('relayed', async (stop) => {
        const headStart = Math.min(Math.max(met.rtt / 2, MIN_HEAD_START), MAX_HEAD_START)
        await setTimeout(headStart, undefined, { signal: stop })
        const stream = await circuits.call(met.peer, tickets.relayed.id)
        opened('relayed')(await openLink(stream, tickets.relayed, stop))
      })
    }
    yield* race.ways()
  }

  /** Somebody called: lets them in by every path, and comes towards them. */
  meet(met: Met, signal: AbortSignal): void {
    const { server, onLink } = this.#parts
    const { tickets } = met.secrets
    const peer = nameOf(met)
    const race = new Race(signal)
    const opened = (path: Path) => (stream: Duplex) => {
      race.up(path)
      onLink({ peer, path, stream })
    }
    server.expect(tickets.direct, peer, (stream) => opened(pathTo(stream.remoteAddress))(stream))
    for (const use of ['punched-tcp', 'punched-udp', 'relayed'] as const) {
      server.expect(tickets[use], peer, opened(use))
    }
    const hosts = this.#hosts(met, 'tcp')
    if (hosts.length > 0) {
      race.begin('reversed-tcp', async (stop) => {
        opened('reversed-tcp')(await dialBack(hosts, tickets.reversed, stop))
      })
    }
    for (const [path, , open] of this.#punches(met)) {
      race.begin(path, async (stop) => server.accept(await open(stop)))
    }
  }

  #hosts({ theirs, seen }: Met, use: Host['use']): HostPort[] {
    const ours = this.#parts.address()
    const hosts = theirs.hosts.filter((host) => host.use === use && isWorthTrying(host, seen, ours))
    // Where their control connection comes from is the most likely to work, if they listen there.
    return hosts.map(({ host, port }) => ({ host, port })).toSorted((a, b) => near(b, seen) - near(a, seen))
  }

  #punches(met: Met): [Path, TicketUse, (signal: AbortSignal) => Promise<Duplex>][] {
    const { udp, punchPort } = this.#parts
    const punches: [Path, TicketUse, (signal: AbortSignal) => Promise<Duplex>][] = []
    const [tcpHosts, udpHosts] = [this.#hosts(met, 'punch'), this.#hosts(met, 'udp')]
    const mine = met.own.hosts.some(({ use }) => use === 'punch')
    if (mine && tcpHosts.length > 0) {
      punches.push(['punched-tcp', 'punched-tcp', (signal) => punchTcp(punchPort(), tcpHosts, signal)])
    }
    // Of one whose NAT gives it another port for each no address may be known: it will come to us.
    if (udp && met.theirs.hosts.some(({ use }) => use === 'udp')) {
      punches.push(['punched-udp', 'punched-udp', (signal) => this.#punchUdp(udp, met, udpHosts, signal)])
    }
    return punches
  }

  async #punchUdp(port: UdpPort, met: Met, hosts: HostPort[], signal: AbortSignal): Promise<Duplex> {
    const { isCaller, nonce, secrets } = met
    const guessing = this.#parts.birthday && !this.#isGuessing ? birthdayOf(met) : undefined
    // Also where it is seen from: there it has a port that can only be guessed.
    const theirs = guessing === 'guess' ? [...hosts, { host: met.seen.host, port: 1024 }] : hosts
    const common = { port, isCaller, nonce, key: secrets.probeKey, theirs, random: randomInt, signal }
    if (!guessing) return punchUdp(common)
    this.#isGuessing = true
    try {
      return await punchUdp({ ...common, birthday: guessing })
    } finally {
      this.#isGuessing = false
    }
  }
}

/** The caller knows the ticket when it has the answer, which may take longer than to come to it. */
async function dialBack(hosts: Candidate[], ticket: Ticket, stop: AbortSignal): Promise<Duplex> {
  const signal = AbortSignal.any([stop, AbortSignal.timeout(DIAL_TIME)])
  for (;;) {
    try {
      const { socket } = await dialLink(hosts, ticket, { signal, timeout: DIAL_TIME })
      return socket
    } catch (error) {
      if (!isError(error, 'ticket_invalid')) throw error
      await setTimeout(AGAIN, undefined, { signal })
    }
  }
}

/** What one side of a pair does of which exactly one has another public port for everybody. */
function birthdayOf({ own, theirs }: Met): 'open' | 'guess' | undefined {
  if (own.mapping === 'symmetric' && theirs.mapping === 'independent' && theirs.filtering !== 'independent')
    return 'open'
  if (own.mapping === 'independent' && theirs.mapping === 'symmetric' && own.filtering !== 'independent') return 'guess'
  return undefined
}

function near({ host }: HostPort, seen: HostPort): number {
  return host === seen.host ? 2 : scopeOf(host) === 'private' ? 1 : 0
}

function nameOf({ peer }: { peer: Bytes }): string {
  return peerOf(peer).toString()
}

/** The word for the path to a link at `host`. */
export function pathTo(host: string | undefined): Path {
  return isNearby(host) ? 'lan' : 'direct-tcp'
}
