/** What a reflector answers to a datagram: at most as many bytes as came, and what it saw only after a cookie. No I/O. */
import * as crypto from 'node:crypto'
import { LRUCache } from 'lru-cache'
import { COOKIE_SIZE, encodeCookie, encodeReflection, parseQuestion } from '../node/core/datagram.ts'
import { type Bytes, equalBytes, utf8 } from '../node/core/encoding.ts'
import { type HostPort, hostText, plainHost } from '../node/core/hosts.ts'

/**
 * Questions a second: of one address, and of all together. Those with a cookie are counted by themselves: without one anybody can ask in
 * the name of everybody, until nobody else is answered.
 */
const MAX_EACH = 20
const MAX_ALL = 2_000
/** Some 5 MB when full. */
const MAX_SOURCES = 20_000
const MINUTE = 60_000

export interface ReflectionOptions {
  /** 32 bytes that nobody else knows. */
  key: Bytes
  /** Milliseconds since 1970. */
  now: () => number
}

export class Reflection {
  readonly #options: ReflectionOptions
  readonly #strangers = new Budget()
  readonly #known = new Budget()

  constructor(options: ReflectionOptions) {
    this.#options = options
  }

  answer(bytes: Bytes, from: HostPort): Bytes | undefined {
    const question = parseQuestion(bytes)
    const seen = { host: plainHost(from.host), port: from.port }
    // Port 0 may stand in a datagram, but nothing can be sent there: a socket throws.
    if (!question || seen.port === 0) return undefined
    const now = this.#options.now()
    const minute = Math.floor(now / MINUTE)
    const isGood = (at: number): boolean => equalBytes(this.#cookie(seen, at), question.cookie)
    const known = question.cookie.some((byte) => byte !== 0) && (isGood(minute) || isGood(minute - 1))
    if (!(known ? this.#known : this.#strangers).take(seen.host, Math.floor(now / 1000))) return undefined
    return known ? encodeReflection(question.nonce, seen) : encodeCookie(question.nonce, this.#cookie(seen, minute))
  }

  #cookie(seen: HostPort, minute: number): Bytes {
    const mac = crypto
      .createHmac('sha256', this.#options.key)
      .update(utf8(`${hostText(seen)} ${minute}`))
      .digest()
    return mac.subarray(0, COOKIE_SIZE)
  }
}

/** What is answered in a second. */
class Budget {
  readonly #asked = new LRUCache<string, number>({ max: MAX_SOURCES })
  #all = 0
  #second = 0

  take(host: string, second: number): boolean {
    if (second !== this.#second) {
      this.#second = second
      this.#all = 0
      this.#asked.clear()
    }
    const asked = this.#asked.get(host) ?? 0
    if (asked >= MAX_EACH || this.#all >= MAX_ALL) return false
    this.#asked.set(host, asked + 1)
    this.#all++
    return true
  }
}
