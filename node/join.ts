/** From what a node keeps to all that it can do: its parts are put together, and it meets the network. */
import { randomBytes } from 'node:crypto'
import * as path from 'node:path'
import { resolveText } from './answers.ts'
import type { PendingClaim } from './claims.ts'
import { Content } from './content.ts'
import type { Status } from './contract.ts'
import { toZ32 } from './core/encoding.ts'
import { P2pnsError } from './core/errors.ts'
import { keyNameOf, parseName } from './core/name.ts'
import { diagnose } from './doctor.ts'
import { fileCalls } from './file-calls.ts'
import { discardPart } from './files/target.ts'
import { nameChanges } from './handover.ts'
import type { Node } from './index.ts'
import type { Kept } from './kept.ts'
import { bootstrap, keepBootstrapped } from './net/bootstrap.ts'
import { Introducer } from './net/introducers.ts'
import { listensHereOnly, publicAddresses, startHost } from './net/listen.ts'
import type { Takers } from './net/one-port.ts'
import { connectedPeers } from './net/peers.ts'
import { Reach } from './net/reach.ts'
import { createRecordNetwork } from './net/record-network.ts'
import type { NodeOptions } from './options.ts'
import { register } from './register.ts'
import { expiryWarning, startRenewal } from './renewal.ts'
import { secretTable } from './secret-files.ts'
import type { PendingChange } from './succession.ts'
import { type KeptTransfer, Transfers } from './transfers.ts'
import { Trust } from './trust.ts'
import { VERSION } from './version.ts'
import { Witnesses } from './witnesses.ts'

/** Resolves when the node has met the network, or has found nobody there. Its `stop()` leaves `kept` open. */
export async function joinNetwork(options: NodeOptions, kept: Kept): Promise<Node> {
  await using started = new AsyncDisposableStack()
  const { key, store, realms, own, proofs, petnames, names, publisher, lookup, now } = kept
  const visitor = options.visitor ?? false
  const takers: Takers = {}
  const host = await startHost(
    {
      key,
      takers,
      listen: visitor ? [] : options.listen,
      datastore: store.datastore,
      role: visitor ? 'visitor' : 'peer',
      lan: options.lan ?? !visitor,
      now,
    },
    store.table<number>('ports'),
  )
  started.defer(() => host.stop())

  const addressTable = store.table<string[]>('settings')
  const given = options.introducers?.length ? options.introducers : await addressTable.get('introducers')
  const introducers = (given ?? []).map((address) => new Introducer(host.libp2p, address, now))
  // Kept only now: an address that is none would break every later start.
  if (options.introducers?.length) await addressTable.put('introducers', options.introducers)
  started.defer(() => introducers.forEach((introducer) => introducer.close()))

  let reach: Reach
  const network = createRecordNetwork(host.dht, introducers, now)
  const witnesses = new Witnesses(
    introducers,
    realms,
    (address, others) => new Introducer(host.libp2p, address, now, others),
  )
  started.defer(() => witnesses.close())
  const addresses = () => [...host.libp2p.getMultiaddrs().map(String), ...reach.addresses()]
  kept.joined(network, () => publicAddresses(addresses()))
  const content = await Content.open({
    reach: () => reach,
    host,
    key,
    store,
    network,
    publisher,
    names,
    home: options.home,
    visitor,
    limits: options.limits ?? {},
    now,
  })
  started.defer(() => content.stop())
  reach = await Reach.open({
    libp2p: host.libp2p,
    key,
    introducers,
    takers,
    listens: !visitor,
    portMapping: !visitor && (options.portMapping ?? !listensHereOnly(options.listen)),
    birthday: options.birthday ?? true,
    now,
    onLink: (link) => void content.serve(link),
    // Nobody can store at, or ask, a node that cannot be dialled.
    onJudged: (isOpen) => void host.libp2p.services.dht.setMode(isOpen ? 'server' : 'client').catch(() => undefined),
  })
  started.defer(() => reach.stop())
  const transfers = new Transfers({
    table: store.table<KeptTransfer>('transfers'),
    run: (target, job) => content.fetch(target, job),
    newId: () => toZ32(randomBytes(3)),
    discard: discardPart,
    now,
  })
  started.defer(() => transfers.stop())

  await bootstrap(host, introducers)
  const isAsked = options.introducers !== undefined
  await Promise.allSettled(introducers.map((introducer) => realms.pinFrom(introducer, undefined, isAsked)))
  kept.met()
  const promised = store.table<string[]>('promised')
  const changes = nameChanges({
    own,
    publisher,
    network,
    realms: (signal) => witnesses.realms(signal),
    changes: store.table<PendingChange>('changes'),
    recoveries: secretTable<string>(path.join(options.home, 'recoveries')),
    promised,
    now,
  })
  const renewal = visitor
    ? undefined
    : startRenewal({
        zones: () => own.all(),
        renew: (label, signal) => changes.renew({ name: `${label}.p2p` }, { signal }),
        now,
      })
  if (!visitor) {
    const keeper = keepBootstrapped(host, introducers)
    publisher.start()
    own.start()
    content.sharing.announce()
    await transfers.resumeAll()
    started.defer(async () => {
      await renewal?.stop()
      keeper.stop()
      own.stop()
      await publisher.stop()
    })
  }

  const running = started.move()
  const startedAt = now()
  const registerParts = {
    own,
    names,
    network,
    pending: secretTable<PendingClaim>(path.join(options.home, 'pending')),
    promised,
    witnesses,
    now,
  }

  const files = fileCalls({ content, transfers, names })
  const trust = new Trust({ names, proofs, realms, petnames })
  const isOwn = (text: string): boolean => {
    const name = parseName(text)
    return name.kind === 'short' && own.byLabel(name.short)?.lease !== undefined
  }

  return {
    peerId: host.libp2p.peerId.toString(),
    addresses,
    lookup,
    async register({ file, ...request }, job = {}) {
      const cid = file === undefined ? undefined : (await content.given(file, job)).cid
      return register(registerParts, { ...request, ...(cid ? { content: cid } : {}) }, job)
    },
    resolve: (name, type = 'ANY', resolveOptions = {}) => resolveText(names, name, type, { ...resolveOptions, now }),
    async share(path, { as, ...job } = {}) {
      // The name first: content is not given to the world for a name that turns out to be somebody else's.
      if (as !== undefined && !isOwn(as)) await register(registerParts, { name: as }, job)
      const shared = await content.sharing.share(path, job)
      if (as === undefined) return shared
      const { name } = await register(registerParts, { name: as, content: shared.cid }, job)
      return { ...shared, name, link: content.sharing.link(shared.cid, name) }
    },
    ...files,
    status: async (): Promise<Status> => ({
      peerId: host.libp2p.peerId.toString(),
      version: VERSION,
      home: options.home,
      uptime: Math.round((now() - startedAt) / 1000),
      addresses: addresses(),
      introducers: introducers.map(({ address, peerId, connected }) => ({
        address,
        connected: connected || host.libp2p.getPeers().some((peer) => peer.toString() === peerId),
      })),
      peers: host.libp2p.getPeers().length,
      names: own.all().map(({ label, keyName, zone, lease }) => ({
        name: lease === undefined ? `${label}.pet.p2p` : `${label}.p2p`,
        keyName,
        seq: String(zone?.seq ?? 0n),
        ...(lease ? { until: new Date(lease.claim.until * 1000).toISOString() } : {}),
      })),
      shares: content.sharing.shares(),
      reach: { nat: reach.judgement, portMapping: reach.portMapping.state, places: reach.meetingPlaces },
      warnings: [
        ...own
          .all()
          .flatMap(({ label, lease }) => (lease && expiryWarning(lease, now(), renewal?.trouble(label))) ?? []),
        ...(await trust.warnings()),
      ],
    }),
    peers: async () => [
      ...connectedPeers(host.libp2p).map((peer) => ({
        ...peer,
        introducer: introducers.some(({ peerId }) => peerId === peer.peer),
        use: 'control' as const,
      })),
      ...content.links().map((link) => {
        const why = link.path === 'relayed' ? reach.whyNotDirect(link.peer) : undefined
        return { ...link, address: '', introducer: false, ...(why ? { why } : {}) }
      }),
    ],
    diagnose: (options = {}) =>
      diagnose({ host, reach, introducers, probe: (whom, job) => files.probe(whom, job) }, options),
    keys: async () => [
      { name: 'node', keyName: keyNameOf(key.publicKey), use: 'node' as const },
      ...own.all().map(({ label, keyName }) => ({ name: label, keyName, use: 'zone' as const })),
    ],
    clearCache: () => names.clearCache(),
    unshare: (what) => content.sharing.unshare(what),
    ...changes,
    trust: () => trust.list(),
    setPetname: (pet, target, petOptions) => trust.setPetname(pet, target, petOptions),
    acceptOwner: (name, keyName) => trust.acceptOwner(name, keyName),
    forget: (name) => trust.forget(name),
    reportProof: (proof) => trust.reportProof(proof),
    exportProof: async (what) => trust.exportProof(what),
    dnsLog: () => {
      throw new P2pnsError('usage', 'No DNS resolver runs with this node')
    },
    stop: () => running.disposeAsync(),
  }
}
