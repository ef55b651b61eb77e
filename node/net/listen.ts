/** Where a host listens: a port of its own choice the first time, the same again later, since others were told it. */
import type { Libp2p } from '@libp2p/interface'

/** Where the ports are kept; a table of the home's store. */
export interface PortTable {
  get(key: string): Promise<number | undefined>
  put(key: string, value: number): Promise<void>
}

/** `listen` as given, or every IPv4 address on the port of last time. */
export async function listenAddresses(listen: string[] | undefined, ports: PortTable): Promise<string[]> {
  return listen ?? [`/ip4/0.0.0.0/tcp/${(await ports.get('control')) ?? 0}`]
}

export async function rememberControlPort(libp2p: Libp2p, ports: PortTable): Promise<void> {
  const parts = libp2p.getMultiaddrs()[0]?.getComponents() ?? []
  const port = parts.find((part) => part.name === 'tcp')?.value
  if (port !== undefined) await ports.put('control', Number(port))
}

/** Whether a multiaddr leads nowhere but to this machine. */
export function isLoopback(address: string): boolean {
  return /^\/ip4\/127\.|^\/ip6\/::1\//.test(address)
}
