/**
 * From a content identifier and links to a file that is right:
 *
 *     manifest -> entry list, if set apart -> TARGET.part and its map -> what an earlier try left -> the rest -> TARGET
 */
import type { Progress } from '../contract.ts'
import type { Bytes } from '../core/encoding.ts'
import { P2pnsError } from '../core/errors.ts'
import { hashOfCid, parseManifest, type SignedManifest, stepsWithList, totals } from '../core/manifest.ts'
import type { Link } from '../net/paths.ts'
import { Download, ManifestTask } from './download.ts'
import { Layout, type Run } from './layout.ts'
import { mapKey } from './map.ts'
import { type Selection, select } from './select.ts'
import { hashContent, looksLike, type Share, type SharedFile, sameContent } from './share.ts'
import { DiskSink, MemorySink } from './sink.ts'
import { Swarm } from './swarm.ts'
import { checkPlace, claimTarget, finishTarget, leadsToFolder, placeFor, prepareTarget, type Target } from './target.ts'
import { inTurns } from './turns.ts'

export interface FetchOptions {
  id: string
  /** When it is known already; else the first peers are asked. */
  manifest?: SignedManifest
  /** May go on yielding while the fetch runs, which fails when no link is left and none will come; should end on `signal`. */
  links: AsyncIterable<Link>
  /** The file or folder to make; a file is put into a folder that is there, under its own name. */
  out: string
  /** One file or folder inside the content; default: all of it. */
  entry?: string
  /** A file replaces another file. */
  force?: boolean
  signal: AbortSignal
  onProgress?: (progress: Progress) => void
  /** Milliseconds after which a peer that owes something and brought next to nothing is dropped. */
  stall?: number
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
  /** To serve it on without hashing it again; undefined when only an entry was fetched. */
  share: Share | undefined
}

const STALL = 20_000

/**
 * Throws `cid_invalid`, `entry_not_found`, `file_missing`, `target_exists`, `target_blocked`, `target_busy`, `path_unsafe`,
 * `content_not_found`, `disk_full`, `disk_error`, `interrupted`, or why the last peer was lost. What was verified stays for the next try.
 */
export async function fetchContent(options: FetchOptions): Promise<FetchResult> {
  const { id, links, onProgress } = options
  const started = performance.now()
  const content = hashOfCid(id)
  using claims = new DisposableStack()
  // What comes into a folder that is there has no name yet.
  const early = (await leadsToFolder(options.out)) ? undefined : await placeFor(options.out, undefined)
  if (early) claims.defer(claimTarget(early))
  const swarm = new Swarm(content, links, options.stall ?? STALL)
  try {
    onProgress?.({ phase: 'connecting', done: 0, total: 0 })
    const manifest = await wholeManifest(options, swarm)
    const selection = select(manifest, options.entry ?? '')
    const { bytes } = totals(selection.entries)
    const name = selection.entries[0]?.type === 'file' ? nameOf(manifest, selection) : undefined
    const target = early ?? (await placeFor(options.out, name))
    if (!early) claims.defer(claimTarget(target))
    const here = await alreadyThere(target, selection, options)
    const { files, resumed } = here ?? (await download(target, selection, content, swarm, options))
    const share = { manifest, path: target.final, files, bytes, skipped: [] }
    return {
      path: target.final,
      bytes,
      resumed,
      seconds: (performance.now() - started) / 1000,
      peers: swarm.shares,
      manifest,
      share: selection.entry === '' ? share : undefined,
    }
  } finally {
    swarm.close()
  }
}

async function wholeManifest({ id, manifest: given, signal }: FetchOptions, swarm: Swarm): Promise<SignedManifest> {
  const manifest = given ?? (await swarm.run(new ManifestTask((stored) => parseManifest(stored, { id })), signal))
  if (manifest.entries || !manifest.list) return manifest
  const layout = Layout.of(manifest)
  const sink = new MemorySink(manifest.list.size)
  await swarm.run(new Download({ layout, wanted: layout.runs, sink, onChunk: () => undefined }), signal)
  return inTurns(stepsWithList(manifest, sink.bytes))
}

/** The name of a file where nobody gave it another one; safe as one path component. */
function nameOf({ id, hint }: SignedManifest, { entry }: Selection): string {
  return entry.slice(entry.lastIndexOf('/') + 1) || hint || id
}

interface Fetched {
  files: Map<string, SharedFile>
  resumed: number
}

/** Throws `target_exists` when something else has the name, and may not be replaced. */
async function alreadyThere(
  target: Target,
  { entries }: Selection,
  { force = false, signal, onProgress }: FetchOptions,
): Promise<Fetched | undefined> {
  if (await looksLike(target.final, entries)) {
    const present = await hashContent(target.final, { signal, onProgress })
    if (sameContent(entries, present.entries)) return { files: present.files, resumed: totals(entries).bytes }
  }
  await checkPlace(target, entries, force)
  return undefined
}

async function download(
  target: Target,
  { entries, layout, entry }: Selection,
  content: Bytes,
  swarm: Swarm,
  { signal, onProgress, force = false }: FetchOptions,
): Promise<Fetched> {
  const total = layout.bytes
  const again = await prepareTarget(target, mapKey(content, entry), entries)
  const sink = new DiskSink({ base: target.part, map: target.map, parts: layout.parts })
  let done = 0
  let resumed = 0
  try {
    const report = (phase: Progress['phase'], bytes: number): void => {
      done += bytes
      onProgress?.({ phase, done, total, peers: swarm.size })
    }
    const wanted = again ? await missing(layout, sink, signal, (bytes) => report('hashing', bytes)) : layout.runs
    resumed = done
    report('fetching', 0)
    await swarm.run(new Download({ layout, wanted, sink, onChunk: (bytes) => report('fetching', bytes) }), signal)
  } finally {
    // A chunk that is still on its way is laid into memory that the next download may be given.
    swarm.close()
    await sink.close()
  }
  onProgress?.({ phase: 'finishing', done, total })
  return { files: await finishTarget(target, layout, entries, force), resumed }
}

/** The chunks that an earlier try did not leave. */
async function missing(
  layout: Layout,
  sink: DiskSink,
  signal: AbortSignal,
  onFound: (bytes: number) => void,
): Promise<Run[]> {
  const wanted: Run[] = []
  for (const run of layout.runs) {
    for await (const { chunk, ok } of sink.check(run)) {
      if (signal.aborted) throw new P2pnsError('interrupted', 'the fetch was stopped')
      const last = wanted.at(-1)
      if (ok) onFound(layout.lengthOf(chunk))
      else if (last && last.first + last.count === chunk) last.count++
      else wanted.push({ first: chunk, count: 1 })
    }
  }
  return wanted
}
