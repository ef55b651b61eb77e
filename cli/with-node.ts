/** Two ways to have a node: the running one or a temporary one for a single job, and one that stays up. */
import type { Job, Limits, P2pnsNode } from '../node/contract.ts'
import type { Lookup, ZoneAnswer } from '../node/index.ts'
import type {
  EncryptedOptions,
  ForwardingOptions,
  FoundZone,
  KnownZone,
  Resolver,
  ZoneLookup,
} from '../resolver/index.ts'
import { type CertificateFiles, watchCertificate } from './certificate.ts'
import { untilAborted } from './interrupt.ts'
import type { HostPort } from './options.ts'
import { openProgress } from './progress.ts'
import { resolvingNode } from './resolving-node.ts'
import type { Session } from './session.ts'

/** A job that a person waits for: it can be interrupted, and its progress is shown. */
export type ShownJob = Required<Job>

/**
 * Does `work` on the running node of the home, or on a node started for it and stopped after. `tell` prints the result
 * as soon as it is there, before a temporary node has stopped.
 */
export async function withNode<T>(
  session: Session,
  introducers: string[] | undefined,
  work: (node: P2pnsNode, job: ShownJob) => Promise<T>,
  tell: (result: T) => void,
): Promise<void> {
  const running = await session.engine.connectNode(session.home)
  if (running && introducers) session.output.note('note: the node that runs in this home has its own introducers')
  const node = running ?? (await startVisitor(session, introducers))
  try {
    tell(await showJob(session, (job) => work(node, job)))
  } finally {
    await node.stop()
  }
}

/** A node for one command. No progress is shown yet: a passphrase may have to be typed. */
export function startVisitor(
  { engine, home, passphrase }: Session,
  introducers: string[] | undefined,
): Promise<P2pnsNode> {
  return engine.createNode({ home, introducers, passphrase, visitor: true })
}

/** What a node that stays is made of; without `dns` it answers no DNS queries. */
export interface Hosting {
  introducers?: string[]
  /** Multiaddrs. */
  listen?: string[]
  limits?: Limits
  birthday?: boolean
  portMapping?: boolean
  /** As a resolver takes them. */
  dns?: HostPort & ForwardingOptions & EncryptedOptions
  /** Where the certificate of `dns` comes from; read again when it changes. */
  files?: CertificateFiles
  /** Where health and numbers are shown. */
  http?: HostPort
}

/** Starts a node that other commands can use, does `started` with it, and keeps it up until Ctrl-C. */
export async function hostNode(
  { engine, home, passphrase, signal, output, now }: Session,
  { dns, files, http, ...options }: Hosting,
  started: (node: P2pnsNode, page: HostPort | undefined) => Promise<void>,
): Promise<void> {
  await using parts = new AsyncDisposableStack()
  const hosted: { node?: P2pnsNode; resolver?: Resolver } = {}
  // It is there last, and ends last: the resolver asks it.
  parts.defer(() => hosted.node?.stop())
  // The programs of this machine wait for their names, and not for the network that these names need not.
  const onNames = async (nodeLookup: Lookup): Promise<void> => {
    if (!dns) return
    const lookup: ZoneLookup = async (apex, options) => toFound(await nodeLookup(apex, options))
    const known: KnownZone = async (apex) => toFound(await nodeLookup(apex, { policy: 'cache-only' }))
    const resolver = await engine.createResolver({ ...dns, lookup, known, now: Date.now, batch: true })
    parts.defer(() => resolver.stop())
    hosted.resolver = resolver
  }
  const node = await engine.createNode({ ...options, home, passphrase, onNames })
  hosted.node = node
  const { resolver } = hosted
  if (resolver && files) {
    const note = (line: string): void => output.note(line)
    parts.defer(watchCertificate(files, { current: dns?.tls, use: (tls) => resolver.renew(tls), note, now }))
  }
  const served = resolver ? resolvingNode(node, resolver) : node
  const api = await engine.serveApi(served, home)
  parts.defer(() => api.stop())
  const page = http && (await engine.serveMetrics(http, served, resolver))
  if (page) parts.defer(() => page.stop())
  await started(served, page)
  await untilAborted(signal)
}

/** Our own is what this home holds the key of, under whatever name; a petname alone makes nothing ours. */
function toFound({ zone, expiresAt, stale, known }: ZoneAnswer): FoundZone {
  return { zone, expiresAt, stale, own: known.source === 'own' }
}

/** Does `work` with its progress on the terminal. */
export async function showJob<T>(session: Session, work: (job: ShownJob) => Promise<T>): Promise<T> {
  session.signal.throwIfAborted()
  const display = await openProgress(session.output.progressStream, session.now)
  try {
    return await work({ signal: session.signal, onProgress: (progress) => display.update(progress) })
  } finally {
    display.stop()
  }
}
