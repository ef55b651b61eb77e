/** Everything a node keeps, in one `level` database per home. An acknowledged write is on disk. */
import * as fs from 'node:fs/promises'
import * as path from 'node:path'
import { LevelDatastore } from 'datastore-level'
import type { Datastore } from 'interface-datastore'
import { Level } from 'level'
import { P2pnsError } from './core/errors.ts'

/** A named table of JSON values. */
export interface Table<T> {
  get(key: string): Promise<T | undefined>
  put(key: string, value: T): Promise<void>
  delete(key: string): Promise<void>
  entries(): AsyncIterable<[string, T]>
  clear(): Promise<void>
}

export interface Store {
  /** What libp2p keeps: peers, DHT records, provider records. */
  datastore: Datastore
  table<T>(name: string): Table<T>
  close(): Promise<void>
}

/** level answers before the write is on disk unless told otherwise. */
const DURABLE = { sync: true } as object

export async function openStore(home: string): Promise<Store> {
  const location = path.join(home, 'db')
  await fs.mkdir(home, { recursive: true, mode: 0o700 }).catch((cause: unknown) => {
    throw storageError(cause, `The home ${home} cannot be made`)
  })
  const db = new Level(location)
  try {
    await db.open()
  } catch (cause) {
    throw storageError(cause, `The database ${location} cannot be opened`)
  }
  const libp2p = db.sublevel<string, Uint8Array>('libp2p', { keyEncoding: 'utf8', valueEncoding: 'view' })
  const datastore = new LevelDatastore(libp2p as unknown as ConstructorParameters<typeof LevelDatastore>[0])
  await datastore.open()
  return {
    datastore,
    table<T>(name: string): Table<T> {
      const level = db.sublevel<string, T>(name, { keyEncoding: 'utf8', valueEncoding: 'json' })
      const guarded = async <R>(work: Promise<R>): Promise<R> => {
        try {
          return await work
        } catch (cause) {
          throw storageError(cause, `The database ${location} failed`)
        }
      }
      return {
        get: (key) => guarded(level.get(key)),
        put: (key, value) => guarded(level.put(key, value, DURABLE)),
        delete: (key) => guarded(level.del(key, DURABLE)),
        entries: () => level.iterator(),
        clear: () => guarded(level.clear()),
      }
    },
    close: () => db.close(),
  }
}

/** The error of ours that a failure of level or of the file system means; level wraps causes several deep. */
export function storageError(cause: unknown, what: string): P2pnsError {
  const texts: string[] = []
  for (let at: unknown = cause; at instanceof Error; at = at.cause) {
    texts.push(`${(at as NodeJS.ErrnoException).code ?? ''} ${at.message}`)
  }
  const all = texts.join(' ')
  if (/ENOSPC|No space left/.test(all)) return new P2pnsError('disk_full', `${what}: the disk is full`, { cause })
  if (/LEVEL_LOCKED|\block\b/.test(all)) return new P2pnsError('db_locked', `${what}: it is in use`, { cause })
  if (/LEVEL_CORRUPTION|Corruption|corrupted|missing files|does not exist|bad block|checksum/i.test(all)) {
    return new P2pnsError('db_corrupt', `${what}: it is damaged`, { cause })
  }
  return new P2pnsError('disk_error', `${what} (${texts.at(-1)?.trim() ?? String(cause)})`, { cause })
}
