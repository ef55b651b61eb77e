/** name -> record -> peers -> bytes of one file, in order: what `cat` and a gateway read from. */

import { randomInt } from 'node:crypto'
import * as fs from 'node:fs'
import type { Multiaddr } from '@multiformats/multiaddr'
import type { Content } from './content.ts'
import type { Job, RangeStream } from './contract.ts'
import { P2pnsError } from './core/errors.ts'
import { hashOfCid, type SignedManifest } from './core/manifest.ts'
import { wholeManifest } from './files/fetch.ts'
import type { Part } from './files/layout.ts'
import { select } from './files/select.ts'
import { type Share, sameStamp } from './files/share.ts'
import { rangeIn, streamPart } from './files/stream.ts'
import { Swarm } from './files/swarm.ts'

const STALL = 20_000

/** A content opened for reading: its peers, until it is closed. */
export class OpenContent {
  readonly manifest: SignedManifest
  readonly swarm: Swarm
  readonly signal: AbortSignal
  readonly #end: () => void

  constructor(manifest: SignedManifest, swarm: Swarm, signal: AbortSignal, end: () => void) {
    this.manifest = manifest
    this.swarm = swarm
    this.signal = signal
    this.#end = end
  }

  close(): void {
    this.swarm.close()
    this.#end()
  }
}

/** Errors: those of a search; content_not_found. The entries of the manifest are known then. */
export async function openContent(
  content: Content,
  { id, peers }: { id: string; peers: readonly Multiaddr[] },
  asked: AbortSignal | undefined,
): Promise<OpenContent> {
  const left = new AbortController()
  const signal = AbortSignal.any([left.signal, ...(asked ? [asked] : [])])
  const search = content.search(id, peers, signal)
  const swarm = new Swarm({
    content: hashOfCid(id),
    links: content.ways(id, search),
    stall: STALL,
    onPeers: (addresses) => search.heard(addresses),
  })
  const end = (): void => {
    left.abort()
    search.stop()
  }
  try {
    const given = await content.manifest(id, signal)
    const random = (below: number): number => randomInt(below)
    const manifest = await wholeManifest({ id, signal, random, ...(given ? { manifest: given } : {}) }, swarm)
    return new OpenContent(manifest, swarm, signal, end)
  } catch (cause) {
    swarm.close()
    end()
    throw cause
  }
}

/** One file of what `target` leads to. Errors: those of a lookup and a search, entry_not_found, usage. */
export async function openRange(
  content: Content,
  target: string,
  asked: { start?: number; end?: number },
  { signal }: Job,
): Promise<RangeStream> {
  const found = await content.find(target, signal)
  const opened = await openContent(content, found, signal)
  try {
    const { entries, layout } = select(opened.manifest, found.entry)
    const [entry] = entries
    if (entry?.type !== 'file' || entries.length > 1) {
      throw new P2pnsError('usage', `${target} is a folder; name one file in it`)
    }
    const { start, end } = rangeIn(entry.size, asked)
    const [part] = layout.parts
    const share = content.sharing.shareOf(found.id)
    const bytes =
      (share && part && (await readHere(share, found.entry, { start, end }))) ??
      streamPart(opened.swarm, part as Part, { start, end }, opened.signal)
    return { cid: found.id, size: entry.size, start, end, bytes, close: async () => opened.close() }
  } catch (cause) {
    opened.close()
    throw cause
  }
}

/** A file that lies here unchanged needs no link. */
async function readHere(
  { files }: Share,
  path: string,
  { start, end }: { start: number; end: number },
): Promise<AsyncIterable<Uint8Array> | undefined> {
  const file = files.get(path)
  const stamp = file && (await fs.promises.stat(file.source, { bigint: true }).catch(() => undefined))
  if (!file || !stamp || !sameStamp(file.stamp, stamp) || start >= end) return undefined
  return fs.createReadStream(file.source, { start, end: end - 1, highWaterMark: 256 * 1024 })
}
