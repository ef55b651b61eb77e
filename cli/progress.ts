/** One line on the terminal while bytes move: phase, bar, amount, rate, time left. */
import type { Progress } from '../node/contract.ts'
import { count, formatBytes, formatSeconds } from './format.ts'
import type { TextStream } from './world.ts'

/** Seconds that a rate looks back. */
const WINDOW = 5
const BAR = 24

export interface ProgressDisplay {
  update(progress: Progress): void
  /** Clears the line. */
  stop(): void
}

/** Bytes per second over the last few seconds; `at` in milliseconds. A fall of `done` starts afresh. */
export class Rate {
  #samples: { at: number; done: number }[] = []

  update(done: number, at: number): number {
    const last = this.#samples.at(-1)
    if (last && done < last.done) this.#samples = []
    // Ten samples a second are enough, and keep the list short whatever the caller's pace.
    if (!last || done < last.done || at - last.at >= 100) this.#samples.push({ at, done })
    const from = this.#samples.findIndex((sample) => at - sample.at <= WINDOW * 1000)
    this.#samples = this.#samples.slice(from === -1 ? -1 : from)
    const first = this.#samples[0]
    return first && at > first.at ? ((done - first.done) * 1000) / (at - first.at) : 0
  }
}

/** `fetching  ████░░░░  34 %  7.1 MB of 20.9 MB  12.0 MB/s  1.2 s left  2 peers`; phases without a measure by name only. */
export function progressLine(progress: Progress, rate: number): string {
  const { phase, done, total, peers, why } = progress
  const parts = [phase.padEnd(10)]
  if (total > 0) {
    const part = Math.min(done / total, 1)
    const full = Math.round(part * BAR)
    parts.push('█'.repeat(full) + '░'.repeat(BAR - full), `${Math.floor(part * 100)} %`.padStart(5))
    parts.push(`${formatBytes(done)} of ${formatBytes(total)}`)
    if (rate > 0) {
      parts.push(`${formatBytes(Math.round(rate))}/s`)
      if (done < total) parts.push(`${formatSeconds((total - done) / rate)} left`)
    }
  }
  if (why !== undefined) parts.push(why)
  else if (peers !== undefined) parts.push(count(peers, 'peer'))
  return parts.join('  ').trimEnd()
}

const silent: ProgressDisplay = { update() {}, stop() {} }

/** Draws on `stream`; without one (no terminal, --quiet, --json) nothing is shown. `now` in milliseconds. */
export async function openProgress(stream: TextStream | undefined, now: () => number): Promise<ProgressDisplay> {
  if (!stream) return silent
  const { default: cliProgress } = await import('cli-progress')
  // Per phase: hashing what an earlier try left is many times faster than fetching the rest.
  let rate = new Rate()
  let phase: Progress['phase'] | undefined
  const bar = new cliProgress.SingleBar({
    stream: stream as NodeJS.WriteStream,
    format: (_options, _params, payload: { line: string }) => payload.line,
    clearOnComplete: true,
    hideCursor: true,
    // Its own signal handlers would keep ours from deciding what Ctrl-C does.
    gracefulExit: false,
  })
  bar.start(1, 0, { line: '' })
  return {
    update(progress) {
      if (progress.phase !== phase) rate = new Rate()
      phase = progress.phase
      bar.update({ line: progressLine(progress, rate.update(progress.done, now())) })
    },
    stop: () => bar.stop(),
  }
}
