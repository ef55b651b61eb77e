/** Which DNS servers this machine used before it was pointed at us, and the domains of its network (resolv.conf(5)). */
import { getServers } from 'node:dns'
import { readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { networkInterfaces } from 'node:os'
import { parseServer, type Server } from './upstream.ts'

export interface SystemDns {
  servers: readonly Server[]
  /** Lower-case as they stand there. */
  search: readonly string[]
}

/** The first that names a server other than us counts. The first may name a stub on this machine, the others never do. */
const FILES = ['/etc/resolv.conf', '/run/systemd/resolve/resolv.conf', '/run/NetworkManager/no-stub-resolv.conf']
/** What systemd-resolved listens on. It may have been told to ask us, so the servers behind it are asked instead. */
const RESOLVED = new Set(['127.0.0.53', '127.0.0.54'])
/** A machine moves from one network to another: how often that is looked for, in ms. */
const READ_AGAIN = 5_000

/** The system's servers as of now, without those that `isSelf`. */
export function systemDns(isSelf: (server: Server) => boolean, now: () => number): () => SystemDns {
  let known: SystemDns = { servers: [], search: [] }
  let readAt: number | undefined
  return () => {
    const age = readAt === undefined ? READ_AGAIN : now() - readAt
    // Below 0 the clock was set back.
    if (age < 0 || age >= READ_AGAIN) {
      known = readSystemDns(readText, getServers, isSelf)
      readAt = now()
    }
    return known
  }
}

/** `others`: addresses of servers, where no file names any. */
export function readSystemDns(
  read: (path: string) => string | undefined,
  others: () => string[],
  isSelf: (server: Server) => boolean,
): SystemDns {
  const files = FILES.map((path) => parseResolvConf(read(path) ?? ''))
  const search = [...new Set(files.flatMap((file) => file.search))]
  const usable = (addresses: string[]): Server[] =>
    addresses.map((address) => parseServer(address)).filter((server) => !isSelf(server))
  for (const stubs of [false, true]) {
    for (const file of files) {
      const servers = usable(file.servers.filter((address) => stubs || !RESOLVED.has(address)))
      if (servers.length > 0) return { servers, search }
    }
  }
  return { servers: usable(others()), search }
}

/** What is not understood is passed over, as the C library does. */
export function parseResolvConf(text: string): { servers: string[]; search: string[] } {
  const servers: string[] = []
  let search: string[] = []
  for (const line of text.split('\n')) {
    const [keyword, ...values] = line.trim().split(/\s+/)
    if (keyword === 'nameserver' && isIP(values[0] ?? '')) servers.push(values[0] as string)
    // The last line counts.
    if (keyword === 'search' || keyword === 'domain') search = values.map((value) => value.toLowerCase())
  }
  return { servers, search }
}

/** Whether a server is the one that listens on `host` and `port`; that host may stand for all addresses of this machine. */
export function isSelf(listening: Server, server: Server, addresses = ownAddresses): boolean {
  if (server.port !== listening.port) return false
  if (listening.host !== '0.0.0.0' && listening.host !== '::') return server.host === listening.host
  return server.host.startsWith('127.') || addresses().includes(server.host)
}

function ownAddresses(): string[] {
  const found = Object.values(networkInterfaces()).flatMap((all) => (all ?? []).map(({ address }) => address))
  return ['0.0.0.0', '::', '::1', ...found]
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}
