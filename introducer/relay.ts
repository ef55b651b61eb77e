/**
 * Joins a stream of one peer to one of another, and counts what goes through (docs/spec/reaching.md, "Circuits"). What
 * it passes on is TLS between the two: it sees who talks, and how much.
 */
import type { Duplex } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout } from 'node:timers/promises'
import type { Connection, Stream } from '@libp2p/interface'
import { type Bytes, toHex } from '../node/core/encoding.ts'
import { Limiter } from '../node/core/limiter.ts'
import { keyOf } from '../node/net/peers.ts'
import { CIRCUIT_HEAD, CIRCUIT_ROLE, circuitHead } from '../node/net/relayed.ts'
import { duplexOf, readExactly } from '../node/net/stream-duplex.ts'
import { type WindowLimit, windowLimit } from './limits.ts'

export interface RelayLimits {
  /** Bytes a day of one peer. */
  daily: number
  /** Bytes a second: of one peer, and of all. */
  rate: number
  rateOfAll: number
  /** Circuits at a time: of one peer, and of all. */
  circuits: number
  circuitsOfAll: number
  /** Milliseconds. */
  duration: number
}

export const RELAY_LIMITS: RelayLimits = {
  daily: 2 ** 31,
  rate: 4 * 2 ** 20,
  rateOfAll: 64 * 2 ** 20,
  circuits: 8,
  circuitsOfAll: 512,
  duration: 3600_000,
}

const DAY = 86_400_000
/** Milliseconds in which somebody who begins to say whom they want says it. */
const HEAD_TIME = 5_000
/** Unused streams that are kept of one peer, for others who want it. */
const MAX_WAITING = 2

/** What one peer uses. */
interface Account {
  name: string
  circuits: number
  limiter: Limiter
}

export class Relay {
  readonly #limits: RelayLimits
  readonly #all: Limiter
  readonly #daily: WindowLimit
  readonly #accounts = new Map<string, Account>()
  /** Streams on which peers wait to be called, by the hex of their key, the oldest first. */
  readonly #waiting = new Map<string, Duplex[]>()
  #circuits = 0
  #passed = 0

  /** `now`: milliseconds since 1970. */
  constructor(limits: RelayLimits, now: () => number) {
    this.#limits = limits
    this.#all = new Limiter(limits.rateOfAll, () => performance.now())
    this.#daily = windowLimit({ now, length: DAY, max: limits.daily })
  }

  get circuits(): number {
    return this.#circuits
  }

  /** Bytes. */
  get passed(): number {
    return this.#passed
  }

  /** A stream that a peer opened, to call or to be called on. Never throws. */
  async serve(stream: Stream, connection: Connection): Promise<void> {
    const key = keyOf(connection.remotePeer)
    if (!key) return stream.abort(new Error('nobody could be told who that is'))
    const own = duplexOf(stream)
    try {
      const role = await readExactly(own, 1)
      if (role[0] === CIRCUIT_ROLE.callee) return this.#list(toHex(key), own, stream)
      const head = await readExactly(own, CIRCUIT_HEAD, AbortSignal.timeout(HEAD_TIME))
      await this.#join(own, key, head)
    } catch {
      own.destroy()
    }
  }

  #list(name: string, own: Duplex, stream: Stream): void {
    const waiting = [...(this.#waiting.get(name) ?? []), own]
    this.#waiting.set(name, waiting)
    // Nobody reads of `own` yet, so that it may not tell.
    stream.addEventListener('close', () => this.#unlist(name, own))
    if (stream.status !== 'open') this.#unlist(name, own)
    if (waiting.length > MAX_WAITING) waiting[0]?.destroy()
  }

  #unlist(name: string, own: Duplex): void {
    const left = (this.#waiting.get(name) ?? []).filter((other) => other !== own)
    if (left.length > 0) this.#waiting.set(name, left)
    else this.#waiting.delete(name)
  }

  async #join(caller: Duplex, callerKey: Bytes, head: Bytes): Promise<void> {
    const names = [toHex(callerKey), toHex(head.subarray(0, 32))] as const
    const callee = this.#waiting.get(names[1])?.[0]
    const accounts = names.map((name) => this.#account(name))
    const { circuits, circuitsOfAll, duration } = this.#limits
    const isFull = this.#circuits >= circuitsOfAll || accounts.some((one) => one.circuits >= circuits)
    if (!callee || isFull) {
      this.#settle(accounts)
      return void caller.destroy()
    }
    this.#unlist(names[1], callee)
    this.#circuits++
    for (const account of accounts) account.circuits++
    callee.write(circuitHead(callerKey, head.subarray(32)))
    const signal = AbortSignal.timeout(duration)
    await Promise.allSettled([
      pipeline(caller, this.#metered(accounts), callee, { signal }),
      pipeline(callee, this.#metered(accounts), caller, { signal }),
    ])
    this.#circuits--
    for (const account of accounts) account.circuits--
    this.#settle(accounts)
  }

  #account(name: string): Account {
    const limiter = (): Limiter => new Limiter(this.#limits.rate, () => performance.now())
    const account = this.#accounts.get(name) ?? { name, circuits: 0, limiter: limiter() }
    this.#accounts.set(name, account)
    return account
  }

  #settle(accounts: readonly Account[]): void {
    for (const { name, circuits } of accounts) if (circuits === 0) this.#accounts.delete(name)
  }

  /** Passes on what is paid for, when it is; ends with the budget. */
  #metered(accounts: readonly Account[]): (from: AsyncIterable<Bytes>) => AsyncGenerator<Bytes> {
    const pay = ({ name, limiter }: Account, bytes: number): number => {
      if (!this.#daily.take(name, bytes)) throw new Error('the budget of a day is used up')
      return limiter.reserve(bytes)
    }
    const payAll = (bytes: number): number => {
      const pauses = accounts.map((account) => pay(account, bytes))
      this.#passed += bytes
      return Math.max(this.#all.reserve(bytes), ...pauses)
    }
    return async function* (from) {
      for await (const bytes of from) {
        const pause = payAll(bytes.length)
        if (pause > 0) await setTimeout(pause)
        yield bytes
      }
    }
  }
}
