/** A part of a content, as if it were all of it: paths start there, chunk numbers stay. */
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
/** Characters in a glob with its braces written out: no path has more. */
const MAX_GLOB = 1024

/**
 * `wanted`: a file or folder inside the content, '' for all of it, or a glob; what a glob selects keeps its place below the
 * folder that the glob names before its first wildcard (`docs/2026/*.md`: below `docs/2026`). `only`: globs relative to that;
 * what matches one of them, or is named by it, is selected, with the folders that it lies in. Throws `entry_not_found`, and
 * `usage` for a glob that is too long. The entries of `manifest` must be known.
 */
export function select(manifest: SignedManifest, wanted: string, only: readonly string[] = []): Selection {
  const asked = trimmed(wanted)
  const all = manifest.entries ?? []
  const isNamed = asked === '' || all.some((entry) => entry.path === asked)
  const { base, glob } = isNamed || !WILD.test(asked) ? { base: asked, glob: undefined } : splitGlob(asked)
  const globs = [...(glob === undefined ? [] : [glob]), ...only.map(trimmed)]
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

function trimmed(text: string): string {
  return text.normalize('NFC').replace(/^\/+|\/+$/g, '')
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
  const named = new Set(globs)
  const patterns = globs.flatMap(patternsOf)
  const chosen = new Set<string>()
  for (const { path } of entries) {
    if (path === '') continue
    if (chosen.has(parentOf(path)) || named.has(path) || patterns.some((pattern) => fits(path.split('/'), pattern)))
      chosen.add(path)
  }
  const needed = new Set(chosen)
  for (const inner of chosen) {
    for (let folder = parentOf(inner); !needed.has(folder); folder = parentOf(folder)) needed.add(folder)
  }
  return entries.filter((entry) => needed.has(entry.path))
}

/** A test for each item in a row; undefined stands for any number of items. */
type Pattern<Item> = readonly (((item: Item) => boolean) | undefined)[]

/**
 * The patterns of components that a path may fit: `*`, `?`, `[a-z]` and `[!a-z]` stay in one component, `**` is any number of
 * them, and `{a,b}` is either. Throws `usage` for a glob that is too long with its braces written out.
 */
function patternsOf(glob: string): Pattern<string>[] {
  const ways = [glob]
  for (let at = 0; at < ways.length; ) {
    const way = ways[at] as string
    // With the commas: a choice of nothing counts too, or a glob of 60 characters had a million ways.
    if (ways.join(',').length > MAX_GLOB) throw new P2pnsError('usage', `a glob has more than ${MAX_GLOB} characters`)
    const group = /\{([^{}]*,[^{}]*)\}/.exec(way)
    if (!group) at++
    else ways.splice(at, 1, ...(group[1] as string).split(',').map((choice) => way.replace(group[0], () => choice)))
  }
  return ways.map((way) => way.split('/').map((part) => (part === '**' ? undefined : nameTest(part))))
}

function nameTest(part: string): (name: string) => boolean {
  const tokens = part.match(/\*+|\[[!^]?[^\]]+\]|[^]/gu) ?? []
  const pattern = tokens.map((token) => (token.startsWith('*') ? undefined : charTest(token)))
  return (name) => fits(Array.from(name), pattern)
}

function charTest(token: string): (char: string) => boolean {
  if (token === '?') return () => true
  const [, not, set] = /^\[([!^]?)([^]+)\]$/.exec(token) ?? []
  if (set === undefined) return (char) => char === token
  const ranges = Array.from(set.matchAll(/([^])-([^])|[^]/gu), ([one, from = one, to = one]) => ({ from, to }))
  return (char) => ranges.some(({ from, to }) => from <= char && char <= to) === (not === '')
}

/**
 * The last "any number" takes as few items as it can, and one more whenever what comes after it fails. A glob may be a
 * stranger's: this never takes longer than one length times the other.
 */
function fits<Item>(items: readonly Item[], pattern: Pattern<Item>): boolean {
  let item = 0
  let at = 0
  let retry: { item: number; at: number } | undefined
  while (item < items.length) {
    if (at < pattern.length && pattern[at] === undefined) retry = { item, at: ++at }
    else if (pattern[at]?.(items[item] as Item)) {
      item++
      at++
    } else if (!retry) return false
    else {
      item = ++retry.item
      at = retry.at
    }
  }
  while (at < pattern.length && pattern[at] === undefined) at++
  return at === pattern.length
}
