/**
 * The datastore that libp2p writes DHT records to, with a guard in front. kad-dht overwrites what it stores without
 * asking its selector, so one replayed old record would roll a replica back; here an older one is refused. It also
 * removes expired records only when somebody reads them, and bounds neither their number nor keys without a validator;
 * here, when there is no room, the farthest goes.
 */
import { Libp2pRecord } from '@libp2p/record'
import { type Datastore, Key } from 'interface-datastore'
import { base32 } from 'multiformats/bases/base32'
import { type Bytes, equalBytes } from '../core/encoding.ts'
import { P2pnsError } from '../core/errors.ts'
import { checkRecord, compareRecords } from '../core/records.ts'
import { DatastoreGuard } from './datastore-guard.ts'
import { HeldRecords } from './held-records.ts'
import { keyedLocks } from './locks.ts'

const RECORDS = '/dht/record'
/** kad-dht serves a record for 48 h after it was received (its MAX_RECORD_AGE). */
const MAX_AGE_MS = 48 * 3600_000
/** Records, and bytes of all of them together: a usual one has some 300, one of 8 KiB counts for what it takes. */
export const RECORD_LIMITS = { count: 100_000, bytes: 256 * 1024 * 1024 }

/** Where kad-dht keeps the record of a DHT key: the last part is the unpadded base32 of the key. */
export function recordKey(key: Bytes): Key {
  return new Key(`${RECORDS}/${base32.baseEncode(key)}`, false)
}

export class RecordGuard extends DatastoreGuard {
  readonly #now: () => number
  readonly #limits: typeof RECORD_LIMITS
  readonly #held: HeldRecords
  /** One writer per key: reading what is held and replacing it is one step. */
  readonly #exclusive = keyedLocks()

  /** `position`: where this node stands among the keys, 32 bytes; records far from there go first. */
  constructor(inner: Datastore, now: () => number, position: Bytes, limits = RECORD_LIMITS) {
    super(inner)
    this.#now = now
    this.#held = new HeldRecords(position)
    this.#limits = limits
  }

  /** How many DHT records are held. */
  get records(): number {
    return this.#held.count
  }

  override async put(key: Key, value: Bytes): Promise<Key> {
    if (!isRecord(key)) return this.inner.put(key, value)
    await this.#exclusive(key.toString(), async () => {
      const incoming = Libp2pRecord.deserialize(value)
      if (recordKey(incoming.key).toString() !== key.toString()) {
        throw new P2pnsError('key_mismatch', 'A record was stored under a key that is not its own')
      }
      checkRecord(incoming.key, incoming.value, this.#now())
      const current = await this.#current(key)
      if (current !== undefined && compareRecords(incoming.key, incoming.value, current, this.#now()) < 0) {
        throw new P2pnsError('record_older', 'An older record was offered in place of a newer one')
      }
      // Bytes without a time would count as received in 1970 and be dropped at the first read.
      incoming.timeReceived = new Date(this.#now())
      const bytes = incoming.serialize()
      await this.inner.put(key, bytes)
      this.#held.set(key, bytes.length)
    })
    await this.#makeRoom(key)
    return key
  }

  /** What has just come stays, however far it is: kad-dht puts a record of its own node here before it sends it out. */
  async #makeRoom(kept: Key): Promise<void> {
    while (this.#held.count > this.#limits.count || this.#held.bytes > this.#limits.bytes) {
      const farthest = this.#held.farthest(kept)
      if (farthest === undefined) return
      await this.#exclusive(farthest.toString(), () => this.delete(farthest))
    }
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

  /** Drops what has expired or cannot be read and counts the rest; run at start and then hourly. */
  async sweep(): Promise<void> {
    for await (const { key, value } of this.inner.query({ prefix: RECORDS })) {
      if (this.#mayStay(key, value)) this.#held.set(key, value.length)
      else await this.delete(key)
    }
  }

  override async delete(key: Key): Promise<void> {
    this.#held.delete(key)
    await this.inner.delete(key)
  }

  #mayStay(key: Key, value: Bytes): boolean {
    try {
      const record = Libp2pRecord.deserialize(value)
      return recordKey(record.key).toString() === key.toString() && !this.#expired(record)
    } catch {
      return false
    }
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
    return (await this.inner.has(key)) ? this.inner.get(key) : undefined
  }

  #expired(record: Libp2pRecord): boolean {
    return this.#now() - record.timeReceived.getTime() > MAX_AGE_MS
  }
}

function isRecord(key: Key): boolean {
  return key.toString().startsWith(`${RECORDS}/`)
}
