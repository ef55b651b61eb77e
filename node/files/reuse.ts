/**
 * What this machine has already under the same root is copied, not fetched: by reference where the file system can, else
 * byte by byte. Never by hard link: an edit of one file would change the other. What was copied is marked as
 * it would be after a download, and like after a download that was stopped it is hashed before it is trusted.
 */
import * as fs from 'node:fs/promises'
import { toHex } from '../core/encoding.ts'
import type { Entry } from '../core/manifest.ts'
import { MAX_SPAN, verifySpan } from '../core/tree.ts'
import { guardedPath, withFile } from './disk.ts'
import { Layout, type Part, spanIn } from './layout.ts'
import { MapShape, proofBytes } from './map.ts'
import { type Share, type SharedFile, sameStamp } from './share.ts'
import { ShareSource } from './share-source.ts'
import type { Target } from './target.ts'

const { COPYFILE_EXCL, COPYFILE_FICLONE, O_RDWR } = fs.constants

interface Known {
  share: Share
  file: SharedFile
  part: Part
}

/** Copies files of `previous` that are unchanged into the target's `.part`. Whatever cannot be copied is left to be fetched. */
export async function reuseLocal(
  target: Target,
  layout: Layout,
  previous: readonly Share[],
  signal: AbortSignal,
): Promise<number> {
  const known = byRoot(previous, layout)
  const sources = new Map<Share, ShareSource>()
  let copied = 0
  for (const part of layout.parts) {
    const same = signal.aborted ? undefined : await unchanged(known.get(keyOf(part)))
    if (!same) continue
    const source = sources.get(same.share) ?? new ShareSource(same.share)
    sources.set(same.share, source)
    const done = await copy(target, layout, part, same, source).catch(() => false)
    if (done) copied++
  }
  for (const source of sources.values()) source.close()
  return copied
}

function keyOf({ root, size }: { root: Uint8Array; size: number }): string {
  return `${toHex(root)} ${size}`
}

/** Only those that are wanted: a home may share a million files. */
function byRoot(previous: readonly Share[], layout: Layout): Map<string, Known[]> {
  const wanted = new Set(layout.parts.filter(({ count }) => count > 0).map(keyOf))
  const known = new Map<string, Known[]>()
  for (const share of previous) {
    if (!(share.manifest.entries ?? []).some((entry: Entry) => entry.type === 'file' && wanted.has(keyOf(entry))))
      continue
    for (const part of Layout.of(share.manifest).parts) {
      const file = part.path === undefined ? undefined : share.files.get(part.path)
      const key = keyOf(part)
      if (file && wanted.has(key)) known.set(key, [...(known.get(key) ?? []), { share, file, part }])
    }
  }
  return known
}

/** The first that nobody touched since it was hashed. */
async function unchanged(places: readonly Known[] = []): Promise<Known | undefined> {
  for (const place of places) {
    const stat = await fs.stat(place.file.source, { bigint: true }).catch(() => undefined)
    if (stat && sameStamp(place.file.stamp, stat)) return place
  }
  return undefined
}

async function copy(
  target: Target,
  layout: Layout,
  part: Part,
  { file, part: old }: Known,
  source: ShareSource,
): Promise<boolean> {
  const place = guardedPath(target.part, part.path ?? '')
  await fs.copyFile(file.source, place, COPYFILE_EXCL | COPYFILE_FICLONE)
  await fs.chmod(place, 0o600)
  const shape = new MapShape(layout)
  await withFile(target.map, O_RDWR, async (map) => {
    for (let first = 0; first < part.count && part.count > 1; first += MAX_SPAN) {
      const { span, start } = spanIn(part, part.first + first)
      const { leaves, uncles } = await source.prove(old, first, span.count)
      if (!verifySpan(part.root, span, leaves, uncles)) throw new Error('the kept leaves are wrong')
      await map.write(leaves, 0, leaves.length, shape.leafOffset(start))
      const proof = proofBytes(uncles)
      await map.write(proof, 0, proof.length, shape.proofOffset(part, start))
    }
    await map.write(new Uint8Array(part.count).fill(1), 0, part.count, shape.markOffset(part.first))
  })
  return true
}
