/** The chunks of a fetch onto the disk: what an earlier try left, what this machine has elsewhere, and the rest from peers. */

import type { Bytes } from '../core/encoding.ts'
import { P2pnsError } from '../core/errors.ts'
import type { SignedManifest } from '../core/manifest.ts'
import { MAX_SPAN } from '../core/tree.ts'
import { Download } from './download.ts'
import type { FetchOptions, FetchView } from './fetch.ts'
import { Layout, type Run } from './layout.ts'
import { Work } from './link-threads.ts'
import { MapShape, mapKey, readProof } from './map.ts'
import { hasBit, PartialSource, setBit } from './partial-source.ts'
import { reuseLocal } from './reuse.ts'
import type { Selection } from './select.ts'
import type { Swarm, SwarmPeer } from './swarm.ts'
import { prepareTarget, type Target } from './target.ts'

export interface DiskFetchParts {
  options: FetchOptions
  manifest: SignedManifest
  selection: Selection
  target: Target
  swarm: Swarm
  /** The 32 bytes of the content's identifier. */
  content: Bytes
}

export class DiskFetch implements FetchView {
  readonly #parts: DiskFetchParts
  readonly #total: number
  readonly #work: Work
  /** A bit for each chunk of the content that is here. */
  readonly #have: Bytes
  #source: PartialSource | undefined
  #download: Download | undefined
  #done = 0
  #chunksDone = 0
  #finished = false

  constructor(parts: DiskFetchParts) {
    this.#parts = parts
    const { layout } = parts.selection
    this.#total = layout.bytes
    this.#have = new Uint8Array(Math.ceil(Layout.of(parts.manifest).end / 8))
    const { part: base, map } = parts.target
    this.#work = new Work({ parts: layout.parts, keep: 'disk', target: { base, map } })
    parts.swarm.onChange = () => this.#tell()
  }

  get cid(): string {
    return this.#parts.manifest.id
  }

  get place(): string {
    return this.#parts.target.final
  }

  get done(): number {
    return this.#done
  }

  get total(): number {
    return this.#total
  }

  get chunks(): { have: number; total: number } {
    const { layout } = this.#parts.selection
    return { have: this.#chunksDone, total: layout.parts.reduce((sum, { count }) => sum + count, 0) }
  }

  get peers(): readonly SwarmPeer[] {
    return this.#parts.swarm.peers
  }

  get banned(): readonly { peer: string; why: string }[] {
    return this.#parts.swarm.banned
  }

  get waiting(): string | undefined {
    const download = this.#download
    if (!download || this.#finished || download.busy) return undefined
    const missing = `${download.missing} of ${this.chunks.total} chunks`
    return this.#parts.swarm.size === 0
      ? `${missing}, nobody who has them is online`
      : `${missing}, no peer that is online has them yet`
  }

  /** Fills the target's `.part`; all of it is there and verified when this ends. Returns the bytes that were here before. */
  async run(): Promise<number> {
    const { options, selection, target, swarm, content } = this.#parts
    const { signal, onProgress, random, limiter, previous = [] } = options
    const { entries, layout } = selection
    const again = await prepareTarget(target, mapKey(content, selection.key), entries)
    using serving = new DisposableStack()
    let resumed = 0
    try {
      const copied = await reuseLocal(target, layout, previous, signal)
      if (again || copied > 0) await this.#resume()
      const wanted = this.#missing()
      resumed = this.#done
      options.onView?.(this)
      serving.defer(this.#serve())
      onProgress?.({ phase: 'fetching', done: this.#done, total: this.#total, peers: swarm.size })
      const download = new Download({
        layout,
        wanted,
        work: this.#work,
        random,
        ...(limiter ? { limiter } : {}),
        onChunk: (bytes, chunk) => this.#kept(bytes, chunk),
      })
      this.#download = download
      await swarm.run(download, signal)
    } finally {
      this.#finished = true
      // A chunk that is still on its way must find no file open.
      swarm.close()
      await this.#work.close()
    }
    return resumed
  }

  /** Peers came or went. */
  #tell(): void {
    const why = this.#parts.swarm.size === 0 ? this.waiting : undefined
    const { onProgress } = this.#parts.options
    if (why) onProgress?.({ phase: 'waiting', done: this.#done, total: this.#total, peers: 0, why })
  }

  #mark(bytes: number, chunk: number): void {
    this.#done += bytes
    this.#chunksDone++
    setBit(this.#have, chunk)
  }

  #kept(bytes: number, chunk: number): void {
    this.#mark(bytes, chunk)
    this.#source?.gained({ first: chunk, count: 1 })
    const { onProgress } = this.#parts.options
    onProgress?.({ phase: 'fetching', done: this.#done, total: this.#total, peers: this.#parts.swarm.size })
  }

  /** What an earlier try left. */
  async #resume(): Promise<void> {
    const { options, selection } = this.#parts
    for (const run of selection.layout.runs) {
      for await (const { chunk, ok } of this.#work.check(run)) {
        if (options.signal.aborted) throw new P2pnsError('interrupted', 'the fetch was stopped')
        if (!ok) continue
        this.#mark(selection.layout.lengthOf(chunk), chunk)
        options.onProgress?.({ phase: 'hashing', done: this.#done, total: this.#total })
      }
    }
  }

  #missing(): Run[] {
    const wanted: Run[] = []
    for (const { first, count } of this.#parts.selection.layout.runs) {
      for (let chunk = first; chunk < first + count; chunk++) {
        if (hasBit(this.#have, chunk)) continue
        const last = wanted.at(-1)
        if (last && last.first + last.count === chunk) last.count++
        else wanted.push({ first: chunk, count: 1 })
      }
    }
    return wanted
  }

  /** Offers what is here, and what comes, to others; a part of the content is offered by nobody. */
  #serve(): () => void {
    const { options, manifest, selection, target, swarm } = this.#parts
    if (!options.onSource || selection.key !== '') return () => undefined
    const shape = new MapShape(selection.layout)
    const source = new PartialSource({
      manifest,
      base: target.part,
      have: this.#have,
      prove: async (part, first, count) =>
        count === MAX_SPAN && first % MAX_SPAN === 0
          ? readProof(target.map, shape, part, part.first + first)
          : undefined,
    })
    this.#source = source
    const stop = options.onSource(source, (peer) => swarm.from(peer))
    return () => {
      stop()
      source.close()
    }
  }
}
