/**
 * Which DHT records are held, and which of them goes first when there is no more room: the one whose key lies farthest from
 * this node. Nearer ones are those that readers come here for, and whoever floods the store has to find keys near it.
 */
import type { Key } from 'interface-datastore'
import { base32 } from 'multiformats/bases/base32'
import { type Bytes, toHex } from '../core/encoding.ts'
import { sha256 } from '../core/keys.ts'

interface Held {
  key: Key
  /** XOR distance (Kademlia) between this node and the key; hex, so that it sorts as text. */
  distance: string
  /** As stored. */
  bytes: number
}

export class HeldRecords {
  readonly #position: Bytes
  readonly #byKey = new Map<string, Held>()
  /** Nearest first. */
  readonly #sorted: Held[] = []
  #bytes = 0

  /** `position`: where this node stands, the SHA-256 of its peer id. */
  constructor(position: Bytes) {
    this.#position = position
  }

  get count(): number {
    return this.#sorted.length
  }

  /** Of all records together. */
  get bytes(): number {
    return this.#bytes
  }

  /** `key`: the datastore's, which ends in the unpadded base32 of the DHT key. */
  set(key: Key, bytes: number): void {
    const held = this.#byKey.get(key.toString())
    this.#bytes += bytes - (held?.bytes ?? 0)
    if (held !== undefined) {
      held.bytes = bytes
      return
    }
    const added = { key, bytes, distance: this.#distanceOf(key) }
    this.#byKey.set(key.toString(), added)
    this.#sorted.splice(this.#rank(added.distance), 0, added)
  }

  delete(key: Key): void {
    const held = this.#byKey.get(key.toString())
    if (held === undefined) return
    this.#byKey.delete(key.toString())
    this.#sorted.splice(this.#rank(held.distance), 1)
    this.#bytes -= held.bytes
  }

  /** The farthest but for `kept`; undefined when there is no other. */
  farthest(kept: Key): Key | undefined {
    const [other, last] = this.#sorted.slice(-2).map((held) => held.key)
    return last === undefined || last.toString() === kept.toString() ? other : last
  }

  /** How many are nearer. */
  #rank(distance: string): number {
    let low = 0
    let high = this.#sorted.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#sorted[middle] as Held).distance < distance) low = middle + 1
      else high = middle
    }
    return low
  }

  #distanceOf(key: Key): string {
    const place = sha256(base32.baseDecode(key.baseNamespace()))
    return toHex(place.map((byte, i) => byte ^ (this.#position[i] as number)))
  }
}
