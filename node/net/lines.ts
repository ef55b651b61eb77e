/** The lines of a node: kept to its own introducers, and opened to those that lead to a peer. */
import type { Libp2p } from '@libp2p/interface'
import type { Multiaddr } from '@multiformats/multiaddr'
import { meetingPlaceIn } from './meeting-places.ts'
import { Circuits } from './relayed.ts'
import { Line, type LineEnd, type SwitchboardEvents } from './switchboard.ts'

/** Introducers that are not ours, for peers that are to be met there: in all, and for one peer. */
const MAX_FOREIGN = 32
const MAX_FOREIGN_EACH = 4

interface Row {
  line: Line
  /** Through the same introducer. */
  circuits: Circuits
  isOwn: boolean
}

export class Lines {
  readonly #libp2p: Libp2p
  readonly #events: SwitchboardEvents
  readonly #rows = new Map<string, Row>()

  constructor(libp2p: Libp2p, introducers: readonly LineEnd[], events: SwitchboardEvents) {
    this.#libp2p = libp2p
    this.#events = events
    for (const introducer of introducers) this.#get(introducer, true)
  }

  get own(): Row[] {
    return [...this.#rows.values()].filter(({ isOwn }) => isOwn)
  }

  circuitsOf({ peerId }: Line): Circuits | undefined {
    return this.#rows.get(peerId)?.circuits
  }

  /** Our own, and those that the addresses of a peer name. */
  to(addresses: readonly Multiaddr[]): Line[] {
    const named = addresses.flatMap((address) => {
      const [place, peerId] = meetingPlaceIn(address) ?? []
      return place && peerId ? [{ addresses: [place], peerId }] : []
    })
    const lines = new Set(this.own.map(({ line }) => line))
    for (const place of named.slice(0, MAX_FOREIGN_EACH)) {
      const foreign = this.#rows.size - this.own.length
      if (this.#rows.has(place.peerId) || foreign < MAX_FOREIGN) lines.add(this.#get(place, false))
    }
    return [...lines]
  }

  reopen(): void {
    for (const { line } of this.#rows.values()) line.reopen()
  }

  close(): void {
    for (const { line, circuits } of this.#rows.values()) {
      line.close()
      circuits.close()
    }
  }

  #get(end: LineEnd, isOwn: boolean): Line {
    const known = this.#rows.get(end.peerId)
    if (known) return known.line
    const line = new Line(this.#libp2p, end, this.#events, Math.random)
    this.#rows.set(end.peerId, { line, circuits: new Circuits(this.#libp2p, end.addresses), isOwn })
    return line
  }
}
