import assert from 'node:assert/strict'
import * as path from 'node:path'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { isError } from '../../node/core/errors.ts'
import { type Entry, type SignedManifest, signManifest } from '../../node/core/manifest.ts'
import { CHUNK_SIZE, EMPTY_ROOT, leavesOf, rootOf } from '../../node/core/tree.ts'
import { Layout } from '../../node/files/layout.ts'
import { select } from '../../node/files/select.ts'
import { bytesOf, pair } from './rig.ts'

/** A folder with these files, all of `size` bytes, and the folders that they lie in. */
function folderOf(files: readonly string[], size = 0): SignedManifest {
  const root = size === 0 ? EMPTY_ROOT : rootOf(leavesOf(bytesOf(size)))
  const above = files.flatMap((file) => file.split('/').map((_, depth, parts) => parts.slice(0, depth).join('/')))
  const folders = [...new Set(['', ...above])].map((path): Entry => ({ type: 'folder', path, mode: 0o755 }))
  const entries = files.map((path): Entry => ({ type: 'file', path, size, root, mode: 0o644 }))
  return signManifest(pair, { created: 1_800_000_000, hint: 'x', entries: [...folders, ...entries] })
}

/** The files among what is selected. */
function filesOf(manifest: SignedManifest, wanted: string, only?: readonly string[]): string[] {
  return select(manifest, wanted, only).entries.flatMap((entry) => (entry.type === 'file' ? [entry.path] : []))
}

/** As `filesOf`, with nothing for what selects nothing. */
function filesOrNone(manifest: SignedManifest, only: readonly string[]): string[] {
  try {
    return filesOf(manifest, '', only)
  } catch (cause) {
    if (isError(cause, 'entry_not_found')) return []
    throw cause
  }
}

const SITE = folderOf([
  'a.md',
  'b.txt',
  'docs/2025/x.md',
  'docs/2026/deep/y.md',
  'docs/2026/x.md',
  'docs/2026/x.txt',
  'docs-old/z.md',
])

test('a glob selects what it matches, and each wildcard stays where it belongs', () => {
  for (const [glob, files] of [
    ['*.md', ['a.md']],
    ['?.*', ['a.md', 'b.txt']],
    ['**/*.md', ['a.md', 'docs-old/z.md', 'docs/2025/x.md', 'docs/2026/deep/y.md', 'docs/2026/x.md']],
    ['docs/**/y.md', ['docs/2026/deep/y.md']],
    ['docs/*/x.{md,txt}', ['docs/2025/x.md', 'docs/2026/x.md', 'docs/2026/x.txt']],
    ['{a,docs/2025/{w,x}}.md', ['a.md', 'docs/2025/x.md']],
    ['[ab].*', ['a.md', 'b.txt']],
    ['[b-z].*', ['b.txt']],
    ['[!a].*', ['b.txt']],
    ['[^a].*', ['b.txt']],
    ['docs-*', ['docs-old/z.md']],
    ['docs/2025', ['docs/2025/x.md']],
    ['**', SITE.entries?.flatMap(({ type, path }) => (type === 'file' ? [path] : []))],
  ] as [string, string[]][]) {
    assert.deepEqual(filesOrNone(SITE, [glob]), files, glob)
  }
})

test('what a glob selects lies below the folder that it names first, with the folders between and no others', () => {
  const paths = (wanted: string) => select(SITE, wanted).entries.map((entry) => entry.path)
  assert.deepEqual(paths('docs/2026/*.md'), ['', 'x.md'])
  assert.deepEqual(paths('docs/*/*.txt'), ['', '2026', '2026/x.txt'])
  assert.deepEqual(paths('/docs/20?6/deep/'), ['', '2026', '2026/deep', '2026/deep/y.md'])
})

test('several globs are either, and narrow what was named, relative to it', () => {
  assert.deepEqual(filesOf(SITE, '', ['*.txt', 'docs/2025/*']), ['b.txt', 'docs/2025/x.md'])
  assert.deepEqual(filesOf(SITE, 'docs', ['2026/*.md', '2025']), ['2025/x.md', '2026/x.md'])
  assert.throws(() => select(SITE, 'docs', ['docs/**']), { code: 'entry_not_found' })
})

test('what selects nothing is not found, whether a name or a glob', () => {
  for (const [wanted, only] of [
    ['doc', []],
    ['docs/none', []],
    ['docs/*.md', []],
    ['a.md/*', []],
    ['', ['*.pdf']],
  ] as [string, string[]][]) {
    assert.throws(() => select(SITE, wanted, only), { code: 'entry_not_found' }, `${wanted} ${only.join()}`)
  }
})

test('a name with wildcards in it is found by that name before it is a glob', () => {
  const odd = folderOf(['[x].md', 'a*b', 'axb', 'x.md'])
  assert.deepEqual(select(odd, 'a*b').entry, 'a*b')
  assert.deepEqual(filesOf(odd, 'a*b'), [''])
  assert.deepEqual(filesOf(odd, '', ['[x].md']), ['[x].md', 'x.md'])
  assert.deepEqual(filesOf(odd, '[w-x].md'), ['x.md'])
})

test('a name or a glob in another Unicode form, or with characters beyond 16 bits, finds what it means', () => {
  const names = folderOf(['Gr\u00fc\u00dfe/caf\u00e9.txt', 'x\u{1f600}y'])
  assert.deepEqual(filesOf(names, 'Gru\u0308\u00dfe/cafe\u0301.txt'), [''])
  assert.deepEqual(filesOf(names, '', ['*/caf?.txt']), ['Gr\u00fc\u00dfe/caf\u00e9.txt'])
  assert.deepEqual(filesOf(names, '', ['*/cafe\u0301.*']), ['Gr\u00fc\u00dfe/caf\u00e9.txt'])
  assert.deepEqual(filesOf(names, '', ['x?y']), ['x\u{1f600}y'])
  assert.deepEqual(filesOf(names, '', ['x[\u{1f5ff}-\u{1f601}]y']), ['x\u{1f600}y'])
})

test('chunks keep the numbers that they have in the whole', () => {
  const manifest = folderOf(['a', 'b/c', 'b/d', 'e'], CHUNK_SIZE * 3)
  const numbers = ({ parts }: Layout) => parts.map(({ path, first, count }) => ({ path, first, count }))
  assert.deepEqual(numbers(select(manifest, 'b').layout), [
    { path: 'c', first: 3, count: 3 },
    { path: 'd', first: 6, count: 3 },
  ])
  assert.deepEqual(numbers(select(manifest, '').layout), numbers(Layout.of(manifest)))
})

test('two selections have one key only if they are of the same', () => {
  const keys = [
    select(SITE, ''),
    select(SITE, 'docs'),
    select(SITE, 'docs/*'),
    select(SITE, '', ['docs']),
    select(SITE, '', ['docs/*']),
    select(SITE, '', ['a.md', 'b.txt']),
    select(SITE, '', ['{a.md,b.txt}']),
  ].map(({ key }) => key)
  assert.equal(new Set(keys).size, keys.length)
  assert.equal(keys[0], '')
  assert.equal(select(SITE, '/docs/').key, select(SITE, 'docs').key)
  assert.equal(select(SITE, '', ['b.txt', 'a.md']).key, select(SITE, '', ['a.md', 'b.txt']).key)
})

const COMPONENT = fc
  .array(fc.constantFrom('a', 'b', 'c', '-'), { minLength: 1, maxLength: 4 })
  .map((one) => one.join(''))
const WILD_COMPONENT = fc
  .array(fc.constantFrom('a', 'b', 'c', '*', '?', '[ab]', '[!a]', '[a-b]', '{a,bc}'), { minLength: 1, maxLength: 4 })
  .map((one) => one.join('').replace(/\*+/g, '*'))
const GLOB = fc
  .tuple(fc.array(fc.oneof(WILD_COMPONENT, fc.constant('**')), { maxLength: 3 }), WILD_COMPONENT)
  .map(([before, last]) => [...before, last].join('/'))

test('a file is selected when a usual glob matcher matches it, or a folder that it lies in', () => {
  fc.assert(
    fc.property(fc.array(COMPONENT, { minLength: 1, maxLength: 4 }), GLOB, (parts, glob) => {
      const file = parts.join('/')
      const matches = parts.some((_, depth) => path.posix.matchesGlob(parts.slice(0, depth + 1).join('/'), glob))
      assert.deepEqual(filesOrNone(folderOf([file]), [glob]), matches ? [file] : [])
    }),
    { numRuns: 1000, seed: 1 },
  )
})

test('a glob made to take for ever takes no time', () => {
  const long = Array.from({ length: 4 }, () => 'a'.repeat(250)).join('/')
  const deep = Array.from({ length: 500 }, () => 'a').join('/')
  const manifest = folderOf([long, deep])
  const started = performance.now()
  for (const glob of [
    '*a'.repeat(500) + 'b',
    '**/a/'.repeat(200) + 'b',
    `${'**/*a*a*a*a*/'.repeat(70)}b`,
    '['.repeat(1000),
    '{'.repeat(1000),
    `${'{'.repeat(200)},${'}'.repeat(200)}b`,
    '[a-'.repeat(300),
  ]) {
    assert.deepEqual(filesOrNone(manifest, [glob]), [], glob.slice(0, 20))
  }
  assert.ok(performance.now() - started < 5000)
})

test('a glob whose braces stand for too much is refused, also when each choice is nothing', () => {
  for (const glob of ['{a,b}'.repeat(30), '{,}'.repeat(22), `{${','.repeat(1000)}}`.repeat(2), '*'.repeat(1025)]) {
    assert.throws(() => select(SITE, '', [glob]), { code: 'usage' }, glob.slice(0, 20))
  }
  assert.deepEqual(filesOrNone(SITE, ['{a,b,c}{.md,.txt}']), ['a.md', 'b.txt'])
})
