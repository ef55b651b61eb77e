/** Our server over the zones, in the ways that cases want it, and an upstream that knows example.org. */
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { P2pnsError } from '../../../node/core/errors.ts'
import { createResolver, type FoundZone, type ResolverOptions } from '../../../resolver/index.ts'
import { NOW, Z32, zoneOf } from '../harness.ts'
import { record, u16, wireName } from './packet.ts'
import type { Case } from './run.ts'
import { aliceRecords, bobRecords } from './zones.ts'

/** The port of each kind of server. */
export type Ports = Record<NonNullable<Case['server']> | 'plain', number>

export async function startOurs(): Promise<{ ports: Ports; stop(): Promise<void> }> {
  const upstream = await startUpstream()
  const zones = { 'alice.p2p': zoneOf(aliceRecords(Z32)), 'bob.p2p': zoneOf(bobRecords) }
  let flaky = 0
  const lookup = async (apex: string): Promise<FoundZone> => {
    if (apex === 'old.p2p') return { zone: zones['bob.p2p'], expiresAt: NOW - 1, stale: true }
    // The second time it would be found, if it were asked for.
    if (apex === 'flaky.p2p' && flaky++ === 0) throw new P2pnsError('network_unreachable', 'nobody answers')
    if (apex === 'flaky.p2p') return { zone: zones['bob.p2p'], expiresAt: NOW + 3_600_000, stale: false }
    if (apex === 'down.p2p') throw new P2pnsError('network_unreachable', 'nobody answers')
    const zone = Object.hasOwn(zones, apex) ? zones[apex as keyof typeof zones] : undefined
    if (!zone) throw new P2pnsError('name_not_found', `${apex} is not registered`)
    return { zone, expiresAt: NOW + 3_600_000, stale: false }
  }
  const start = (more: Partial<ResolverOptions>) =>
    createResolver({ host: '127.0.0.1', port: 0, now: () => NOW, lookup, ...more })
  const plain = await start({})
  const forwarding = await start({ upstream: `127.0.0.1:${upstream.port}` })
  const strict = await start({ requireCookies: true })
  return {
    ports: { plain: plain.port, upstream: forwarding.port, strict: strict.port },
    async stop() {
      for (const server of [plain, forwarding, strict, upstream]) await server.stop()
    },
  }
}

async function startUpstream(): Promise<{ port: number; stop(): Promise<void> }> {
  const udp = createSocket('udp4')
  udp.on('message', (packet, { port, address }) => udp.send(outsideAnswer(packet), port, address))
  udp.bind(0, '127.0.0.1')
  await once(udp, 'listening')
  const { port } = udp.address()
  return {
    port,
    async stop() {
      udp.close()
      await once(udp, 'close')
    },
  }
}

const cname = (from: string, to: string): Buffer => record(from, 'CNAME', wireName(to), 60)
const address = record('www.example.org', 'A', Buffer.from([198, 51, 100, 1]), 60)
const soa = record(
  'example.org',
  'SOA',
  Buffer.concat([wireName('example.org'), wireName('hostmaster.example.org'), u16(0, 1, 0, 1, 0, 1, 0, 1, 0, 60)]),
  60,
)
const OUTSIDE: Record<string, Buffer[]> = {
  'www.example.org': [address],
  'alias.example.org': [cname('alias.example.org', 'www.example.org'), address],
  // A stranger's address that nobody asked for must not count.
  'back.example.org': [
    cname('back.example.org', 'bob.p2p'),
    record('bob.p2p', 'A', Buffer.from([203, 0, 113, 66]), 60),
  ],
}

/** What a resolver answers that knows `OUTSIDE`. */
function outsideAnswer(packet: Buffer): Buffer {
  let at = 12
  const labels: string[] = []
  for (; packet[at]; at += 1 + (packet[at] as number))
    labels.push(packet.toString('latin1', at + 1, at + 1 + (packet[at] as number)))
  const question = packet.subarray(12, at + 5)
  const name = labels.join('.').toLowerCase()
  const isAddress = packet.readUInt16BE(at + 1) === 1
  const known = OUTSIDE[name]
  const answers = isAddress ? (known ?? []) : []
  const authority = answers.length === 0 ? [soa] : []
  const rcode = known ? 0 : 3
  return Buffer.concat([
    packet.subarray(0, 2),
    u16(0x8180 | rcode, 1, answers.length, authority.length, 0),
    question,
    ...answers,
    ...authority,
  ])
}
