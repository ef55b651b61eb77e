/** Hosts that reach others and are reached, as those of nodes do. */
import { createHash } from 'node:crypto'
import type { TestContext } from 'node:test'
import { type KeyPair, keyPairFromSeed } from '../../node/core/keys.ts'
import type { Host } from '../../node/net/host.ts'
import { Introducer } from '../../node/net/introducers.ts'
import type { Takers } from '../../node/net/one-port.ts'
import type { Link } from '../../node/net/paths.ts'
import { Reach } from '../../node/net/reach.ts'
import { honestHost } from './hosts.ts'

export interface ReachingHost {
  host: Host
  key: KeyPair
  peer: string
  reach: Reach
}

/** `introducers`: their addresses. */
export async function reachingHost(
  t: Pick<TestContext, 'after'>,
  seed: string,
  onLink: (link: Link) => void,
  introducers: readonly string[] = [],
): Promise<ReachingHost> {
  // What is stopped first is told first: the links, and then the host whose port they came in by.
  let reach: Reach | undefined
  t.after(() => reach?.stop())
  const takers: Takers = {}
  const host = await honestHost(t, seed, { takers })
  const key = keyPairFromSeed(createHash('sha256').update(seed).digest())
  reach = await Reach.open({
    libp2p: host.libp2p,
    key,
    introducers: introducers.map((address) => new Introducer(host.libp2p, address, Date.now)),
    takers,
    listens: true,
    portMapping: false,
    birthday: false,
    now: Date.now,
    onLink,
  })
  return { host, key, peer: host.libp2p.peerId.toString(), reach }
}
