/** Tells the network what is served here, until somebody has heard it: a node may be alone when it begins, and messages get lost. */

export interface AnnouncerParts {
  /** Tells of a content once, by its CID; resolves to how many heard it. */
  provide: (id: string, signal: AbortSignal | undefined) => Promise<number>
  /** Whether it is still to be told of. */
  isServed: (id: string) => boolean
  /** Rejects when the node stops meanwhile. */
  pause: (ms: number) => Promise<void>
  stopped: AbortSignal
}

/** Milliseconds between two tries: at first, and at most. */
const FIRST_PAUSE = 2_000
const MAX_PAUSE = 300_000

export class Announcer {
  readonly #parts: AnnouncerParts
  /** CIDs of which nobody has heard yet. */
  readonly #untold = new Set<string>()

  constructor(parts: AnnouncerParts) {
    this.#parts = parts
  }

  /** Resolves after the first try, whatever came of it. Errors: interrupted. */
  async tell(id: string, signal?: AbortSignal): Promise<void> {
    if ((await this.#parts.provide(id, signal)) === 0) void this.#goOn(id)
  }

  async #goOn(id: string): Promise<void> {
    const { stopped, isServed, provide, pause } = this.#parts
    if (this.#untold.has(id)) return
    this.#untold.add(id)
    for (let [told, ms] = [0, FIRST_PAUSE]; told === 0; ms = Math.min(ms * 2, MAX_PAUSE)) {
      await pause(ms).catch(() => undefined)
      if (stopped.aborted || !isServed(id)) break
      told = await provide(id, stopped).catch(() => 0)
    }
    this.#untold.delete(id)
  }
}
