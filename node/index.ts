/** The library's entry: `createNode()`. A node opens what it keeps, and then joins the network. */
import type { P2pnsNode } from './contract.ts'
import { openKept } from './kept.ts'
import type { Lookup, NodeOptions } from './options.ts'

export type * from './contract.ts'
export { ERRORS, type ErrorCode, P2pnsError } from './core/errors.ts'
export type { ZoneAnswer } from './names.ts'
export type { Lookup, NodeOptions } from './options.ts'

/** A node in this process. */
export interface Node extends P2pnsNode {
  readonly peerId: string
  /** Its own multiaddrs, each with its peer id. */
  addresses(): string[]
  lookup: Lookup
}

/** Resolves when the node can be used: it has met the network, or has found nobody there. */
export async function createNode(options: NodeOptions): Promise<Node> {
  await using opened = new AsyncDisposableStack()
  const kept = opened.adopt(await openKept(options), (kept) => kept.close())
  await options.onNames?.(kept.lookup)
  // Only now, since libp2p takes so long to load.
  const { joinNetwork } = await import('./join.ts')
  const node = await joinNetwork(options, kept)
  const running = opened.move()
  return {
    ...node,
    async stop() {
      await node.stop()
      await running.disposeAsync()
    },
  }
}
