/** Our server for `mutants.ts`, as its child: `batch` or `dgram` says how it takes datagrams. It tells its port, and what kills it. */
import { P2pnsError } from '../../node/core/errors.ts'
import { createResolver, type FoundZone } from '../../resolver/index.ts'
import { aliceRecords, bobRecords } from '../resolver/conformance/zones.ts'
import { Z32, zoneOf } from '../resolver/harness.ts'

export type FromServer = { port: number } | { crash: string }

const tell = (message: FromServer): void => void process.send?.(message)
const die = (error: unknown): void => {
  tell({ crash: error instanceof Error ? (error.stack ?? error.message) : String(error) })
  process.exitCode = 1
  process.disconnect()
}
process.on('uncaughtException', die)
process.on('unhandledRejection', die)
process.on('disconnect', () => process.exit())

const zones = { 'alice.p2p': zoneOf(aliceRecords(Z32)), 'bob.p2p': zoneOf(bobRecords) }
const lookup = async (apex: string): Promise<FoundZone> => {
  const zone = Object.hasOwn(zones, apex) ? zones[apex as keyof typeof zones] : undefined
  if (!zone) throw new P2pnsError('name_not_found', `${apex} is not registered`)
  return { zone, expiresAt: Date.now() + 3_600_000, stale: false }
}
const batch = process.argv[2] === 'batch'
const { port } = await createResolver({ host: '127.0.0.1', port: 0, now: Date.now, lookup, batch })
tell({ port })
