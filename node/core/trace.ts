/** The steps of a lookup, each with when it was done: for a person who wonders where the time went. */

export interface TraceStep {
  /** Milliseconds since the lookup began. */
  at: number
  what: string
}

/** Notes that something was done. */
export type Trace = (what: string) => void

/** `now`: milliseconds of a clock that only goes on. */
export function traceInto(steps: TraceStep[], now: () => number): Trace {
  const began = now()
  return (what) => void steps.push({ at: now() - began, what })
}
