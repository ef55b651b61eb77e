/** A world for the command line with nothing real in it: a node that answers from a table, streams that remember. */

import { Readable } from 'node:stream'
import { run } from '../../cli/run.ts'
import type { World } from '../../cli/world.ts'
import type { P2pnsNode, Status } from '../../node/contract.ts'
import { P2pnsError } from '../../node/core/errors.ts'
import type { ResolverStats } from '../../resolver/index.ts'
import { nodeWith } from '../helpers/node.ts'

export const KEY_NAME = 'yb4d9qsmmgnoqf4dzfk6ckt8yfbgfyx4pjgzznrfkwjfr8n6ysyo.p2p'
export const CID = `bafyrei${'a'.repeat(52)}`

export const STATUS: Status = {
  peerId: '12D3KooWPeer',
  version: '0.1.0',
  home: '/home/alice',
  uptime: 125,
  addresses: ['/ip4/127.0.0.1/tcp/1/p2p/12D3KooWPeer', '/ip4/192.0.2.1/tcp/1/p2p/12D3KooWPeer'],
  introducers: [{ address: '/ip4/127.0.0.1/tcp/2/p2p/12D3KooWMeet', connected: true }],
  peers: 1,
  names: [{ name: 'alice.p2p', keyName: KEY_NAME, seq: '1', until: '2027-02-18T00:00:00.000Z' }],
  shares: [{ cid: CID, path: '/home/alice/photos', bytes: 20_000_000, files: 3 }],
  reach: {
    nat: {
      mapping: 'independent',
      filtering: 'address-and-port',
      translated: true,
      keepsPort: true,
      double: false,
      hairpin: false,
      mapped: { host: '198.51.100.7', port: 4001 },
      address: '198.51.100.7',
    },
    portMapping: 'mapped',
    places: ['12D3KooWMeet'],
  },
  warnings: ['alice.p2p ends in 5 days'],
}

/** Every call is noted as `[method, ...arguments]`, without signals and callbacks. */
export function fakeNode(calls: unknown[][], overrides: Partial<P2pnsNode> = {}): P2pnsNode {
  const note = (method: string, ...args: unknown[]): void => {
    calls.push([method, ...args.map((arg) => JSON.parse(JSON.stringify(arg ?? null)) as unknown)])
  }
  return nodeWith({
    async register(request) {
      note('register', request)
      return { name: request.name, keyName: KEY_NAME, seq: '1', kind: 'short', stored: 2, notes: ['mind the gap'] }
    },
    async resolve(name, type, options) {
      note('resolve', name, type, { policy: options?.policy })
      return {
        name,
        type: type ?? 'ANY',
        records: [
          { name, type: 'A', ttl: 300, data: '192.0.2.7' },
          { name: `_http._tcp.${name}`, type: 'SRV', ttl: 60, data: '0 0 8080 alice.p2p' },
        ],
        ttl: 60,
        keyName: KEY_NAME,
        seq: '1',
        known: { kind: 'lease', receipts: 1, witnesses: 1, stale: false, source: 'dht' },
      }
    },
    async share(path, options) {
      note('share', path, { as: options?.as })
      return { cid: CID, name: options?.as, bytes: 20_000_000, files: 3, skipped: [], link: `p2pns:${CID}` }
    },
    async fetch(target, options) {
      note('fetch', target, { out: options?.out, force: options?.force })
      const peers = [{ peer: '12D3KooWPeer', path: 'direct-tcp', bytes: 15_000_000 }]
      return { cid: CID, path: options?.out ?? '', bytes: 20_000_000, seconds: 2, resumed: 5_000_000, peers }
    },
    status: async () => STATUS,
    peers: async () => [
      {
        peer: '12D3KooWMeet',
        address: '/ip4/127.0.0.1/tcp/2',
        path: 'direct-tcp',
        rtt: 0.42,
        introducer: true,
        use: 'control',
      },
      { peer: '12D3KooWPeer', address: '/ip4/127.0.0.1/tcp/3', path: 'lan', introducer: false, use: 'control' },
    ],
    keys: async () => [{ name: 'alice.p2p', keyName: KEY_NAME, use: 'zone' }],
    clearCache: async () => note('clearCache'),
    unshare: async (what) => {
      note('unshare', what)
      return true
    },
    stop: async () => note('stop'),
    ...overrides,
  })
}

export interface FakeWorld extends World {
  out: () => string
  err: () => string
  /** As if the person pressed Ctrl-C. */
  press(name: 'SIGINT' | 'SIGTERM'): void
  /** Resolves when stdout has a whole line. */
  firstLine: Promise<void>
  /** `['createNode', options]`, `['serveApi']`, ... in order. */
  calls: unknown[][]
  exits: number[]
  clock: { now: number }
}

/** `running`: the node that runs in the home, if one does. `created`: what createNode answers. */
export function fakeWorld(options: { running?: boolean; node?: Partial<P2pnsNode>; tty?: boolean } = {}): FakeWorld {
  const calls: unknown[][] = []
  const written = { out: '', err: '' }
  const exits: number[] = []
  const clock = { now: 0 }
  const listeners = new Map<string, (name: 'SIGINT' | 'SIGTERM') => void>()
  const line = Promise.withResolvers<void>()
  const node = fakeNode(calls, options.node)
  return {
    stdin: Readable.from([]),
    stdout: {
      write(text) {
        written.out += text
        if (String(text).includes('\n')) line.resolve()
      },
    },
    stderr: {
      isTTY: options.tty ?? false,
      write(text) {
        written.err += text
      },
    },
    env: { HOME: '/home/alice' },
    cwd: '/work',
    engine: {
      async connectNode(home) {
        calls.push(['connectNode', home])
        return options.running ? node : undefined
      },
      async createNode(created) {
        calls.push(['createNode', JSON.parse(JSON.stringify(created))])
        const lookup = () => Promise.reject(new P2pnsError('name_not_found', 'nothing is there'))
        await created.onNames?.(lookup)
        return { ...node, peerId: STATUS.peerId, addresses: () => STATUS.addresses, lookup }
      },
      async serveApi(_node, home) {
        calls.push(['serveApi', home])
        return { stop: async () => void calls.push(['api stopped']) }
      },
      async createResolver({ host, port, upstream, allowPrivate, doh, dot, tls }) {
        const encrypted = { ...(doh && { doh }), ...(dot && { dot }), ...(tls && { tls: Object.keys(tls) }) }
        calls.push(['createResolver', { host, port, upstream, ...(allowPrivate && { allowPrivate }), ...encrypted }])
        return {
          host,
          port,
          ...(doh && { doh: `http${tls ? 's' : ''}://${doh.host}:${doh.port}/dns-query` }),
          ...(dot && { dot }),
          renew: () => void calls.push(['certificate renewed']),
          clear: () => void calls.push(['resolver cleared']),
          stats: () => ({}) as ResolverStats,
          watch: () => () => undefined,
          stop: async () => void calls.push(['resolver stopped']),
        }
      },
      async serveMetrics(at) {
        calls.push(['serveMetrics', at])
        return { ...at, stop: async () => void calls.push(['metrics stopped']) }
      },
      async createIntroducer(created) {
        calls.push(['createIntroducer', JSON.parse(JSON.stringify(created))])
        const address = '/ip4/192.0.2.1/tcp/4001/p2p/12D3KooWMeet'
        return {
          address,
          addresses: [address, '/ip4/127.0.0.1/tcp/4001/p2p/12D3KooWMeet'],
          realm: { quorum: 1, keys: [new Uint8Array(32)], bits: 16 },
          ...(created.http ? { http: created.http } : {}),
          stop: async () => void calls.push(['introducer stopped']),
        }
      },
    },
    now: () => clock.now,
    onSignal: (name, listener) => void listeners.set(name, listener),
    offSignal: (name) => void listeners.delete(name),
    exit: (code) => void exits.push(code),
    out: () => written.out,
    err: () => written.err,
    press: (name) => listeners.get(name)?.(name),
    firstLine: line.promise,
    calls,
    exits,
    clock,
  }
}

/** Runs `p2pns ...argv` in a fresh fake world. */
export async function runFake(
  argv: string[],
  options: Parameters<typeof fakeWorld>[0] = { running: true },
): Promise<{ code: number; out: string; err: string; calls: unknown[][] }> {
  const world = fakeWorld(options)
  const code = await run(argv, world)
  return { code, out: world.out(), err: world.err(), calls: world.calls }
}
