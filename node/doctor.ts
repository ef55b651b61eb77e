/** Looks at what reaching others and being reached depends on, in a second or three. */
import type { Diagnosis, Job, Probed } from './contract.ts'
import { type Facts, findingsOf } from './core/diagnosis.ts'
import { isError } from './core/errors.ts'
import type { Host } from './net/host.ts'
import type { Introducer } from './net/introducers.ts'
import type { Reach } from './net/reach.ts'
import { interfaceHosts } from './net/whereabouts.ts'

/** Milliseconds. */
const LOOK_TIME = 3_000
const PING_TIME = 2_000
const PINGS = 2
/** Bytes. */
const PROBE_SIZE = 2 ** 20

export interface DoctorParts {
  host: Host
  reach: Reach
  introducers: readonly Introducer[]
  probe: (whom: string, options: Job & { size: number }) => Promise<Probed>
}

/** `peer`: a name, a peer id or a multiaddr to try. Never throws because of what it finds. */
export async function diagnose(parts: DoctorParts, { peer, signal }: Job & { peer?: string }): Promise<Diagnosis> {
  const { reach } = parts
  const [introducers, tried] = await Promise.all([
    Promise.all(parts.introducers.map((introducer) => lookAt(parts, introducer))),
    peer === undefined ? undefined : tryPeer(parts, peer, signal),
    Promise.race([reach.lookAround(), pause(LOOK_TIME)]),
  ])
  const facts: Facts = {
    nat: reach.judgement,
    addresses: interfaceHosts(),
    hasUdp: reach.hasUdp,
    ...(reach.punchAddress ? { punch: reach.punchAddress } : {}),
    portMapping: reach.portMapping,
    introducers,
    ...(tried ? { peer: tried } : {}),
  }
  return { ...facts, findings: findingsOf(facts) }
}

async function lookAt({ host, reach }: DoctorParts, introducer: Introducer): Promise<Facts['introducers'][number]> {
  const { address, peerId } = introducer
  const connected = await introducer.connect().then(...WORKED)
  if (!connected) return { address, connected, meeting: false, reflects: false }
  const rtt = await roundTrip(host, peerId)
  const reflects = await introducer.reflector().then(...WORKED)
  const meeting = reach.meetingPlaces.includes(peerId)
  return { address, connected, meeting, reflects, ...(rtt === undefined ? {} : { rtt }) }
}

const WORKED = [() => true, () => false] as const

async function roundTrip({ libp2p }: Host, peerId: string): Promise<number | undefined> {
  const signal = AbortSignal.timeout(PING_TIME)
  const connection = libp2p.getConnections().find(({ remotePeer }) => remotePeer.toString() === peerId)
  if (!connection) return undefined
  try {
    const times: number[] = []
    for (let i = 0; i < PINGS; i++) times.push(await libp2p.services.ping.ping(connection.remotePeer, { signal }))
    return Math.min(...times)
  } catch {
    return undefined
  }
}

async function tryPeer({ probe, reach }: DoctorParts, whom: string, signal?: AbortSignal): Promise<Facts['peer']> {
  try {
    const { peer, path, rtt, rate } = await probe(whom, { size: PROBE_SIZE, ...(signal ? { signal } : {}) })
    const why = path === 'relayed' ? reach.whyNotDirect(peer) : undefined
    return { whom, path, rtt, rate, ...(why ? { why } : {}) }
  } catch (cause) {
    return { whom, error: isError(cause) ? cause.what : 'it failed' }
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms).unref())
}
