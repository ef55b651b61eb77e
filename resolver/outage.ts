/** When those who could answer do not: how long somebody waits who can have a stale answer, and when nobody waits any more (RFC 8767). */

/** ms (RFC 8767 section 5). */
export const PATIENCE = 1_800
/** Questions in a row that nobody answered, before the network counts as gone. */
const GONE_AFTER = 3

/** Counts what was answered and what was not. */
export class Outage {
  #unanswered = 0

  /** Whether to wait for an answer makes no sense. */
  get gone(): boolean {
    return this.#unanswered >= GONE_AFTER
  }

  answered(): void {
    this.#unanswered = 0
  }

  unanswered(): void {
    this.#unanswered++
  }
}

/** What `asked` comes to, or undefined when that takes longer than `patience` ms. Rejects as it does. */
export async function inTime<T>(asked: Promise<T>, patience = PATIENCE): Promise<T | undefined> {
  const { promise: waited, resolve } = Promise.withResolvers<undefined>()
  const timer = setTimeout(() => resolve(undefined), patience)
  try {
    return await Promise.race([asked, waited])
  } finally {
    clearTimeout(timer)
  }
}
