/** Imports run one way (docs/design.md, The house): each folder names what it may import of ours. */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import * as path from 'node:path'
import { test } from 'node:test'

const ROOT = path.join(import.meta.dirname, '..')

/** The first that matches counts. A home (its seed and its store) is what a node and an introducer have in common. */
const MAY_IMPORT: [folder: string, allowed: string[]][] = [
  ['node/core', ['node/core']],
  ['node/net', ['node/core', 'node/net']],
  ['node', ['node']],
  ['introducer', ['introducer', 'node/core', 'node/net', 'node/seed.ts', 'node/store.ts']],
  ['resolver', ['resolver', 'node/core']],
  ['cli', ['cli', 'node', 'introducer', 'resolver']],
]

/** Pure: what a core file may import from Node is what needs no clock, no socket and no disk. */
const CORE_BUILTINS = new Set(['node:crypto', 'node:net'])

function sourcesIn(folder: string): string[] {
  return readdirSync(path.join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .map((file) => path.posix.join(folder, file.split(path.sep).join('/')))
}

function importsOf(file: string): string[] {
  const text = readFileSync(path.join(ROOT, file), 'utf8')
  return [...text.matchAll(/(?:\bfrom|\bimport)\s*\(?\s*'([^']+)'/g)].map((match) => match[1] as string)
}

const sources = ['node', 'introducer', 'resolver', 'cli'].flatMap(sourcesIn)

test('every import of ours runs one way', () => {
  assert.ok(sources.length > 50)
  const wrong: string[] = []
  for (const file of sources) {
    const [, allowed] = MAY_IMPORT.find(([folder]) => file.startsWith(`${folder}/`)) ?? ['', []]
    for (const specifier of importsOf(file).filter((name) => name.startsWith('.'))) {
      const target = path.posix.join(path.posix.dirname(file), specifier)
      const isAllowed = allowed.some((place) => target === place || target.startsWith(`${place}/`))
      if (!isAllowed) wrong.push(`${file} imports ${target}`)
    }
  }
  assert.deepEqual(wrong, [])
})

test('the core does no I/O, knows no clock and no libp2p', () => {
  const wrong: string[] = []
  for (const file of sources.filter((name) => name.startsWith('node/core/'))) {
    for (const name of importsOf(file)) {
      if (name.startsWith('node:') && !CORE_BUILTINS.has(name)) wrong.push(`${file} imports ${name}`)
      if (/libp2p|level|fastify|commander/.test(name)) wrong.push(`${file} imports ${name}`)
    }
    const text = readFileSync(path.join(ROOT, file), 'utf8')
    if (/Date\.now|new Date\(\)|Math\.random|randomBytes|setTimeout|createConnection|createServer/.test(text)) {
      wrong.push(`${file} has a clock, randomness or a socket of its own`)
    }
  }
  assert.deepEqual(wrong, [])
})

test('a file is one idea: none has more than 400 lines, few more than 300', () => {
  const lengths = sources.map((file) => [file, readFileSync(path.join(ROOT, file), 'utf8').split('\n').length] as const)
  assert.deepEqual(
    lengths.filter(([, lines]) => lines > 400).map(([file]) => file),
    [],
  )
  assert.ok(lengths.filter(([, lines]) => lines > 300).length <= 3)
})

test('the version in the source is that of the package', async () => {
  const manifest = JSON.parse(readFileSync(path.join(ROOT, 'package.json'), 'utf8')) as { version: string }
  const { VERSION } = await import('../node/version.ts')
  assert.equal(VERSION, manifest.version)
})
