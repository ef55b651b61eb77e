/** name -> record -> peers -> bytes of one file, in order: what `cat` and a gateway read from. */

import { randomInt } from 'node:crypto'
import * as fs from 'node:fs/promises'
import type { Multiaddr } from '@multiformats/multiaddr'
import type { Content } from './content.ts'
import type { Job, RangeStream } from './contract.ts'
import { P2pnsError } from './core/errors.ts'
import { hashOfCid, type SignedManifest } from './core/manifest.ts'
import { diskError } from './files/disk.ts'
import { wholeManifest } from './files/fetch.ts'
import type { Part } from './files/layout.ts'
import { select } from './files/select.ts'
import { type SharedFile, sameStamp } from './files/share.ts'
import { rangeIn, streamPart } from './files/stream.ts'
import { Swarm } from './files/swarm.ts'

const STALL = 20_000
/** Bytes of a file of this machine that are read at a time. */
const BLOCK = 256 * 1024

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
  if (![asked.start ?? 0, asked.end ?? 0].every(Number.isSafeInteger)) {
    throw new P2pnsError('usage', 'a range goes from one whole number of bytes to another')
  }
  const found = await content.find(target, signal)
  const file = content.sharing.shareOf(found.id)?.files.get(found.entry)
  if (file && (await isUnchanged(file))) {
    const size = Number(file.stamp.size)
    const range = rangeIn(size, asked)
    const bytes = readHere(file, range)
    return { cid: found.id, size, ...range, bytes, close: async () => void (await bytes.return(undefined)) }
  }
  const opened = await openContent(content, found, signal)
  try {
    const { entries, layout } = select(opened.manifest, found.entry)
    const [entry] = entries
    if (entry?.type !== 'file' || entries.length > 1) {
      throw new P2pnsError('usage', `${target} is a folder; name one file in it`)
    }
    const range = rangeIn(entry.size, asked)
    const [part] = layout.parts
    const bytes = streamPart(opened.swarm, part as Part, range, opened.signal)
    const close = async (): Promise<void> => {
      opened.close()
      await bytes.return(undefined)
    }
    return { cid: found.id, size: entry.size, ...range, bytes, close }
  } catch (cause) {
    opened.close()
    throw cause
  }
}

async function isUnchanged({ source, stamp }: SharedFile): Promise<boolean> {
  const now = await fs.stat(source, { bigint: true }).catch(() => undefined)
  return now !== undefined && sameStamp(stamp, now)
}

/** A file that lies here as it was shared needs no link. Throws `file_changed`, `disk_error`. */
async function* readHere(
  { source, stamp }: SharedFile,
  { start, end }: { start: number; end: number },
): AsyncGenerator<Uint8Array> {
  let handle: fs.FileHandle | undefined
  try {
    handle = await fs.open(source, fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW)
    for (let at = start; at < end; ) {
      const { bytesRead, buffer } = await handle.read(Buffer.allocUnsafe(Math.min(BLOCK, end - at)), 0, undefined, at)
      if (bytesRead === 0 || !sameStamp(stamp, await handle.stat({ bigint: true }))) {
        throw new P2pnsError('file_changed', `${source} changed after it was shared`)
      }
      yield buffer.subarray(0, bytesRead)
      at += bytesRead
    }
  } catch (cause) {
    throw diskError(cause, source)
  } finally {
    await handle?.close()
  }
}
