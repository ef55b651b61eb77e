/** The folder that the demo shares, and the proof that what arrived is the same. */
import { createHash, randomBytes } from 'node:crypto'
import { createReadStream } from 'node:fs'
import * as fs from 'node:fs/promises'
import * as path from 'node:path'
import { pipeline } from 'node:stream/promises'

/** Path inside the folder, with `/`, to the SHA-256 of the file in hex. */
export type Hashes = Map<string, string>

const MEGABYTE = 1_000_000

/** Several files, nested, an empty one, and one of 20 MB that nobody can have seen before. */
export async function makeSample(folder: string): Promise<Hashes> {
  const files: Record<string, Uint8Array | string> = {
    'hello.txt': 'Fetched by name, straight from the machine that has it.\n',
    'notes/empty.txt': '',
    'notes/list.txt': Array.from({ length: 1000 }, (_, i) => `line ${i + 1}\n`).join(''),
    'photos/2026/small.raw': randomBytes(300_000),
    'photos/2026/large.raw': randomBytes(20 * MEGABYTE),
  }
  for (const [name, content] of Object.entries(files)) {
    const file = path.join(folder, name)
    await fs.mkdir(path.dirname(file), { recursive: true })
    await fs.writeFile(file, content)
  }
  return hashFolder(folder)
}

export async function hashFolder(folder: string): Promise<Hashes> {
  const hashes: Hashes = new Map()
  for (const entry of await fs.readdir(folder, { recursive: true, withFileTypes: true })) {
    if (entry.isDirectory()) continue
    const file = path.join(entry.parentPath, entry.name)
    const hash = createHash('sha256')
    await pipeline(createReadStream(file), hash)
    hashes.set(path.relative(folder, file).split(path.sep).join('/'), hash.digest('hex'))
  }
  return hashes
}

/** The paths at which the two differ: missing, extra or with other content. */
export function differences(expected: Hashes, found: Hashes): string[] {
  const paths = new Set([...expected.keys(), ...found.keys()])
  return [...paths].filter((file) => expected.get(file) !== found.get(file)).sort()
}
