/** Everything a node keeps, in one `level` database per home. An acknowledged write is on disk. */
import * as fs from 'node:fs/promises'
import * as path from 'node:path'
import { LevelDatastore } from 'datastore-level'
import type { Datastore, Key, Pair } from 'interface-datastore'
import { Level } from 'level'
import { isError, P2pnsError } from './core/errors.ts'
import { holdsDatabase } from './level-files.ts'

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
  await makeHome(home)
  const location = path.join(await fs.realpath(home), 'db')
  await keepPrivate(location)
  const db = await openLevel(location)
  const libp2p = db.sublevel<string, Uint8Array>('libp2p', { keyEncoding: 'utf8', valueEncoding: 'view' })
  const datastore = new PeerDatastore(libp2p as unknown as ConstructorParameters<typeof LevelDatastore>[0])
  await datastore.open()
  return {
    datastore,
    table<T>(name: string): Table<T> {
      const level = db.sublevel<string, T>(name, { keyEncoding: 'utf8', valueEncoding: 'json' })
      const failed = (cause: unknown) => storageError(cause, `The database ${location} failed`)
      const guarded = async <R>(work: Promise<R>): Promise<R> => {
        try {
          return await work
        } catch (cause) {
          throw failed(cause)
        }
      }
      return {
        get: (key) => guarded(level.get(key)),
        put: (key, value) => guarded(level.put(key, value, DURABLE)),
        delete: (key) => guarded(level.del(key, DURABLE)),
        async *entries() {
          try {
            yield* level.iterator()
          } catch (cause) {
            throw failed(cause)
          }
        },
        clear: () => guarded(level.clear()),
      }
    },
    async close() {
      await db.close()
      inUse.delete(location)
    },
  }
}

/** Whatever the mode of the home that a person made: who may not read the database learns nothing from it. */
async function keepPrivate(folder: string): Promise<void> {
  try {
    await fs.mkdir(folder, { mode: 0o700 }).catch((cause: NodeJS.ErrnoException) => {
      if (cause.code !== 'EEXIST') throw cause
    })
    await fs.chmod(folder, 0o700)
  } catch (cause) {
    throw storageError(cause, `The database ${folder} cannot be opened`)
  }
}

/** What this process has open: while leveldb refuses to open a database twice it lets go of its lock on the file. */
const inUse = new Set<string>()

async function openLevel(location: string): Promise<Level> {
  if (inUse.has(location)) throw new P2pnsError('db_locked', `The database ${location} is in use by this process`)
  inUse.add(location)
  try {
    // Looked at first: from its constructor on, level opens by itself.
    const db = new Level(location, { createIfMissing: !(await holdsDatabase(location)) })
    await db.open()
    return db
  } catch (cause) {
    inUse.delete(location)
    throw storageError(cause, `The database ${location} cannot be opened`)
  }
}

/** Fails with errors of ours where its own would reach a person: when it is read through at the start, and on a put. */
class PeerDatastore extends LevelDatastore {
  override async put(...args: Parameters<LevelDatastore['put']>): Promise<Key> {
    try {
      return await super.put(...args)
    } catch (cause) {
      throw storageError(cause, 'The database failed')
    }
  }

  override async *query(...args: Parameters<LevelDatastore['query']>): AsyncGenerator<Pair> {
    try {
      yield* super.query(...args)
    } catch (cause) {
      throw storageError(cause, 'The database failed')
    }
  }
}

/**
 * Makes the folder of a home, for its owner only. The last step is not recursive: where a folder cannot be made although
 * its parent is there, as in /proc, Node's recursive mkdir tries for ever.
 */
export async function makeHome(home: string): Promise<void> {
  try {
    await fs.mkdir(path.dirname(path.resolve(home)), { recursive: true, mode: 0o700 })
    await fs.mkdir(home, { mode: 0o700 })
  } catch (cause) {
    const isThere = await fs.stat(home).then(
      (found) => found.isDirectory(),
      () => false,
    )
    if (isThere) return
    throw storageError(cause, `The home ${home} cannot be made`)
  }
}

/** The error of ours that a failure of level or of the file system means; level wraps causes several deep. */
export function storageError(cause: unknown, what: string): P2pnsError {
  if (isError(cause)) return cause
  const texts: string[] = []
  let innermost = String(cause)
  for (let at: unknown = cause; at instanceof Error; at = at.cause) {
    innermost = at.message
    texts.push(`${(at as NodeJS.ErrnoException).code ?? ''} ${at.message}`)
  }
  const all = texts.join(' ')
  if (/ENOSPC|EDQUOT|No space left|quota exceeded/.test(all)) {
    return new P2pnsError('disk_full', `${what}: the disk is full`, { cause })
  }
  if (/LEVEL_LOCKED/.test(all)) return new P2pnsError('db_locked', `${what}: it is in use`, { cause })
  // A file that its database counts on and that is gone or empty is an I/O error to level.
  if (/LEVEL_CORRUPTION|Corruption: |LEVEL_DECODE_ERROR|LEVEL_IO_ERROR .*(No such file|Invalid argument)/.test(all)) {
    return new P2pnsError('db_corrupt', `${what}: it is damaged`, { cause })
  }
  return new P2pnsError('disk_error', `${what} (${innermost})`, { cause })
}
