/**
 * The master seed of a home: 32 bytes from which every key grows, in the file `seed` (mode 0600): 64 hex digits, or these
 * locked with a passphrase. It is never replaced by another seed, only by another form of itself.
 */
import * as fs from 'node:fs/promises'
import * as path from 'node:path'
import { type Bytes, equalBytes, fromHex, toHex } from './core/encoding.ts'
import { isError, P2pnsError } from './core/errors.ts'
import { isSealed, seal, unseal } from './seal.ts'
import { makeHome, storageError } from './store.ts'

type Random = (bytes: number) => Bytes
/** Called only when the seed is locked. */
export type AskPassphrase = () => Promise<string>

/** Reads the seed, or makes one with `random` if the home has none; it is on disk before it is used. */
export async function loadSeed(home: string, random: Random, passphrase?: AskPassphrase): Promise<Bytes> {
  const file = seedFile(home)
  if ((await readIfThere(file)) === undefined) await createSeed(home, random)
  return readSeed(home, passphrase)
}

/** Errors: file_missing when the home has none, seed_locked, passphrase_wrong, seed_unreadable. */
export async function readSeed(home: string, passphrase?: AskPassphrase): Promise<Bytes> {
  const file = seedFile(home)
  return open(await readText(file), file, passphrase)
}

/** The file as it is, locked or not. */
export async function seedText(home: string): Promise<string> {
  return readText(seedFile(home))
}

/** Puts a seed into a home that has none; `text` as `seedText` gave it, locked or not. Errors: seed_exists, seed_unreadable. */
export async function importSeed(home: string, text: string, random: Random): Promise<void> {
  if (!isSealed(text)) parse(text, 'What is to be imported')
  if (!(await place(home, `${text.trim()}\n`, random)))
    throw new P2pnsError('seed_exists', `${home} has a seed already`)
}

/** Locks the seed with a passphrase: `file` holds either the one form or the other, whole, whenever this ends. */
export async function lockSeed(home: string, passphrase: string, random: Random, workFactor?: number): Promise<void> {
  const file = seedFile(home)
  const text = await readText(file)
  if (isSealed(text)) throw new P2pnsError('usage', `${file} is locked already`)
  const seed = parse(text, file)
  const sealed = await seal(text, passphrase, workFactor)
  // What cannot be opened again would be lost.
  if (!equalBytes(await open(sealed, file, async () => passphrase), seed)) {
    throw new P2pnsError('internal', `${file} does not come back from its locked form`)
  }
  await replace(file, sealed, random)
  await sweep(file)
}

/** The inverse of `lockSeed`. Errors: passphrase_wrong. */
export async function unlockSeed(home: string, passphrase: string, random: Random): Promise<void> {
  const file = seedFile(home)
  const text = await readText(file)
  if (!isSealed(text)) throw new P2pnsError('usage', `${file} is not locked`)
  const seed = await open(text, file, async () => passphrase)
  await replace(file, `${toHex(seed)}\n`, random)
}

function seedFile(home: string): string {
  return path.join(home, 'seed')
}

async function open(text: string, file: string, passphrase?: AskPassphrase): Promise<Bytes> {
  if (!isSealed(text)) return parse(text, file)
  if (passphrase === undefined) throw new P2pnsError('seed_locked', `${file} is locked with a passphrase`)
  // A seed that stands there in the clear is what an `unlockSeed` left that was killed half-way.
  await sweep(file)
  try {
    return parse(await unseal(text, await passphrase()), file)
  } catch (cause) {
    if (isError(cause, 'passphrase_wrong')) {
      throw new P2pnsError('passphrase_wrong', `The passphrase does not open ${file}`, { cause })
    }
    if (isError(cause, 'malformed')) throw new P2pnsError('seed_unreadable', `${file} is damaged`, { cause })
    throw cause
  }
}

function parse(text: string, what: string): Bytes {
  if (!/^[0-9a-f]{64}\n?$/.test(text)) throw new P2pnsError('seed_unreadable', `${what} is not 64 hex digits`)
  return fromHex(text.trim())
}

async function readText(file: string): Promise<string> {
  const text = await readIfThere(file)
  if (text !== undefined) return text
  const isLink = await fs.lstat(file).then(
    () => true,
    () => false,
  )
  if (isLink) throw new P2pnsError('seed_unreadable', `${file} is a link to a file that is not there`)
  throw new P2pnsError('file_missing', `${file} is not there: this home has no seed yet`)
}

async function readIfThere(file: string): Promise<string | undefined> {
  return fs.readFile(file, 'utf8').catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'ENOENT') return undefined
    throw storageError(cause, `The seed ${file} cannot be read`)
  })
}

async function createSeed(home: string, random: Random): Promise<void> {
  await place(home, `${toHex(random(32))}\n`, random)
}

/**
 * Written beside and linked into place: a seed that exists is whole, and two starts at once agree on one. False when there
 * was one already.
 */
async function place(home: string, text: string, random: Random): Promise<boolean> {
  const file = seedFile(home)
  const fresh = freshBeside(file, random)
  try {
    await makeHome(home)
    await writeDurably(fresh, text)
    const isPlaced = await fs.link(fresh, file).then(
      () => true,
      (cause: NodeJS.ErrnoException) => {
        if (cause.code !== 'EEXIST') throw cause
        return false
      },
    )
    await syncFolder(home)
    return isPlaced
  } catch (cause) {
    throw storageError(cause, `The seed ${file} cannot be written`)
  } finally {
    await fs.rm(fresh, { force: true })
  }
}

/** Written beside and renamed into place, where a link leads: at every moment the one form or the other is there, whole. */
async function replace(link: string, text: string, random: Random): Promise<void> {
  const file = await fs.realpath(link)
  const fresh = freshBeside(file, random)
  try {
    await writeDurably(fresh, text)
    await fs.rename(fresh, file)
    await syncFolder(path.dirname(file))
  } catch (cause) {
    throw storageError(cause, `The seed ${file} cannot be written`)
  } finally {
    await fs.rm(fresh, { force: true })
  }
}

function freshBeside(file: string, random: Random): string {
  return `${file}.${toHex(random(8))}.new`
}

/** Removes what a process that was killed had not yet put in place: it may be the seed in the clear. */
async function sweep(link: string): Promise<void> {
  const { dir, base } = path.parse(await fs.realpath(link))
  for (const name of await fs.readdir(dir)) {
    const isLeft = name.startsWith(`${base}.`) && /^\.[0-9a-f]{16}\.new$/.test(name.slice(base.length))
    if (isLeft) await fs.rm(path.join(dir, name), { force: true })
  }
}

async function writeDurably(file: string, text: string): Promise<void> {
  await using handle = await fs.open(file, 'wx', 0o600)
  await handle.writeFile(text)
  await handle.sync()
}

async function syncFolder(folder: string): Promise<void> {
  await using handle = await fs.open(folder, 'r')
  await handle.sync()
}
