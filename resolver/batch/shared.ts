/** Numbers that both threads see: places in an Int32Array. */
export const COUNTERS = { stop: 0, hits: 1, dropped: 2, misses: 3 } as const
export const COUNTERS_BYTES = 16

/** Datagrams that may wait for the main thread. */
export const MAX_MISSES = 4096
