/** Everything it takes to reach peers and to be reached, put together: lines, meetings, ports, what the NAT does, and paths. */
import { randomBytes } from 'node:crypto'
import type { Libp2p, PeerId } from '@libp2p/interface'
import type { Multiaddr } from '@multiformats/multiaddr'
import { LRUCache } from 'lru-cache'
import { isError, P2pnsError } from '../core/errors.ts'
import { type HostPort, scopeOf } from '../core/hosts.ts'
import type { KeyPair } from '../core/keys.ts'
import type { Reachable } from '../core/meeting.ts'
import type { Judgement } from '../core/nat.ts'
import { judge, whyNotDirect } from '../core/nat.ts'
import type { Introducer } from './introducers.ts'
import { Lines } from './lines.ts'
import { createLinkServer } from './link.ts'
import { addressOf, meetingAddress, reflectorsOf } from './meeting-places.ts'
import { Meetings, type Met } from './meetings.ts'
import { NatWatch } from './nat-watch.ts'
import type { Takers } from './one-port.ts'
import { type Link, Paths } from './paths.ts'
import { hostOf, keyOf, peerOf, tcpPortOf } from './peers.ts'
import { PortMapper, type PortMapView } from './portmap.ts'
import type { Way } from './race.ts'
import { firstOf } from './staggered.ts'
import { PunchPort } from './tcp-punch.ts'
import { UdpPort } from './udp.ts'
import { interfaceHosts, ownHosts, watchInterfaces } from './whereabouts.ts'

/** Milliseconds: what a way to meet is ahead of the next. */
const MEET_HEAD_START = 150
const MEET_TIME = 10_000
/** Introducers that are named as places to meet us: a record is small. */
const MEETING_PLACES = 2
const MAX_REMEMBERED = 1000

export interface ReachParts {
  libp2p: Libp2p
  key: KeyPair
  introducers: readonly Introducer[]
  /** Of the port that libp2p listens on. */
  takers: Takers
  /** Others may call us. */
  listens: boolean
  /** Whether to ask the router to let others in. */
  portMapping: boolean
  birthday: boolean
  now: () => number
  onLink: (link: Link) => void
  /** Whether strangers can dial this node, as far as is known; called when that changes. */
  onJudged?: (isOpen: boolean) => void
}

export interface Reached {
  /** The peer id of the other side. */
  peer: string
  ways: AsyncGenerator<Way>
}

export class Reach {
  readonly #parts: ReachParts
  readonly #udp: UdpPort | undefined
  readonly #meetings: Meetings
  readonly #paths: Paths
  readonly #lines: Lines
  readonly #server: ReturnType<typeof createLinkServer>
  readonly #stopped = new AbortController()
  #nat: NatWatch | undefined
  #punch: PunchPort | undefined
  #mapper: PortMapper | undefined
  #watch: { stop(): void } | undefined
  /** What was found at the last meeting with each peer. */
  readonly #whyNot = new LRUCache<string, string>({ max: MAX_REMEMBERED })

  private constructor(parts: ReachParts, udp: UdpPort | undefined) {
    const { libp2p, key, now, birthday, onLink, takers } = parts
    this.#parts = parts
    this.#udp = udp
    this.#server = createLinkServer({ now })
    takers.tls = (socket) => this.#server.accept(socket)
    this.#lines = new Lines(libp2p, parts.introducers, {
      message: (from, key, message, seen) => this.#meetings.heard(from, key, message, seen),
      refused: (from, to) => this.#meetings.refused(from, to),
    })
    this.#paths = new Paths({
      server: this.#server,
      udp,
      punchPort: () => this.#punch?.port ?? 0,
      address: () => this.#nat?.judgement.address ?? this.#punch?.mapped?.host,
      circuits: ({ line }) => line && this.#lines.circuitsOf(line),
      birthday,
      onLink,
    })
    this.#meetings = new Meetings({
      libp2p,
      key,
      own: (seen) => this.#reachable(seen),
      random: (length) => randomBytes(length),
      onCall: (met) => {
        this.#remember(met)
        this.#paths.meet(met, this.#stopped.signal)
      },
    })
  }

  /** Resolves when peers may be reached; what the NAT does is found out meanwhile. */
  static async open(parts: ReachParts): Promise<Reach> {
    const udp = await UdpPort.open(tcpPortOf(parts.libp2p))
    const reach = new Reach(parts, udp)
    if (!parts.listens) return reach
    await reach.#meetings.listen()
    for (const { line, circuits } of reach.#lines.own) {
      line.keep()
      void circuits.listen((stream) => reach.#server.accept(stream))
    }
    reach.#watch = watchInterfaces({
      onLost: () => reach.#moved(),
      onChange: () => {
        void reach.#nat?.look()
        reach.#mapper?.retry()
      },
    })
    if (parts.portMapping) {
      reach.#mapper = new PortMapper({ now: parts.now })
      reach.#mapper.onChange = () => reach.#judged()
      reach.#mapper.start(tcpPortOf(parts.libp2p))
    }
    void reach.lookAround()
    return reach
  }

  get judgement(): Judgement {
    return this.#nat?.judgement ?? judge({ local: [], seen: [], silent: [] })
  }

  /** What the router lets in, or why it lets nothing in. */
  get portMapping(): PortMapView {
    return this.#mapper?.view() ?? { state: 'off', mapped: [] }
  }

  /** Where TCP punches start, as others see it; undefined: it is not known, or another for each. */
  get punchAddress(): HostPort | undefined {
    return this.#punch?.mapped
  }

  /** Whether datagrams can be sent at all. */
  get hasUdp(): boolean {
    return this.#udp !== undefined
  }

  /** Multiaddrs that lead here besides those it listens on. */
  addresses(): string[] {
    const { libp2p, introducers, listens } = this.#parts
    if (!listens) return []
    const tcp = this.#mappedAt('tcp')
    return [
      ...(tcp ? [`/ip4/${tcp.host}/tcp/${tcp.port}/p2p/${libp2p.peerId.toString()}`] : []),
      // Where others may call us who cannot dial us.
      ...introducers.slice(0, MEETING_PLACES).map(({ address }) => meetingAddress(address, libp2p.peerId.toString())),
    ]
  }

  /** Why the last meeting with a peer could lead to no direct path; undefined: it could. */
  whyNotDirect(peer: string): string | undefined {
    return this.#whyNot.get(peer)
  }

  /** The introducers over which others can call us now. */
  get meetingPlaces(): string[] {
    return this.#lines.own.filter(({ line }) => line.open).map(({ line }) => line.peerId)
  }

  /**
   * Meets a peer, at any of `addresses` or wherever an introducer knows it. Errors: peer_unreachable, timed_out, interrupted.
   */
  async to(peer: PeerId, addresses: readonly Multiaddr[], signal: AbortSignal): Promise<Reached> {
    const met = await this.#meet(peer, addresses, signal)
    this.#remember(met)
    const stop = AbortSignal.any([signal, this.#stopped.signal])
    return { peer: peer.toString(), ways: this.#paths.to(met, stop) }
  }

  async stop(): Promise<void> {
    this.#stopped.abort()
    this.#watch?.stop()
    this.#nat?.stop()
    this.#punch?.stop()
    this.#lines.close()
    this.#server.stop()
    await Promise.all([this.#udp?.close(), this.#mapper?.stop()])
  }

  #remember({ peer, own, theirs }: Met): void {
    const why = whyNotDirect(own, theirs)
    const name = peerOf(peer).toString()
    if (why) this.#whyNot.set(name, why)
    else this.#whyNot.delete(name)
  }

  #mappedAt(protocol: 'tcp' | 'udp'): HostPort | undefined {
    const mapped = this.#mapper?.view().mapped.find((one) => one.protocol === protocol)
    return mapped && { host: mapped.host, port: mapped.port }
  }

  async #meet(peer: PeerId, addresses: readonly Multiaddr[], signal: AbortSignal): Promise<Met> {
    const { libp2p } = this.#parts
    const key = keyOf(peer)
    if (!key) throw new P2pnsError('peer_unreachable', `${peer.toString()} has a key that cannot be called`)
    const stop = AbortSignal.any([signal, AbortSignal.timeout(MEET_TIME)])
    const lines = this.#lines.to(addresses)
    const direct = addresses.filter((address) => hostOf(address) !== undefined)
    const connection = libp2p.getConnections(peer).find(({ limits }) => limits === undefined)
    try {
      return await firstOf(
        [
          ...(connection ? [(turn: AbortSignal) => this.#meetings.callOver(connection, turn)] : []),
          ...(lines.length > 0 ? [(turn: AbortSignal) => this.#meetings.call(key, lines, turn)] : []),
          async (turn) => {
            const dialled = await libp2p.dial(direct.length > 0 ? direct : peer, { signal: turn })
            return this.#meetings.callOver(dialled, turn)
          },
        ],
        MEET_HEAD_START,
        stop,
      )
    } catch (cause) {
      const name = peer.toString()
      if (signal.aborted) throw new P2pnsError('interrupted', 'The dial was stopped', { cause })
      if (stop.aborted) throw new P2pnsError('timed_out', `The peer ${name} did not answer in time`, { cause })
      if (isError(cause)) throw cause
      throw new P2pnsError('peer_unreachable', `The peer ${name} cannot be reached`, { cause })
    }
  }

  #reachable(seen: HostPort | undefined): Reachable {
    const { mapping, filtering, mapped } = this.judgement
    const ports = {
      tcp: this.#parts.listens ? tcpPortOf(this.#parts.libp2p) : 0,
      udp: this.#udp?.port ?? 0,
      punch: this.#punch?.port ?? 0,
    }
    const outside = {
      udp: mapped,
      punch: this.#punch?.mapped,
      mapped: { tcp: this.#mappedAt('tcp'), udp: this.#mappedAt('udp') },
    }
    return { mapping, filtering, hosts: ownHosts(ports, outside, seen) }
  }

  /** Finds out what the NAT does, and goes on watching it. */
  async lookAround(): Promise<void> {
    if (this.#punch) return this.#nat?.look()
    const { introducers, libp2p } = this.#parts
    await Promise.allSettled(introducers.map((introducer) => introducer.connect()))
    const places = introducers.flatMap(({ peerId }) => addressOf(libp2p, peerId) ?? [])
    if (this.#stopped.signal.aborted) return
    this.#punch = new PunchPort(places)
    const punching = this.#punch.start()
    if (!this.#udp) return punching
    const { port } = this.#udp
    this.#nat = new NatWatch({
      udp: this.#udp,
      reflectors: () => reflectorsOf(introducers, libp2p),
      local: () => interfaceHosts().map((host) => ({ host, port })),
      gateway: () => this.#mappedAt('udp')?.host,
      random: (length) => randomBytes(length),
    })
    this.#nat.onChange = () => this.#judged()
    await Promise.all([this.#nat.look(), punching])
    this.#judged()
  }

  #judged(): void {
    const punch = this.#punch?.mapped
    const isOwn = (host: string): boolean => scopeOf(host) === 'loopback' || interfaceHosts().includes(host)
    const translated = this.judgement.translated || (punch !== undefined && !isOwn(punch.host))
    this.#parts.onJudged?.(!translated || this.#mappedAt('tcp') !== undefined)
  }

  /** What was open from the address that is gone hears nothing any more, and does not know. */
  #moved(): void {
    const { libp2p, introducers } = this.#parts
    for (const { peerId } of introducers) {
      for (const connection of libp2p.getConnections()) {
        if (connection.remotePeer.toString() === peerId)
          connection.abort(new Error('the address of this machine is gone'))
      }
    }
    this.#lines.reopen()
    this.#punch?.renew()
  }
}
