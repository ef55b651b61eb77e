/** A table in memory, as the store makes them on disk. */
import type { Table } from '../../node/store.ts'

export function memoryTable<T>(): Table<T> {
  const rows = new Map<string, T>()
  return {
    get: async (key) => structuredClone(rows.get(key)),
    put: async (key, value) => void rows.set(key, structuredClone(value)),
    delete: async (key) => void rows.delete(key),
    async *entries() {
      yield* rows
    },
    clear: async () => rows.clear(),
  }
}
