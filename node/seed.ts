/** The master seed of a home: 32 bytes from which every key grows, in the file `seed` (hex, mode 0600). */
import * as fs from 'node:fs/promises'
import * as path from 'node:path'
import { P2pnsError } from './core/errors.ts'
import { storageError } from './store.ts'

/** Reads the seed, or makes one with `random` if the home has none; it is on disk before it is used. */
export async function loadSeed(home: string, random: (bytes: number) => Uint8Array): Promise<Uint8Array> {
  const file = path.join(home, 'seed')
  const text = await fs.readFile(file, 'utf8').catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'ENOENT') return undefined
    throw storageError(cause, `The seed ${file} cannot be read`)
  })
  if (text === undefined) return createSeed(home, file, random)
  if (!/^[0-9a-f]{64}\n?$/.test(text)) throw new P2pnsError('seed_unreadable', `${file} is not 64 hex digits`)
  return Buffer.from(text.trim(), 'hex')
}

/** Written beside and linked into place: a seed that exists is whole, and two starts at once agree on one. */
async function createSeed(home: string, file: string, random: (bytes: number) => Uint8Array): Promise<Uint8Array> {
  const fresh = `${file}.${process.pid}.new`
  try {
    await fs.mkdir(home, { recursive: true, mode: 0o700 })
    const handle = await fs.open(fresh, 'wx', 0o600)
    await handle.writeFile(`${Buffer.from(random(32)).toString('hex')}\n`)
    await handle.sync()
    await handle.close()
    await fs.link(fresh, file).catch((cause: NodeJS.ErrnoException) => {
      if (cause.code !== 'EEXIST') throw cause
    })
    const folder = await fs.open(home, 'r')
    await folder.sync()
    await folder.close()
  } catch (cause) {
    throw storageError(cause, `The seed ${file} cannot be written`)
  } finally {
    await fs.rm(fresh, { force: true })
  }
  return loadSeed(home, random)
}
