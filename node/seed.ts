/** The master seed of a home: 32 bytes from which every key grows, in the file `seed` (hex, mode 0600). */
import * as fs from 'node:fs/promises'
import * as path from 'node:path'
import { P2pnsError } from './core/errors.ts'
import { makeHome, storageError } from './store.ts'

type Random = (bytes: number) => Uint8Array

/** Reads the seed, or makes one with `random` if the home has none; it is on disk before it is used. */
export async function loadSeed(home: string, random: Random): Promise<Uint8Array> {
  const file = path.join(home, 'seed')
  let text = await readIfThere(file)
  if (text === undefined) {
    await createSeed(home, file, random)
    text = await readIfThere(file)
  }
  if (text === undefined) throw new P2pnsError('seed_unreadable', `${file} is a link to a file that is not there`)
  if (!/^[0-9a-f]{64}\n?$/.test(text)) throw new P2pnsError('seed_unreadable', `${file} is not 64 hex digits`)
  return Buffer.from(text.trim(), 'hex')
}

async function readIfThere(file: string): Promise<string | undefined> {
  return fs.readFile(file, 'utf8').catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'ENOENT') return undefined
    throw storageError(cause, `The seed ${file} cannot be read`)
  })
}

/** Written beside and linked into place: a seed that exists is whole, and two starts at once agree on one. */
async function createSeed(home: string, file: string, random: Random): Promise<void> {
  const fresh = `${file}.${hex(random(8))}.new`
  try {
    await makeHome(home)
    await writeDurably(fresh, `${hex(random(32))}\n`)
    await fs.link(fresh, file).catch((cause: NodeJS.ErrnoException) => {
      if (cause.code !== 'EEXIST') throw cause
    })
    await using folder = await fs.open(home, 'r')
    await folder.sync()
  } catch (cause) {
    throw storageError(cause, `The seed ${file} cannot be written`)
  } finally {
    await fs.rm(fresh, { force: true })
  }
}

async function writeDurably(file: string, text: string): Promise<void> {
  await using handle = await fs.open(file, 'wx', 0o600)
  await handle.writeFile(text)
  await handle.sync()
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}
