/** A datastore in front of another one. What a guard does not judge goes through as it is. */
import { BaseDatastore } from 'datastore-core'
import type { Datastore, Key, KeyQuery, Pair, Query } from 'interface-datastore'
import type { Bytes } from '../core/encoding.ts'

export class DatastoreGuard extends BaseDatastore {
  protected readonly inner: Datastore

  constructor(inner: Datastore) {
    super()
    this.inner = inner
  }

  override async put(key: Key, value: Bytes): Promise<Key> {
    return this.inner.put(key, value)
  }

  override async get(key: Key): Promise<Bytes> {
    return this.inner.get(key)
  }

  override async has(key: Key): Promise<boolean> {
    return this.inner.has(key)
  }

  override async delete(key: Key): Promise<void> {
    await this.inner.delete(key)
  }

  override async *query(query: Query): AsyncGenerator<Pair> {
    yield* this.inner.query(query)
  }

  override async *queryKeys(query: KeyQuery): AsyncGenerator<Key> {
    yield* this.inner.queryKeys(query)
  }
}
