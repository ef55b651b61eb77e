/** Introducers that answer as a test wants, over real connections. */
import type { TestContext } from 'node:test'
import { multiaddr } from '@multiformats/multiaddr'
import type { Host } from '../../node/net/host.ts'
import { INTRODUCER_PROTOCOL, Introducer } from '../../node/net/introducers.ts'
import { type Handler, serveRpc } from '../../node/net/rpc.ts'
import { honestHost } from './hosts.ts'

/** What `asker` sees of a host that answers its questions with `handler`, honest or not. */
export async function introducerOf(
  t: Pick<TestContext, 'after'>,
  asker: Host,
  seed: string,
  handler: Handler,
): Promise<Introducer> {
  const host = await honestHost(t, seed)
  await host.libp2p.handle(INTRODUCER_PROTOCOL, (stream) => serveRpc(stream, handler))
  const introducer = new Introducer(asker.libp2p, addressOf(host), Date.now)
  t.after(() => introducer.close())
  return introducer
}

export function addressOf(host: Host): string {
  return multiaddr(host.libp2p.getMultiaddrs()[0]).toString()
}
