/**
 * The fetches of a home: what is under way, what waits and for what, what was stopped and can go on. A row is written when
 * its state changes, so that after kill -9 what was running goes on when the node is up again.
 */

import type { FetchJob } from './content.ts'
import type { Fetched, FetchRequest, Job, Transfer, TransferState } from './contract.ts'
import { type ErrorCode, isError, P2pnsError } from './core/errors.ts'
import type { FetchView } from './files/fetch.ts'
import type { Table } from './store.ts'

/** As it is kept; what moves while it runs is added when it is asked for. */
export interface KeptTransfer {
  id: string
  target: string
  request: FetchRequest
  state: TransferState
  cid?: string
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

interface Running {
  stop: AbortController
  /** What its end means when it was stopped. */
  stopped: 'paused' | 'running'
  view: FetchView | undefined
  ended: Promise<unknown>
}

export class Transfers {
  readonly #parts: TransferParts
  readonly #running = new Map<string, Running>()

  constructor(parts: TransferParts) {
    this.#parts = parts
  }

  /** What ran when the process ended goes on. */
  async resumeAll(): Promise<void> {
    for await (const [, row] of this.#parts.table.entries()) {
      if (row.state === 'running' || row.state === 'waiting') this.#inBackground(row)
    }
  }

  /** A fetch that somebody waits for. Errors: those of a fetch; target_busy while it is under way already. */
  async fetch(target: string, { signal, onProgress, ...request }: Job & FetchRequest): Promise<Fetched> {
    const known = await this.#find(target, request)
    if (known && this.#running.has(known.id)) {
      throw new P2pnsError('target_busy', `transfer ${known.id} is making ${request.out}`)
    }
    return this.#start(known?.id ?? this.#parts.newId(), target, request, { signal, onProgress })
  }

  async list(): Promise<Transfer[]> {
    const rows: KeptTransfer[] = []
    for await (const [, row] of this.#parts.table.entries()) rows.push(row)
    return rows.toSorted((a, b) => b.changed - a.changed).map((row) => this.#shown(row))
  }

  async pause(id: string): Promise<Transfer> {
    await this.#row(id)
    const running = this.#running.get(id)
    if (running) {
      running.stop.abort()
      await running.ended
    }
    const row = await this.#row(id)
    if (row.state === 'failed') await this.#put({ ...row, state: 'paused' })
    return this.#shown(await this.#row(id))
  }

  async resume(id: string): Promise<Transfer> {
    const row = await this.#row(id)
    if (!this.#running.has(id) && row.state !== 'done') this.#inBackground(row)
    return this.#shown({ ...row, state: row.state === 'done' ? 'done' : 'running' })
  }

  async remove(id: string, { files = false } = {}): Promise<Transfer> {
    const transfer = await this.pause(id)
    const row = await this.#row(id)
    if (files && row.state !== 'done') await this.#parts.discard(row.request.out)
    await this.#parts.table.delete(id)
    return transfer
  }

  /** They go on when the node is up again. */
  async stop(): Promise<void> {
    for (const running of this.#running.values()) {
      running.stopped = 'running'
      running.stop.abort()
    }
    await Promise.all([...this.#running.values()].map(({ ended }) => ended))
  }

  #inBackground({ id, target, request }: KeptTransfer): void {
    // Nobody waits for it, and nobody is there to try again.
    this.#start(id, target, { ...request, wait: request.wait ?? Number.POSITIVE_INFINITY }, {}).catch(() => undefined)
  }

  async #start(id: string, target: string, request: FetchRequest, { signal, onProgress }: Job): Promise<Fetched> {
    const ended = Promise.withResolvers<void>()
    const running: Running = { stop: new AbortController(), stopped: 'paused', view: undefined, ended: ended.promise }
    this.#running.set(id, running)
    const empty = { done: 0, total: 0, chunks: { have: 0, total: 0 } }
    const row = (): Omit<KeptTransfer, 'state'> => ({
      id,
      target,
      request,
      changed: 0,
      ...empty,
      ...seen(running.view),
    })
    try {
      await this.#put({ ...row(), state: 'running' })
      const fetched = await this.#parts.run(target, {
        ...request,
        signal: AbortSignal.any([running.stop.signal, ...(signal ? [signal] : [])]),
        onView: (view) => (running.view = view),
        ...(onProgress ? { onProgress } : {}),
      })
      const { cid, bytes } = fetched
      await this.#put({ ...row(), cid, done: bytes, total: bytes, state: 'done' })
      await this.#forgetOld()
      return fetched
    } catch (cause) {
      await this.#failed(row(), running, cause)
      throw cause
    } finally {
      this.#running.delete(id)
      ended.resolve()
    }
  }

  async #failed(row: Omit<KeptTransfer, 'state'>, { stopped }: Running, cause: unknown): Promise<void> {
    if (isError(cause, 'interrupted') || (cause instanceof Error && cause.name === 'AbortError')) {
      return this.#put({ ...row, state: stopped })
    }
    // It never began: there is nothing to go on with.
    if (row.total === 0) return this.#parts.table.delete(row.id)
    const { what, code } = isError(cause) ? cause : { what: 'it failed', code: 'internal' as const }
    await this.#put({ ...row, state: 'failed', why: what, code })
  }

  async #put(row: KeptTransfer): Promise<void> {
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

  async #forgetOld(): Promise<void> {
    const done = (await this.list()).filter(({ state }) => state === 'done')
    for (const [i, { id }] of done.entries()) {
      const row = await this.#row(id)
      if (i >= SHOWN || this.#parts.now() - row.changed > SHOWN_TIME) await this.#parts.table.delete(id)
    }
  }

  #shown(row: KeptTransfer): Transfer {
    const running = this.#running.get(row.id)
    const now = { ...row, ...seen(running?.view) }
    const waiting = running?.view?.waiting
    const state = running && waiting ? 'waiting' : row.state
    const { id, target, cid, done, total, chunks, request } = now
    const why = explain({ ...now, state }, waiting)
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

function seen(view: FetchView | undefined): Partial<Pick<KeptTransfer, 'cid' | 'done' | 'total' | 'chunks'>> {
  return view ? { cid: view.cid, done: view.done, total: view.total, chunks: view.chunks } : {}
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
