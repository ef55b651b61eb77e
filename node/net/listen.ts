/** Where a host listens: a port of its own choice the first time, the same again later, since others were told it. */
import { networkInterfaces } from 'node:os'
import type { Libp2p } from '@libp2p/interface'
import { isError } from '../core/errors.ts'
import { freePort } from './free-port.ts'
import { createHost, type Host, type HostOptions } from './host.ts'

/** Addresses that a record names. */
const MAX_ADDRESSES = 4

/** Where the ports are kept; a table of the home's store. */
export interface PortTable {
  get(key: string): Promise<number | undefined>
  put(key: string, value: number): Promise<void>
}

/**
 * Opens on the port of last time, or on any when another program has taken that one meanwhile. Errors: those of `open`;
 * port_in_use only for any port.
 */
export async function onKeptPort<T>(ports: PortTable, name: string, open: (port: number) => Promise<T>): Promise<T> {
  const kept = (await ports.get(name)) ?? 0
  try {
    return await open(kept)
  } catch (error) {
    if (kept === 0 || !isError(error, 'port_in_use')) throw error
    return open(0)
  }
}

/** A host that listens where a person says, or on a port that stays. A port that they chose is theirs to change. */
export async function startHost(
  options: Omit<HostOptions, 'listen'> & { listen: string[] | undefined },
  ports: PortTable,
): Promise<Host> {
  const { listen } = options
  // Nobody on the LAN could reach a host that listens on loopback only.
  const open = (addresses: string[]) =>
    createHost({ ...options, listen: addresses, lan: options.lan && !addresses.every(isLoopback) })
  if (listen !== undefined) return open(listen)
  const host = await onKeptPort(ports, 'control', async (kept) => {
    const port = kept || (await freePort())
    return open([`/ip4/0.0.0.0/tcp/${port}`, ...(hasIpv6() ? [`/ip6/::/tcp/${port}`] : [])])
  })
  try {
    await rememberControlPort(host.libp2p, ports)
    return host
  } catch (error) {
    await host.stop()
    throw error
  }
}

async function rememberControlPort(libp2p: Libp2p, ports: PortTable): Promise<void> {
  const parts = libp2p.getMultiaddrs()[0]?.getComponents() ?? []
  const port = parts.find((part) => part.name === 'tcp')?.value
  if (port !== undefined) await ports.put('control', Number(port))
}

function hasIpv6(): boolean {
  return Object.values(networkInterfaces()).some((addresses) => addresses?.some(({ family }) => family === 'IPv6'))
}

/** Whether a multiaddr leads nowhere but to this machine. */
export function isLoopback(address: string): boolean {
  return /^\/ip4\/127\.|^\/ip6\/::1\//.test(address)
}

export function listensHereOnly(listen: readonly string[] | undefined): boolean {
  return listen !== undefined && listen.every(isLoopback)
}

/** What others can use of our addresses: no loopback, unless there is nothing else; a record names a few at most. */
export function publicAddresses(addresses: string[]): string[] {
  const reachable = addresses.filter((address) => !isLoopback(address))
  return (reachable.length > 0 ? reachable : addresses).slice(-MAX_ADDRESSES)
}
