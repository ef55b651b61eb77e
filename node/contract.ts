/**
 * What a node can do. `createNode()` (node/index.ts) does it in this process; the client of the local API (node/api.ts)
 * does the same through the unix socket of a running node, so the command line cannot tell them apart.
 */

import type { TraceStep } from './core/trace.ts'
import type { NameChanges } from './handover.ts'
import type { Diagnosis, PeerStatus, Status } from './state.ts'
import type { TrustNode } from './trust.ts'

export type { Diagnosis, PeerStatus, Status } from './state.ts'

/** `cache-only`: no network. `cache-first`: the cache while it is fresh. `network`: always ask (docs/design.md, Resolving). */
export type Policy = 'cache-only' | 'cache-first' | 'network'

/** How an answer is known to be right. */
export interface Known {
  /** `key`: the name is the key. `lease`: witnesses signed it. `petname`: this machine says so. `own`: our own zone. */
  kind: 'key' | 'lease' | 'petname' | 'own'
  /** With `lease`: receipts that count, and how many witnesses the realm has. */
  receipts?: number
  witnesses?: number
  /** With `lease`: witnesses of its realm that are proven to have lied, where there are any; their receipts do not count. */
  liars?: number
  /** With `lease`: since when this machine has known the name's owner, ISO 8601. */
  pinned?: string
  /** With `lease`: another lease, of this owner (a key name, or null for nobody), does not follow; not decided yet. */
  conflict?: { owner: string | null; since: string }
  /** True when the record is older than 48 h and could not be refreshed. */
  stale: boolean
  /** Where this answer came from. */
  source: 'own' | 'cache' | 'introducer' | 'dht'
}

/** One resource record as a person reads it: `data` is the presentation form of RFC 1035 (RFC 3597 for unknown types). */
export interface TextRecord {
  name: string
  type: string
  /** Seconds. */
  ttl: number
  data: string
}

/** A record to publish: `type` and `data` in presentation form, `ttl` in seconds (default 300). */
export interface RecordInput {
  type: string
  data: string
  ttl?: number
  /** Label below the name that is registered, such as `_http._tcp`; none for the name itself. */
  label?: string
}

export interface RegisterRequest {
  name: string
  /** Each type (at its label) replaces what the zone held of that type there; what is not named stays. */
  records?: RecordInput[]
  /** A CID, or a path on this machine that is shared first. */
  file?: string
  /** `self` or a peer id with optional multiaddr; default: self on a first registration. */
  peers?: string[]
}

export interface Registered {
  name: string
  keyName: string
  /** Microseconds since 1970, as a decimal string. */
  seq: string
  kind: 'short' | 'key' | 'petname'
  /** Nodes that stored the record, introducers included. */
  stored: number
  /** With a lease: when it ends, ISO 8601. */
  until?: string
  /** With a first lease: the seed of the recovery key in z-base-32, shown only now. */
  recovery?: string
  /** What the person should know, such as why a short name could not be witnessed. */
  notes: string[]
}

export interface Resolved {
  name: string
  /** The type asked for, or `ANY`. */
  type: string
  records: TextRecord[]
  /** Seconds until this answer is looked up again. */
  ttl: number
  keyName: string
  seq: string
  known: Known
  /** What was done, and when, where that was asked for. */
  trace?: TraceStep[]
}

export interface Shared {
  cid: string
  /** The name that now points to it, with `as`. */
  name?: string
  bytes: number
  files: number
  /** Paths inside the folder that were left out: neither file nor folder. */
  skipped: string[]
  link: string
}

export interface FetchedPeer {
  peer: string
  /** As in PeerStatus, or `local` for what this node itself had. */
  path: string
  bytes: number
}

export interface Fetched {
  cid: string
  /** Where it stands on this machine, absolute. */
  path: string
  bytes: number
  seconds: number
  /** Bytes found in a `.part` of an earlier try, or already in place. */
  resumed: number
  peers: FetchedPeer[]
}

export interface Progress {
  phase: 'hashing' | 'resolving' | 'connecting' | 'fetching' | 'waiting' | 'finishing' | 'publishing' | 'witnessing'
  /** Bytes; 0 of 0 where the phase has no measure. */
  done: number
  total: number
  peers?: number
  /** With `waiting`: for what. */
  why?: string
}

/** Bytes a second; undefined: no limit. */
export interface Limits {
  up?: number
  down?: number
}

export interface FetchRequest {
  /** The file or folder to make, absolute; a file goes into a folder that is there. */
  out: string
  /** Replaces a file, never a folder. */
  force?: boolean
  /** Only entries whose path in the content matches one of these globs. */
  only?: string[]
  /** Of this transfer alone, besides those of the node. */
  limits?: Limits
  /** Seconds to wait for a peer when nobody who has the rest is online; default: as long as it takes. 0: fails at once. */
  wait?: number
}

/** `waiting`: nobody who has the rest is online. `paused`: by the person, or by Ctrl-C. */
export type TransferState = 'running' | 'waiting' | 'paused' | 'failed' | 'done'

export interface Transfer {
  /** Short, of this home. */
  id: string
  target: string
  cid?: string
  out: string
  only?: string[]
  state: TransferState
  /** Bytes. */
  done: number
  total: number
  chunks: { have: number; total: number }
  /** `rate`: bytes a second, lately. */
  peers: { peer: string; path: string; bytes: number; rate: number }[]
  /** Peers that are not asked any more, and why. */
  banned: { peer: string; why: string }[]
  /** A sentence for the person: what it waits for, or why it failed. */
  why?: string
  limits?: Limits
}

/** Bytes of one file, in order, each verified before it is handed out. */
export interface RangeStream {
  cid: string
  /** Bytes of the whole file. */
  size: number
  /** First byte, and one more than the last. */
  start: number
  end: number
  bytes: AsyncIterable<Uint8Array>
  /** Ends the links; to be called when done, also after an error. */
  close(): Promise<void>
}

export interface ManifestView {
  cid: string
  publisher: string
  /** ISO 8601. */
  created: string
  hint: string
  bytes: number
  files: number
  /** Not with more than 10,000, unless asked for. */
  entries: { path: string; type: 'file' | 'folder'; size: number; mode: number; root?: string }[]
}

/** What `manifest verify` found: what stands in a folder against what a manifest says. */
export interface Verified {
  cid: string
  path: string
  ok: boolean
  files: number
  /** Paths inside the content, at most 1,000. */
  missing: string[]
  changed: string[]
  extra: string[]
}

export interface Probed {
  peer: string
  /** As in PeerStatus. */
  path: string
  /** Milliseconds. */
  rtt: number
  bytes: number
  seconds: number
  /** Bytes a second of a verified transfer. */
  rate: number
}

export interface Job {
  signal?: AbortSignal
  onProgress?: (progress: Progress) => void
}

/** A question that the node's DNS resolver answered. */
export interface DnsAnswered {
  /** ISO 8601. */
  at: string
  /** IP address of who asked. */
  client: string
  transport: string
  name: string
  type: string
  rcode: string
  /** `cached` and fresh, `stale`, `found` in the store or the network, or `refused` without looking. */
  source: 'cached' | 'stale' | 'found' | 'refused'
  /** Milliseconds that it took. */
  took: number
  /** Others that were answered right after it and are not shown, since they came faster than they were read. */
  missed?: number
}

export interface KeyInfo {
  name: string
  keyName: string
  use: 'node' | 'zone'
}

export interface P2pnsNode extends NameChanges, TrustNode {
  register(request: RegisterRequest, job?: Job): Promise<Registered>
  resolve(
    name: string,
    type?: string,
    options?: { policy?: Policy; signal?: AbortSignal; trace?: boolean },
  ): Promise<Resolved>
  /** Hashes in place and seeds while the node runs; with `as`, the name points to it afterwards. */
  share(path: string, options?: Job & { as?: string }): Promise<Shared>
  /** Stops sharing a CID or a path, and forgets it; false when it was not shared. */
  unshare(what: string): Promise<boolean>
  /** `target`: NAME[/PATH], CID[/PATH] or a `p2pns:` link; PATH may be a glob. */
  fetch(target: string, options: Job & FetchRequest): Promise<Fetched>
  /** Fetches of this home that are under way, paused, failed, or done lately. */
  transfers(): Promise<Transfer[]>
  /** What was fetched stays for `resumeTransfer`. */
  pauseTransfer(id: string): Promise<Transfer>
  /** Goes on in the background. */
  resumeTransfer(id: string): Promise<Transfer>
  /** Ends it and forgets it; with `files`, what it fetched so far goes too. */
  removeTransfer(id: string, options?: { files?: boolean }): Promise<Transfer>
  /** Limits of the whole node. */
  setLimits(limits: Limits): Promise<Limits>
  /** `target` as for `fetch`, but one file. `start`: first byte, default 0, from the end when negative; `end`: one more than the last. */
  openRange(target: string, range?: { start?: number; end?: number }, job?: Job): Promise<RangeStream>
  manifest(target: string, options?: { all?: boolean; signal?: AbortSignal }): Promise<ManifestView>
  verifyManifest(target: string, path: string, job?: Job): Promise<Verified>
  /** `whom`: a name, a peer id or a multiaddr with one. `size`: bytes, default 64 MiB. */
  diagnose(options?: Job & { peer?: string }): Promise<Diagnosis>
  probe(whom: string, options?: Job & { size?: number }): Promise<Probed>
  status(): Promise<Status>
  peers(): Promise<PeerStatus[]>
  keys(): Promise<KeyInfo[]>
  /** Forgets what was learnt from others: cached records and negative answers. */
  clearCache(): Promise<void>
  /** What the DNS resolver of this node answers from now on, until `signal`. Nothing of it is kept. Errors: usage (it has none). */
  dnsLog(signal?: AbortSignal): AsyncIterable<DnsAnswered>
  stop(): Promise<void>
}
