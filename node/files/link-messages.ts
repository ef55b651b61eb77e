/** What a link thread and the thread that made it say to each other. */
import type { Bytes } from '../core/encoding.ts'
import type { ErrorCode } from '../core/errors.ts'
import type { Frame } from '../core/frames.ts'
import type { Candidate, Ticket } from '../net/link.ts'
import type { Part, Run } from './layout.ts'

/** Where a link can be dialled. `timeout`: milliseconds. */
export interface Way {
  candidates: readonly Candidate[]
  ticket: Ticket
  timeout: number
}

/** `disk`: written into `target`. `hand`: handed over in this thread. `drop`: verified, and that is all. */
export interface WorkOptions {
  parts: readonly Part[]
  keep: 'disk' | 'hand' | 'drop'
  target?: { base: string; map: string }
}

export type ToThread =
  | { type: 'open'; call: number; work: number; options: WorkOptions }
  | { type: 'check'; call: number; work: number; first: number; count: number }
  | { type: 'close'; call: number; work: number }
  | { type: 'link'; link: number; way: Way | undefined }
  | { type: 'enter'; link: number; work: number | undefined }
  | { type: 'ask' | 'cancel'; link: number; run: Run }
  | { type: 'say'; link: number; frame: Frame }
  | { type: 'in'; link: number; bytes: Bytes }
  | { type: 'ended'; link: number }
  | { type: 'finish'; link: number; frame: Frame | undefined }

export type FromThread =
  | { type: 'answer'; call: number; ok: boolean[] }
  | { type: 'answer'; call: number; error: { code: ErrorCode; what: string } }
  | { type: 'handed'; work: number; chunk: number; bytes: Bytes }
  | { type: 'up'; link: number; host: string }
  | { type: 'frame'; link: number; frame: Frame }
  | { type: 'progress'; link: number; received: number; kept: number[] }
  | { type: 'took'; link: number; bytes: number }
  | { type: 'out'; link: number; bytes: Bytes }
  | { type: 'down'; link: number; code: ErrorCode; what: string }
