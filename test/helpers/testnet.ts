/** A network in one line: real introducers and nodes in this process, on loopback, gone after the test. */
import type { TestContext } from 'node:test'
import { createIntroducer, type RunningIntroducer } from '../../introducer/index.ts'
import { createNode, type Node, type NodeOptions } from '../../node/index.ts'
import { temporaryFolder } from './folder.ts'

export const LOOPBACK = ['/ip4/127.0.0.1/tcp/0']

export interface Testnet {
  introducers: RunningIntroducer[]
  nodes: Node[]
  /** Another node; a `home` of an earlier one brings that one back. */
  join(options?: Partial<NodeOptions>): Promise<Node>
}

export async function createTestnet(
  t: Pick<TestContext, 'after'>,
  { introducers = 1, nodes = 2 }: { introducers?: number; nodes?: number } = {},
): Promise<Testnet> {
  const stops: (() => Promise<void>)[] = []
  t.after(async () => {
    await Promise.allSettled(stops.map((stop) => stop()))
  })
  const net: Testnet = {
    introducers: [],
    nodes: [],
    async join(options = {}) {
      const home = options.home ?? (await temporaryFolder(t))
      const addresses = net.introducers.map(({ address }) => address)
      const node = await createNode({ introducers: addresses, listen: LOOPBACK, lan: false, ...options, home })
      stops.push(() => node.stop())
      net.nodes.push(node)
      return node
    },
  }
  for (let i = 0; i < introducers; i++) {
    const introducer = await createIntroducer({ home: await temporaryFolder(t), listen: LOOPBACK, bits: 4 })
    stops.push(() => introducer.stop())
    net.introducers.push(introducer)
  }
  for (let i = 0; i < nodes; i++) await net.join()
  return net
}
