/**
 * What a link serves: a share, a download that is under way, or a probe. The link (seed-link.ts) knows only this, and this
 * knows nothing of links.
 */
import type { Bytes } from '../core/encoding.ts'
import type { Layout, Part, Run } from './layout.ts'

export interface Proof {
  leaves: Bytes
  /** Lowest first. */
  uncles: Bytes
}

export interface Source {
  /** The stored form of the manifest. */
  readonly manifest: Bytes
  /** What chunk numbers mean. A peer may ask for no chunk that is not below `layout.end`. */
  readonly layout: Layout
  /** A bit for every chunk of the content, the first the highest of byte 0; undefined: everything is here. */
  have(): Bytes | undefined
  /** Calls back for chunks that come to be here later, until the result is called. A source that has everything never does. */
  onHave(listener: (run: Run) => void): () => void
  /**
   * The leaves of a span and its uncles; `first` is relative to `part`. undefined: not known here. Throws `frame_invalid` for what
   * is no span of the part.
   */
  prove(part: Part, first: number, count: number): Promise<Proof | undefined>
  /** Fills `places` with chunks of `part` in a row, from `first` (relative to it) on. Throws `file_changed` when they cannot be read as they were hashed. */
  read(part: Part, first: number, places: Uint8Array[]): Promise<void>
  /** Files it may have open are closed. */
  close(): void
}
