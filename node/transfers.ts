/**
 * The fetches of a home: what is under way, what waits and for what, what was stopped and can go on. A row is written when
 * its state changes, so that after kill -9 what was running goes on when the node is up again.
 */

import type { FetchJob } from './content.ts'
import type { Fetched, FetchRequest, Job, Progress, Transfer, TransferState } from './contract.ts'
import { type ErrorCode, isError, P2pnsError } from './core/errors.ts'
import type { FetchView } from './files/fetch.ts'
import { keyedLocks } from './net/locks.ts'
import type { Table } from './store.ts'

/** As it is kept; what moves while it runs is added when it is asked for. */
export interface KeptTransfer {
  id: string
  target: string
  request: FetchRequest
  state: TransferState
  cid?: string
  /** Absolute: what is being made; not known before it is begun. */
  place?: string
  done: number
  total: number
  chunks: { have: number; total: number }
  why?: string
  code?: ErrorCode
  /** Milliseconds since 1970, of the last change. */
  changed: number
}

export interface TransferParts {
  table: Table<KeptTransfer>
  run(target: string, job: FetchJob): Promise<Fetched>
  /** A short text that no other transfer has. */
  newId(): string
  /** Deletes what a transfer that never ended left at `out`. */
  discard(out: string): Promise<void>
  /** Milliseconds since 1970. */
  now(): number
}

/** Milliseconds that what is done is shown, and how many at most. */
const SHOWN_TIME = 24 * 3600 * 1000
const SHOWN = 100

/** A row without its state. */
type Standing = Omit<KeptTransfer, 'state' | 'why' | 'code' | 'changed'>

const NOTHING = { done: 0, total: 0, chunks: { have: 0, total: 0 } }

interface Running {
  stop: AbortController
  /** What its end means when it was stopped. */
  stopped: 'paused' | 'running'
  phase: Progress['phase'] | undefined
  view: FetchView | undefined
  ended: Promise<unknown>
}

export class Transfers {
  readonly #parts: TransferParts
  readonly #running = new Map<string, Running>()
  /** By what is made: whether it is under way, and what becomes of it then, is one step. */
  readonly #inTurn = keyedLocks()

  constructor(parts: TransferParts) {
    this.#parts = parts
  }

  /** What ran when the process ended goes on. */
  async resumeAll(): Promise<void> {
    for await (const [, row] of this.#parts.table.entries()) if (isUnderWay(row)) this.#inBackground(row)
  }

  /** A fetch that somebody waits for. Errors: those of a fetch; target_busy while it is under way already. */
  async fetch(target: string, { signal, onProgress, ...request }: Job & FetchRequest): Promise<Fetched> {
    await this.#forgetOld()
    const { fetched } = await this.#inTurn(request.out, async () => {
      const known = await this.#find(target, request)
      if (known && this.#running.has(known.id)) {
        throw new P2pnsError('target_busy', `transfer ${known.id} is making ${request.out}`)
      }
      const standing =
        known && known.state !== 'done'
          ? standingOf(known)
          : { id: known?.id ?? this.#parts.newId(), target, ...NOTHING }
      const options = { signal, onProgress, wait: request.wait, isNew: known === undefined }
      return { fetched: this.#run({ ...standing, request }, options) }
    })
    return fetched
  }

  /** The last changed first. */
  async list(): Promise<Transfer[]> {
    await this.#forgetOld()
    return (await this.#rows()).map((row) => this.#shown(row))
  }

  async pause(id: string): Promise<Transfer> {
    const { request } = await this.#row(id)
    return this.#shown(await this.#inTurn(request.out, () => this.#halt(id)))
  }

  async resume(id: string): Promise<Transfer> {
    const { request } = await this.#row(id)
    return this.#inTurn(request.out, async () => {
      const row = await this.#row(id)
      if (row.state !== 'done' && !this.#running.has(id)) this.#inBackground(row)
      return this.#shown(row)
    })
  }

  async remove(id: string, { files = false } = {}): Promise<Transfer> {
    const { request } = await this.#row(id)
    return this.#inTurn(request.out, async () => {
      const row = await this.#halt(id)
      if (files && row.state !== 'done') await this.#parts.discard(row.place ?? request.out)
      await this.#parts.table.delete(id)
      return this.#shown(row)
    })
  }

  /** They go on when the node is up again. */
  async stop(): Promise<void> {
    for (const running of this.#running.values()) {
      // A person who pauses one at that moment means it.
      if (!running.stop.signal.aborted) running.stopped = 'running'
      running.stop.abort()
    }
    await Promise.all([...this.#running.values()].map(({ ended }) => ended))
  }

  /** Ends it if it runs. Returns its row, which is done or paused. */
  async #halt(id: string): Promise<KeptTransfer> {
    const running = this.#running.get(id)
    running?.stop.abort()
    await running?.ended
    const row = await this.#row(id)
    if (row.state === 'done' || row.state === 'paused') return row
    const paused: KeptTransfer = { ...row, state: 'paused' }
    await this.#put(paused)
    return paused
  }

  #inBackground(row: KeptTransfer): void {
    // Nobody waits for it, and nobody is there to try again.
    const wait = row.request.wait ?? Number.POSITIVE_INFINITY
    this.#run(standingOf(row), { wait, isNew: false }).catch(() => undefined)
  }

  async #run(
    standing: Standing,
    { signal, onProgress, wait, isNew }: Job & { wait: number | undefined; isNew: boolean },
  ): Promise<Fetched> {
    const { id, target, request } = standing
    const ended = Promise.withResolvers<void>()
    const running: Running = {
      stop: new AbortController(),
      stopped: 'paused',
      phase: undefined,
      view: undefined,
      ended: ended.promise,
    }
    this.#running.set(id, running)
    const stop = AbortSignal.any([running.stop.signal, ...(signal ? [signal] : [])])
    try {
      await this.#put({ ...standing, state: 'running' })
      const fetched = await this.#parts.run(target, {
        ...request,
        ...(wait === undefined ? {} : { wait }),
        signal: stop,
        onView: (view) => (running.view = view),
        onProgress: (progress) => {
          running.phase = progress.phase
          onProgress?.(progress)
        },
      })
      const { cid, bytes } = fetched
      await this.#put({ ...standing, ...seen(running.view), cid, done: bytes, total: bytes, state: 'done' })
      return fetched
    } catch (cause) {
      const why =
        stop.aborted && !isError(cause) ? new P2pnsError('interrupted', `transfer ${id} was stopped`, { cause }) : cause
      const now = { ...standing, ...seen(running.view) }
      if (stop.aborted || isError(why, 'interrupted')) await this.#put({ ...now, state: running.stopped })
      // It never began, and whoever waits for it is told: there is nothing to go on with.
      else if (isNew && now.total === 0) await this.#parts.table.delete(id)
      else await this.#put({ ...now, state: 'failed', ...reason(why) })
      throw why
    } finally {
      this.#running.delete(id)
      ended.resolve()
    }
  }

  async #put(row: Omit<KeptTransfer, 'changed'>): Promise<void> {
    await this.#parts.table.put(row.id, { ...row, changed: this.#parts.now() })
  }

  async #row(id: string): Promise<KeptTransfer> {
    const row = await this.#parts.table.get(id)
    if (!row) throw new P2pnsError('transfer_not_found', `there is no transfer ${JSON.stringify(id)}`)
    return row
  }

  async #find(target: string, { out }: FetchRequest): Promise<KeptTransfer | undefined> {
    for await (const [, row] of this.#parts.table.entries()) {
      if (row.target === target && row.request.out === out) return row
    }
    return undefined
  }

  /** The last changed first. */
  async #rows(): Promise<KeptTransfer[]> {
    const rows = await Array.fromAsync(this.#parts.table.entries(), ([, row]) => row)
    return rows.sort((a, b) => b.changed - a.changed)
  }

  async #forgetOld(): Promise<void> {
    const done = (await this.#rows()).filter(({ state }) => state === 'done')
    const old = this.#parts.now() - SHOWN_TIME
    for (const [i, { id, changed }] of done.entries()) {
      const isOld = i >= SHOWN || changed < old
      if (isOld && !this.#running.has(id)) await this.#parts.table.delete(id)
    }
  }

  #shown(row: KeptTransfer): Transfer {
    const running = this.#running.get(row.id)
    const { id, target, cid, done, total, chunks, request } = { ...row, ...seen(running?.view) }
    const waiting = running && waitsFor(running)
    const state = running ? (waiting ? 'waiting' : 'running') : isUnderWay(row) ? 'paused' : row.state
    const why = explain({ ...row, state }, waiting)
    return {
      id,
      target,
      ...(cid ? { cid } : {}),
      out: request.out,
      ...(request.only?.length ? { only: request.only } : {}),
      state,
      done,
      total,
      chunks,
      peers: [...(running?.view?.peers ?? [])],
      banned: [...(running?.view?.banned ?? [])],
      ...(why ? { why } : {}),
      ...(request.limits ? { limits: request.limits } : {}),
    }
  }
}

/** Or it was, when its process ended. */
function isUnderWay({ state }: KeptTransfer): boolean {
  return state === 'running' || state === 'waiting'
}

function seen(view: FetchView | undefined): Partial<Pick<KeptTransfer, 'cid' | 'place' | 'done' | 'total' | 'chunks'>> {
  return view ? { cid: view.cid, place: view.place, done: view.done, total: view.total, chunks: view.chunks } : {}
}

/** What the next try begins with. */
function standingOf({ id, target, request, cid, place, done, total, chunks }: KeptTransfer): Standing {
  return { id, target, request, done, total, chunks, ...(cid ? { cid } : {}), ...(place ? { place } : {}) }
}

function reason(cause: unknown): Pick<KeptTransfer, 'why' | 'code'> {
  return isError(cause) ? { why: cause.what, code: cause.code } : { why: 'it failed', code: 'internal' }
}

function waitsFor({ phase, view }: Running): string | undefined {
  return view ? view.waiting : phase === 'connecting' ? 'nobody who has it has answered yet' : undefined
}

function explain({ id, state, why }: KeptTransfer, waiting: string | undefined): string | undefined {
  switch (state) {
    case 'waiting':
      return waiting
    case 'paused':
      return `stopped; \`p2pns transfers resume ${id}\` goes on`
    case 'failed':
      return `${why}; \`p2pns transfers resume ${id}\` tries again`
    default:
      return undefined
  }
}
