/** One at a time per key: work on the same key waits its turn, work on others does not. */
import { Mutex } from 'async-mutex'

export function keyedLocks(): <T>(key: string, work: () => Promise<T>) => Promise<T> {
  const locks = new Map<string, Mutex>()
  return async (key, work) => {
    const lock = locks.get(key) ?? new Mutex()
    locks.set(key, lock)
    const release = await lock.acquire()
    try {
      return await work()
    } finally {
      release()
      if (!lock.isLocked()) locks.delete(key)
    }
  }
}
