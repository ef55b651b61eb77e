/** A part of a content, as if it were all of it: paths start there, chunk numbers stay. */
import * as path from 'node:path'
import { P2pnsError } from '../core/errors.ts'
import type { Entry, SignedManifest } from '../core/manifest.ts'
import { parentOf } from '../core/path.ts'
import { Layout } from './layout.ts'

export interface Selection {
  /** What was selected, as one text that no other selection has; '' for everything. */
  key: string
  /** The path of one file or folder that was named, '' for none. */
  entry: string
  entries: readonly Entry[]
  layout: Layout
}

const WILD = /[*?[{]/

/**
 * `wanted`: a file or folder inside the content, '' for all of it, or a glob; what a glob selects keeps its place below the
 * folder that the glob names before its first wildcard (`docs/2026/*.md`: below `docs/2026`). `only`: globs relative to that;
 * what matches one of them is selected, with the folders that it lies in. Throws `entry_not_found`. The entries
 * of `manifest` must be known.
 */
export function select(manifest: SignedManifest, wanted: string, only: readonly string[] = []): Selection {
  const asked = wanted.normalize('NFC').replace(/^\/+|\/+$/g, '')
  const all = manifest.entries ?? []
  const isNamed = asked === '' || all.some((entry) => entry.path === asked)
  const { base, glob } = isNamed || !WILD.test(asked) ? { base: asked, glob: undefined } : splitGlob(asked)
  const globs = [
    ...(glob === undefined ? [] : [glob]),
    ...only.map((text) => text.normalize('NFC').replace(/^\/+/, '')),
  ]
  const below = all.flatMap((found): Entry[] => {
    const inner = relative(base, found.path)
    return inner === undefined ? [] : [{ ...found, path: inner }]
  })
  const entries = globs.length === 0 ? below : matching(below, globs)
  if (!entries.some(({ type, path }) => type === 'file' || globs.length === 0 || path !== '')) {
    const what =
      globs.length > 0 ? `nothing that matches ${globs.join(' or ')}` : `no entry ${JSON.stringify(asked.slice(0, 80))}`
    throw new P2pnsError('entry_not_found', `the content has ${what}`)
  }
  const chosen = new Set(entries.map((entry) => entry.path))
  const parts = Layout.of(manifest).parts.flatMap((part) => {
    const inner = part.path === undefined ? undefined : relative(base, part.path)
    return inner !== undefined && chosen.has(inner) ? [{ ...part, path: inner }] : []
  })
  const key = globs.length === 0 ? base : JSON.stringify([base, ...globs.toSorted()])
  return { key, entry: base, entries, layout: new Layout(parts) }
}

/** `path` as seen from `base`; undefined when it is not below it. */
function relative(base: string, found: string): string | undefined {
  if (base === '' || found === base) return found.slice(base.length)
  return found.startsWith(`${base}/`) ? found.slice(base.length + 1) : undefined
}

/** The folders before the first component with a wildcard, and the rest. */
function splitGlob(text: string): { base: string; glob: string } {
  const parts = text.split('/')
  const first = parts.findIndex((part) => WILD.test(part))
  return { base: parts.slice(0, first).join('/'), glob: parts.slice(first).join('/') }
}

/** What matches, and the folders that lead there. A folder that matches comes with what is in it. */
function matching(entries: readonly Entry[], globs: readonly string[]): Entry[] {
  const chosen = new Set<string>()
  for (const entry of entries) {
    const { path: inner } = entry
    if (inner === '') continue
    if (!chosen.has(parentOf(inner)) && !globs.some((glob) => path.posix.matchesGlob(inner, glob))) continue
    chosen.add(inner)
  }
  const needed = new Set(chosen)
  for (const inner of chosen) {
    for (let folder = parentOf(inner); !needed.has(folder); folder = parentOf(folder)) needed.add(folder)
  }
  return entries.filter((entry) => needed.has(entry.path))
}
