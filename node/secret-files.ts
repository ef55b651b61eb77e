/**
 * A table of secrets that must be gone when they are deleted: one file each, mode 0600, in a folder of mode 0700. In
 * level a deleted value stays readable in its files until they are compacted.
 */
import { createHash, randomBytes } from 'node:crypto'
import * as fs from 'node:fs/promises'
import * as path from 'node:path'
import { storageError, type Table } from './store.ts'

export function secretTable<T>(folder: string): Table<T> {
  // A key may hold anything; its hash is a file name.
  const fileOf = (key: string) => path.join(folder, `${createHash('sha256').update(key).digest('hex')}.json`)
  const guarded = async <R>(work: () => Promise<R>): Promise<R> => {
    try {
      return await work()
    } catch (cause) {
      throw storageError(cause, `The folder ${folder} failed`)
    }
  }
  const read = async (file: string): Promise<[string, T] | undefined> => {
    const text = await fs.readFile(file, 'utf8').catch((cause: NodeJS.ErrnoException) => {
      if (cause.code === 'ENOENT') return undefined
      throw cause
    })
    return text === undefined ? undefined : (JSON.parse(text) as [string, T])
  }
  const list = async (): Promise<string[]> => {
    const names = await fs.readdir(folder).catch((cause: NodeJS.ErrnoException) => {
      if (cause.code === 'ENOENT') return []
      throw cause
    })
    return names.filter((name) => name.endsWith('.json')).map((name) => path.join(folder, name))
  }
  return {
    get: (key) => guarded(async () => (await read(fileOf(key)))?.[1]),
    put: (key, value) =>
      guarded(async () => {
        await fs.mkdir(folder, { recursive: true, mode: 0o700 })
        const fresh = `${fileOf(key)}.${randomBytes(8).toString('hex')}.new`
        await writeSynced(fresh, JSON.stringify([key, value]))
        await fs.rename(fresh, fileOf(key))
        await syncFolder(folder)
      }),
    delete: (key) =>
      guarded(async () => {
        await fs.rm(fileOf(key), { force: true })
      }),
    async *entries() {
      for (const file of await guarded(list)) {
        const row = await guarded(() => read(file))
        if (row !== undefined) yield row
      }
    },
    clear: () => guarded(() => fs.rm(folder, { recursive: true, force: true })),
  }
}

async function writeSynced(file: string, text: string): Promise<void> {
  await using handle = await fs.open(file, 'wx', 0o600)
  await handle.writeFile(text)
  await handle.sync()
}

async function syncFolder(folder: string): Promise<void> {
  await using handle = await fs.open(folder, 'r')
  await handle.sync()
}
