/**
 * From a content identifier and links to a file that is right:
 *
 *     manifest -> entry list, if set apart -> TARGET.part and its map -> what is here already -> the rest -> TARGET
 */
import * as fs from 'node:fs/promises'
import type { Progress } from '../contract.ts'
import type { Limiter } from '../core/limiter.ts'
import { hashOfCid, parseManifest, type SignedManifest, stepsWithList, totals } from '../core/manifest.ts'
import { CHUNK_SIZE } from '../core/tree.ts'
import { withFile } from './disk.ts'
import { DiskFetch, type DiskFetchParts } from './disk-fetch.ts'
import { Download, ManifestTask } from './download.ts'
import { Layout } from './layout.ts'
import type { LeafFile } from './leaves.ts'
import { Work } from './link-threads.ts'
import { MapShape, mapKey } from './map.ts'
import type { PeerWay } from './peer-link.ts'
import { type Selection, select } from './select.ts'
import { freshLeaves, hashContent, leavesFrom, looksLike, type Share, type SharedFile, sameContent } from './share.ts'
import type { Source } from './source.ts'
import { Swarm, type SwarmPeer } from './swarm.ts'
import {
  checkPlace,
  claimTarget,
  finishTarget,
  forgetMap,
  forgetTry,
  leadsToFolder,
  placeFor,
  type Target,
} from './target.ts'
import { inTurns } from './turns.ts'

export interface FetchOptions {
  id: string
  /** When it is known already; else the first peers are asked. */
  manifest?: SignedManifest
  /** May go on yielding while the fetch runs, which fails when no link is left and none will come; should end on `signal`. */
  links: AsyncIterable<PeerWay>
  /** The file or folder to make; a file is put into a folder that is there, under its own name. */
  out: string
  /** One file or folder inside the content, or a glob; default: all of it. */
  entry?: string
  /** Globs: only what matches one of them. */
  only?: readonly string[]
  /** A file replaces another file. */
  force?: boolean
  /** Where the leaf hashes of what was fetched are kept, to serve it on; default: nowhere, and it is not served on. */
  leaves?: string
  /** Content of this machine: what has the same roots is not fetched again. */
  previous?: readonly Share[]
  limiter?: Limiter
  /** A whole number from 0 to `end - 1`. */
  random: (end: number) => number
  signal: AbortSignal
  onProgress?: (progress: Progress) => void
  /** Once, when there is something to see. */
  onView?: (view: FetchView) => void
  /** What is here can be served until the result is called. `got`: bytes that a peer brought. */
  onSource?: (source: Source, got: (peer: string) => number) => () => void
  /** A peer told of others: multiaddrs. */
  onPeers?: (addresses: readonly string[]) => void
  /** Milliseconds after which a peer that owes something and brought next to nothing is dropped. */
  stall?: number
}

/** What a fetch can tell of itself while it runs. */
export interface FetchView {
  readonly cid: string
  /** Absolute: what is being made. */
  readonly place: string
  readonly done: number
  readonly total: number
  readonly chunks: { have: number; total: number }
  readonly peers: readonly SwarmPeer[]
  readonly banned: readonly { peer: string; why: string }[]
  /** For what it waits, as a sentence. */
  readonly waiting: string | undefined
}

export interface FetchResult {
  /** Absolute. */
  path: string
  bytes: number
  /** Bytes of those that were here before. */
  resumed: number
  seconds: number
  peers: { peer: string; path: string; bytes: number }[]
  manifest: SignedManifest
  /** To serve it on without hashing it again; undefined when only a part was fetched. */
  share: Share | undefined
}

const STALL = 20_000

/**
 * Throws `cid_invalid`, `entry_not_found`, `file_missing`, `target_exists`, `target_blocked`, `target_busy`, `path_unsafe`,
 * `content_not_found`, `disk_full`, `disk_error`, `interrupted`, or why the last peer was lost. What was verified stays for the next try.
 */
export async function fetchContent(options: FetchOptions): Promise<FetchResult> {
  const { id, links, onProgress, onPeers } = options
  const started = performance.now()
  const content = hashOfCid(id)
  using claims = new DisposableStack()
  // What comes into a folder that is there has no name yet.
  const early = (await leadsToFolder(options.out)) ? undefined : await placeFor(options.out, undefined)
  if (early) claims.defer(claimTarget(early))
  const swarm = new Swarm({ content, links, stall: options.stall ?? STALL, ...(onPeers ? { onPeers } : {}) })
  try {
    onProgress?.({ phase: 'connecting', done: 0, total: 0 })
    const manifest = await wholeManifest(options, swarm)
    const selection = select(manifest, options.entry ?? '', options.only ?? [])
    const { bytes } = totals(selection.entries)
    const name = selection.entries[0]?.type === 'file' ? nameOf(manifest, selection) : undefined
    const target = early ?? (await placeFor(options.out, name))
    if (!early) claims.defer(claimTarget(target))
    const parts = { options, manifest, selection, target, swarm, content }
    const { share, resumed } = (await alreadyThere(parts)) ?? (await fetchToDisk(parts))
    return {
      path: target.final,
      bytes,
      resumed,
      seconds: (performance.now() - started) / 1000,
      peers: swarm.peers.map(({ peer, path, bytes }) => ({ peer, path, bytes })),
      manifest,
      share,
    }
  } finally {
    swarm.close()
  }
}

/** The manifest with its entries. Throws `content_not_found`, or why the last peer was lost. */
export async function wholeManifest(
  options: Pick<FetchOptions, 'id' | 'manifest' | 'signal' | 'random'>,
  swarm: Swarm,
): Promise<SignedManifest> {
  const { id, manifest: given, signal, random } = options
  const manifest = given ?? (await swarm.run(new ManifestTask((stored) => parseManifest(stored, { id })), signal))
  if (manifest.entries || !manifest.list) return manifest
  const layout = Layout.of(manifest)
  const list = Buffer.alloc(manifest.list.size)
  const work = new Work({ parts: layout.parts, keep: 'hand' }, (chunk, bytes) => list.set(bytes, chunk * CHUNK_SIZE))
  try {
    await swarm.run(new Download({ layout, wanted: layout.runs, work, random, onChunk: () => undefined }), signal)
  } finally {
    await work.close()
  }
  return inTurns(stepsWithList(manifest, list))
}

/** The name of a file where nobody gave it another one; safe as one path component. */
function nameOf({ id, hint }: SignedManifest, { entry }: Selection): string {
  return entry.slice(entry.lastIndexOf('/') + 1) || hint || id
}

interface Got {
  share: Share | undefined
  resumed: number
}

/** Throws `target_exists` when something else has the name, and may not be replaced. */
async function alreadyThere(parts: DiskFetchParts): Promise<Got | undefined> {
  const { options, manifest, selection, target, content } = parts
  const { entries, key } = selection
  const { signal, onProgress, leaves: folder, force = false, previous = [] } = options
  if (await looksLike(target.final, entries)) {
    const fresh = folder !== undefined && key === '' ? await freshLeaves(folder) : undefined
    const present = await hashContent(target.final, { signal, onProgress, ...(fresh ? { leaves: fresh } : {}) })
    if (sameContent(entries, present.entries)) {
      await forgetTry(target, mapKey(content, key))
      const { files } = present
      const leaves = fresh === undefined ? undefined : await leavesFrom(fresh, manifest)
      return { share: leaves && shareOf(manifest, target, entries, files, leaves), resumed: totals(entries).bytes }
    }
    if (fresh) await fs.rm(fresh, { force: true })
  }
  await checkPlace(target, entries, { force, previous })
  return undefined
}

async function fetchToDisk(parts: DiskFetchParts): Promise<Got> {
  const { options, manifest, selection, target } = parts
  const { entries, layout, key } = selection
  const { onProgress, leaves: folder, force = false, previous = [] } = options
  const resumed = await new DiskFetch(parts).run()
  onProgress?.({ phase: 'finishing', done: layout.bytes, total: layout.bytes })
  const files = await finishTarget(target, layout, entries, { force, previous })
  const leaves = folder !== undefined && key === '' ? await adoptMap(target, layout, folder) : undefined
  await forgetMap(target)
  return { share: leaves && shareOf(manifest, target, entries, files, leaves), resumed }
}

function shareOf(
  manifest: SignedManifest,
  { final }: Target,
  entries: Selection['entries'],
  files: Map<string, SharedFile>,
  leaves: LeafFile,
): Share {
  return { manifest, path: final, files, bytes: totals(entries).bytes, skipped: [], leaves }
}

/** What the map knows is what a share needs. */
async function adoptMap({ map }: Target, layout: Layout, folder: string): Promise<LeafFile> {
  const file = await freshLeaves(folder)
  await fs.copyFile(map, file, fs.constants.COPYFILE_FICLONE)
  await withFile(file, fs.constants.O_RDWR, (handle) => handle.sync())
  return { file, offset: new MapShape(layout).leaves }
}
