/** One file or folder out of a content, as if it were all of it: paths start there, chunk numbers stay. */
import { P2pnsError } from '../core/errors.ts'
import type { Entry, SignedManifest } from '../core/manifest.ts'
import { Layout } from './layout.ts'

export interface Selection {
  /** What was selected, '' for everything. */
  entry: string
  entries: readonly Entry[]
  layout: Layout
}

/** Throws `entry_not_found`. The entries of `manifest` must be known. */
export function select(manifest: SignedManifest, wanted: string): Selection {
  const entry = wanted.normalize('NFC').replace(/^\/+|\/+$/g, '')
  const relative = (path: string): string | undefined => {
    if (entry === '' || path === entry) return path.slice(entry.length)
    return path.startsWith(`${entry}/`) ? path.slice(entry.length + 1) : undefined
  }
  const entries = (manifest.entries ?? []).flatMap((found) => {
    const path = relative(found.path)
    return path === undefined ? [] : [{ ...found, path }]
  })
  if (entries.length === 0) {
    throw new P2pnsError('entry_not_found', `the content has no entry ${JSON.stringify(entry.slice(0, 80))}`)
  }
  const parts = Layout.of(manifest).parts.flatMap((part) => {
    const path = part.path === undefined ? undefined : relative(part.path)
    return path === undefined ? [] : [{ ...part, path }]
  })
  return { entry, entries, layout: new Layout(parts) }
}
