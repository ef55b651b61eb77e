/** A manifest, to look at, and to hold against what stands on this machine. */
import type { Job, ManifestView, Verified } from './contract.ts'
import { equalBytes, toHex } from './core/encoding.ts'
import { type SignedManifest, totals } from './core/manifest.ts'
import { keyNameOf } from './core/name.ts'
import { hashContent } from './files/share.ts'

/** Entries shown unless all are asked for, and paths named in a verdict. */
const SHOWN = 10_000
const NAMED = 1_000

/** The entries of `manifest` must be known. */
export function viewOf(manifest: SignedManifest, all: boolean): ManifestView {
  const { entries = [] } = manifest
  return {
    cid: manifest.id,
    publisher: keyNameOf(manifest.publisher),
    created: new Date(manifest.created * 1000).toISOString(),
    hint: manifest.hint,
    ...totals(entries),
    entries: (all ? entries : entries.slice(0, SHOWN)).map((entry) =>
      entry.type === 'file'
        ? { path: entry.path, type: 'file', size: entry.size, mode: entry.mode, root: toHex(entry.root) }
        : { path: entry.path, type: 'folder', size: 0, mode: entry.mode },
    ),
  }
}

/** Hashes what stands at `path` and holds it against `manifest`. Errors: file_missing, file_changed, disk_error, interrupted. */
export async function verifyAt(manifest: SignedManifest, path: string, job: Job): Promise<Verified> {
  const wanted = new Map((manifest.entries ?? []).map((entry) => [entry.path, entry]))
  const present = await hashContent(path, job)
  const changed: string[] = []
  const extra = [...present.skipped]
  for (const entry of present.entries) {
    const other = wanted.get(entry.path)
    wanted.delete(entry.path)
    if (!other) extra.push(entry.path)
    else if (other.type !== entry.type) changed.push(entry.path)
    else if (entry.type === 'file' && other.type === 'file' && !equalBytes(entry.root, other.root))
      changed.push(entry.path)
  }
  const missing = [...wanted.keys()]
  return {
    cid: manifest.id,
    path: present.path,
    ok: missing.length + changed.length + extra.length === 0,
    files: totals(manifest.entries ?? []).files,
    missing: missing.slice(0, NAMED),
    changed: changed.slice(0, NAMED),
    extra: extra.slice(0, NAMED),
  }
}
