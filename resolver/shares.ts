/**
 * Who holds how much of something that there is only so much of. While there is enough anybody may take all; when there is
 * not, whoever holds the most has to give way to those who hold less, so that no crowd of one address keeps others out.
 */
export class Shares<T> {
  /** The items of each client, the least used first. */
  readonly #byClient = new Map<string, Set<T>>()
  #size = 0

  get size(): number {
    return this.#size
  }

  countOf(client: string): number {
    return this.#byClient.get(client)?.size ?? 0
  }

  /** Also when `client` holds it already: then it counts as used just now. */
  add(client: string, item: T): void {
    const items = this.#byClient.get(client) ?? new Set()
    this.#byClient.set(client, items)
    if (!items.delete(item)) this.#size++
    items.add(item)
  }

  delete(client: string, item: T): void {
    const items = this.#byClient.get(client)
    if (!items?.delete(item)) return
    this.#size--
    if (items.size === 0) this.#byClient.delete(client)
  }

  /** What the client that holds the most has not used for the longest time. */
  first(): { client: string; item: T } | undefined {
    let most: [string, Set<T>] | undefined
    for (const entry of this.#byClient) if (entry[1].size > (most?.[1].size ?? 0)) most = entry
    for (const item of most?.[1] ?? []) return { client: most?.[0] ?? '', item }
    return undefined
  }
}

/** Who counts as one: an IPv4 address, or an IPv6 network of 64 bits, since a host has all addresses of one. */
export function clientOf(address: string): string {
  if (!address.includes(':') || address.includes('.')) return address
  const [head = [], tail] = address.split('::').map((part) => (part === '' ? [] : part.split(':')))
  const zeros = tail === undefined ? 0 : 8 - head.length - tail.length
  const groups = [...head, ...Array<string>(Math.max(0, zeros)).fill('0'), ...(tail ?? [])]
  return groups.slice(0, 4).join(':')
}
