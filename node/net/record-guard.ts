/**
 * The datastore that libp2p writes DHT records to, with a guard in front. kad-dht overwrites what it stores without
 * asking its selector, so one replayed old record would roll a replica back; here an older one is refused. It also
 * removes expired records only when somebody reads them, and bounds neither their number nor keys without a validator.
 */
import { Libp2pRecord } from '@libp2p/record'
import { BaseDatastore } from 'datastore-core'
import { type Datastore, Key, type KeyQuery, type Pair, type Query } from 'interface-datastore'
import { base32 } from 'multiformats/bases/base32'
import { type Bytes, equalBytes } from '../core/encoding.ts'
import { P2pnsError } from '../core/errors.ts'
import { checkRecord, compareRecords } from '../core/records.ts'
import { keyedLocks } from './locks.ts'

const RECORDS = '/dht/record'
/** kad-dht serves a record for 48 h after it was received (its MAX_RECORD_AGE). */
const MAX_AGE_MS = 48 * 3600_000
/** A zone record has some 300 bytes: this many are some 100 MB on disk at most in practice, 8 KiB each at worst. */
const MAX_RECORDS = 100_000

/** Where kad-dht keeps the record of a DHT key: the last part is the unpadded base32 of the key. */
export function recordKey(key: Bytes): Key {
  return new Key(`${RECORDS}/${base32.baseEncode(key)}`, false)
}

export class RecordGuard extends BaseDatastore {
  readonly #inner: Datastore
  readonly #now: () => number
  /** One writer per key: reading what is held and replacing it is one step. */
  readonly #exclusive = keyedLocks()
  #count = 0

  constructor(inner: Datastore, now: () => number) {
    super()
    this.#inner = inner
    this.#now = now
  }

  /** How many DHT records are held. */
  get records(): number {
    return this.#count
  }

  override async put(key: Key, value: Bytes): Promise<Key> {
    if (!isRecord(key)) return this.#inner.put(key, value)
    return this.#exclusive(key.toString(), async () => {
      const incoming = Libp2pRecord.deserialize(value)
      if (recordKey(incoming.key).toString() !== key.toString()) {
        throw new P2pnsError('key_mismatch', 'A record was stored under a key that is not its own')
      }
      checkRecord(incoming.key, incoming.value, this.#now())
      const current = await this.#current(key)
      if (current !== undefined && compareRecords(incoming.key, incoming.value, current, this.#now()) < 0) {
        throw new P2pnsError('record_older', 'An older record was offered in place of a newer one')
      }
      if (current === undefined) {
        if (this.#count >= MAX_RECORDS) throw new P2pnsError('too_large', 'This node holds as many records as it will')
        this.#count++
      }
      // Bytes without a time would count as received in 1970 and be dropped at the first read.
      incoming.timeReceived = new Date(this.#now())
      return this.#inner.put(key, incoming.serialize())
    })
  }

  /** The value held for a DHT key, if it is still valid. */
  async value(key: Bytes): Promise<Bytes | undefined> {
    const raw = await this.#raw(recordKey(key))
    if (raw === undefined) return undefined
    const record = Libp2pRecord.deserialize(raw)
    if (!equalBytes(record.key, key) || this.#expired(record)) return undefined
    try {
      checkRecord(key, record.value, this.#now())
      return record.value
    } catch {
      return undefined
    }
  }

  /** Stores a record that came by another way than the DHT, under the same rules. */
  async store(key: Bytes, value: Bytes): Promise<void> {
    await this.put(recordKey(key), new Libp2pRecord(key, value, new Date(this.#now())).serialize())
  }

  /** Drops what has expired and counts the rest; run at start and then hourly. */
  async sweep(): Promise<void> {
    let count = 0
    for await (const { key, value } of this.#inner.query({ prefix: RECORDS })) {
      let keep = false
      try {
        keep = !this.#expired(Libp2pRecord.deserialize(value))
      } catch {
        // Unreadable bytes are nobody's record.
      }
      if (keep) count++
      else await this.#inner.delete(key)
    }
    this.#count = count
  }

  override async get(key: Key): Promise<Bytes> {
    return this.#inner.get(key)
  }

  override async has(key: Key): Promise<boolean> {
    return this.#inner.has(key)
  }

  override async delete(key: Key): Promise<void> {
    if (isRecord(key) && (await this.#inner.has(key))) this.#count--
    await this.#inner.delete(key)
  }

  override async *query(query: Query): AsyncGenerator<Pair> {
    yield* this.#inner.query(query)
  }

  override async *queryKeys(query: KeyQuery): AsyncGenerator<Key> {
    yield* this.#inner.queryKeys(query)
  }

  /** What is held and may hold others off: not what cannot be read, nor what a clock that was ahead let in. */
  async #current(key: Key): Promise<Bytes | undefined> {
    const raw = await this.#raw(key)
    if (raw === undefined) return undefined
    try {
      const record = Libp2pRecord.deserialize(raw)
      checkRecord(record.key, record.value, this.#now())
      return record.value
    } catch {
      return undefined
    }
  }

  async #raw(key: Key): Promise<Bytes | undefined> {
    return (await this.#inner.has(key)) ? this.#inner.get(key) : undefined
  }

  #expired(record: Libp2pRecord): boolean {
    return this.#now() - record.timeReceived.getTime() > MAX_AGE_MS
  }
}

function isRecord(key: Key): boolean {
  return key.toString().startsWith(`${RECORDS}/`)
}
