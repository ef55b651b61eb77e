/** Who is in, by where they come from, so that those of one network do not take the room of all. */
import { addressBlock, plainHost } from '../core/hosts.ts'

export class Crowd<T> {
  readonly #blockOf = new Map<T, string>()
  /** Those of each block, the oldest first. */
  readonly #blocks = new Map<string, Set<T>>()

  get size(): number {
    return this.#blockOf.size
  }

  has(one: T): boolean {
    return this.#blockOf.has(one)
  }

  /** How many are in that come from where `host` is. */
  from(host: string): number {
    return this.#blocks.get(blockOf(host))?.size ?? 0
  }

  enter(one: T, host: string): void {
    const block = blockOf(host)
    const others = this.#blocks.get(block) ?? new Set()
    this.#blocks.set(block, others.add(one))
    this.#blockOf.set(one, block)
  }

  leave(one: T): void {
    const block = this.#blockOf.get(one) ?? ''
    const others = this.#blocks.get(block)
    this.#blockOf.delete(one)
    others?.delete(one)
    if (others?.size === 0) this.#blocks.delete(block)
  }

  /** Has the oldest of the largest block leave, which is for the caller to see through: who comes from elsewhere stays. */
  evict(): T | undefined {
    let largest: ReadonlySet<T> = new Set()
    for (const block of this.#blocks.values()) if (block.size > largest.size) largest = block
    const [oldest] = largest
    if (oldest !== undefined) this.leave(oldest)
    return oldest
  }
}

/** A private address is a block of its own. */
function blockOf(host: string): string {
  return addressBlock(host) ?? plainHost(host)
}
