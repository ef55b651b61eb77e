/**
 * Peers on one link find each other by multicast DNS (RFC 6762), in the form of libp2p's mDNS discovery. libp2p's own service sends
 * from whatever interface the default route leads to, and not at all without one; this one speaks on every interface.
 */
import { randomBytes } from 'node:crypto'
import { isIPv4 } from 'node:net'
import type { Libp2p } from '@libp2p/interface'
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr'
import multicastDns, { type MulticastDNS, type ResponsePacket } from 'multicast-dns'
import { peerIdOf } from './host.ts'
import { interfaceHosts } from './whereabouts.ts'

const SERVICE = '_p2pns._udp.local'
/** Seconds for which what we say is true. */
const TTL = 120
/** Milliseconds between two questions, and between two looks at the interfaces. */
const ASK_EVERY = 10_000
const LOOK_EVERY = 2_000
/** Of one answer. */
const MAX_ADDRESSES = 16
/** A string of a TXT record is no longer (RFC 1035 section 3.3). */
const MAX_TEXT = 255
const DIAL_TIME = 5_000

export class LanDiscovery {
  readonly #libp2p: Libp2p
  readonly #name = `${randomBytes(16).toString('hex')}.${SERVICE}`
  /** By the address of the interface. */
  readonly #speakers = new Map<string, MulticastDNS>()
  readonly #dialling = new Set<string>()
  readonly #timers: NodeJS.Timeout[]

  constructor(libp2p: Libp2p) {
    this.#libp2p = libp2p
    this.#timers = [
      setInterval(() => this.#look(), LOOK_EVERY).unref(),
      setInterval(() => this.#ask(), ASK_EVERY).unref(),
    ]
    this.#look()
  }

  stop(): void {
    for (const timer of this.#timers) clearInterval(timer)
    for (const speaker of this.#speakers.values()) speaker.destroy()
    this.#speakers.clear()
  }

  /** Interfaces come and go. */
  #look(): void {
    const hosts = interfaceHosts().filter(isIPv4)
    for (const [host, speaker] of this.#speakers) {
      if (hosts.includes(host)) continue
      speaker.destroy()
      this.#speakers.delete(host)
    }
    for (const host of hosts) if (!this.#speakers.has(host)) this.#open(host)
  }

  #open(host: string): void {
    const speaker = multicastDns({ interface: host, bind: '0.0.0.0', reuseAddr: true })
    this.#speakers.set(host, speaker)
    const gone = (): void => {
      speaker.destroy()
      if (this.#speakers.get(host) === speaker) this.#speakers.delete(host)
    }
    // The port may be taken by a program that does not share it; the next look tries again.
    speaker.on('error', gone)
    speaker.on('warning', () => undefined)
    speaker.on('query', ({ questions }) => {
      if (questions?.some(({ name, type }) => name === SERVICE && type === 'PTR')) this.#answer(speaker)
    })
    speaker.on('response', (packet) => this.#heard(packet))
    speaker.on('ready', () => speaker.query(SERVICE, 'PTR'))
  }

  #ask(): void {
    for (const speaker of this.#speakers.values()) speaker.query(SERVICE, 'PTR')
  }

  #answer(speaker: MulticastDNS): void {
    const texts = this.#libp2p
      .getMultiaddrs()
      .map((address) => `dnsaddr=${address.toString()}`)
      .filter((text) => text.length <= MAX_TEXT && !text.includes('/p2p-circuit'))
    if (texts.length === 0) return
    speaker.respond({
      answers: [{ name: SERVICE, type: 'PTR', ttl: TTL, data: this.#name }],
      additionals: [{ name: this.#name, type: 'TXT', ttl: TTL, data: texts.slice(0, MAX_ADDRESSES) }],
    })
  }

  #heard({ answers, additionals }: ResponsePacket): void {
    const [name] = answers.flatMap((answer) => (answer.type === 'PTR' && answer.name === SERVICE ? [answer.data] : []))
    if (name === undefined || name === this.#name) return
    const texts = [...answers, ...additionals].flatMap((answer) => (answer.type === 'TXT' ? answer.data : []))
    const addresses = texts.slice(0, MAX_ADDRESSES).flatMap((text) => readable(String(text)))
    const [first] = addresses
    const peer = first && peerIdOf(first)
    if (peer && !peer.equals(this.#libp2p.peerId)) {
      void this.#dial(
        peer.toString(),
        addresses.filter((address) => peerIdOf(address)?.equals(peer)),
      )
    }
  }

  /** Worth a connection of its own, which also fills the routing table. */
  async #dial(peer: string, addresses: Multiaddr[]): Promise<void> {
    const isKnown = this.#libp2p.getPeers().some((other) => other.toString() === peer)
    if (isKnown || this.#dialling.has(peer)) return
    this.#dialling.add(peer)
    await this.#libp2p.dial(addresses, { signal: AbortSignal.timeout(DIAL_TIME) }).catch(() => undefined)
    this.#dialling.delete(peer)
  }
}

function readable(text: string): Multiaddr[] {
  if (!text.startsWith('dnsaddr=') || text.length > MAX_TEXT) return []
  try {
    return [multiaddr(text.slice('dnsaddr='.length))]
  } catch {
    return []
  }
}
