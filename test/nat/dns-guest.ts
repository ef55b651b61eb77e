/**
 * Runs in namespaces of its own and does what it is told over IPC: /etc and /run are its own, loopback is all the network
 * it has. There our resolver answers as for `alice.p2p`, and another DNS server for everything else.
 */
import { execFile } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { promisify } from 'node:util'
import dnsPacket from 'dns-packet'
import { createResolver, type Resolver } from '../../resolver/index.ts'
import { lookupIn, zoneOf } from '../resolver/harness.ts'

const LIMIT = 20_000

export interface Told {
  id: number
  run?: [string, ...string[]]
  /** Starts our resolver in place of the one before; with `upstream` it forwards. */
  resolver?: { port: number; upstream?: string } | 'none'
  /** Starts the other DNS server: every name but .p2p has that address. */
  outside?: { host: string; address: string }
  /** The names that the other DNS server was asked for. */
  asked?: true
}

const outsideAsked: string[] = []

let resolver: Resolver | undefined

async function startResolver(options: Exclude<Told['resolver'], undefined>): Promise<void> {
  await resolver?.stop()
  resolver = undefined
  if (options === 'none') return
  const { port, upstream } = options
  const zones = { 'alice.p2p': zoneOf([{ type: 'A', data: '192.0.2.7' }]) }
  const lookup = lookupIn(zones, Date.now)
  resolver = await createResolver({ host: '127.0.0.1', port, lookup, now: Date.now, ...(upstream ? { upstream } : {}) })
}

async function startOutside({ host, address }: { host: string; address: string }): Promise<void> {
  const socket = createSocket('udp4')
  socket.on('message', (message, from) => {
    const { id, questions = [] } = dnsPacket.decode(message)
    const [{ name, type } = { name: '', type: 'A' as const }] = questions
    outsideAsked.push(name)
    const isP2p = /(^|\.)p2p$/i.test(name)
    const answers = !isP2p && type === 'A' ? [{ name, type, ttl: 60, data: address } as const] : []
    // QR, RD, RA, and NXDOMAIN.
    const flags = 0x0180 | (isP2p ? 3 : 0)
    socket.send(dnsPacket.encode({ id: id ?? 0, type: 'response', flags, questions, answers }), from.port, from.address)
  })
  socket.bind(53, host)
  await once(socket, 'listening')
}

async function run([program, ...args]: [string, ...string[]]): Promise<object> {
  try {
    return { code: 0, ...(await promisify(execFile)(program, args, { timeout: LIMIT })) }
  } catch (error) {
    const {
      code,
      stdout = '',
      stderr = '',
      message,
    } = error as Error & { code?: number; stdout?: string; stderr?: string }
    return { code: code ?? 1, stdout, stderr: stderr || message }
  }
}

async function obey(told: Told): Promise<unknown> {
  if (told.run) return run(told.run)
  if (told.resolver) return startResolver(told.resolver)
  if (told.outside) return startOutside(told.outside)
  return outsideAsked.splice(0)
}

process.on('message', (told: Told) => {
  obey(told).then(
    (result) => process.send?.({ id: told.id, result }),
    (error: unknown) => process.send?.({ id: told.id, error: String(error) }),
  )
})
process.send?.('ready')
