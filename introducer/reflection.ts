/** What a reflector answers to a datagram: at most as many bytes as came, and what it saw only after a cookie. No I/O. */
import * as crypto from 'node:crypto'
import { LRUCache } from 'lru-cache'
import { COOKIE_SIZE, encodeCookie, encodeReflection, parseQuestion } from '../node/core/datagram.ts'
import { type Bytes, equalBytes, utf8 } from '../node/core/encoding.ts'
import { type HostPort, hostText, plainHost } from '../node/core/hosts.ts'

/** Questions a second: of one address, and of all together. */
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
  readonly #asked = new LRUCache<string, number>({ max: MAX_SOURCES })
  #all = 0
  #second = 0

  constructor(options: ReflectionOptions) {
    this.#options = options
  }

  answer(bytes: Bytes, from: HostPort): Bytes | undefined {
    const question = parseQuestion(bytes)
    const seen = { host: plainHost(from.host), port: from.port }
    // Port 0 may stand in a datagram, but nothing can be sent there: a socket throws.
    if (!question || seen.port === 0 || !this.#mayAsk(seen.host)) return undefined
    const minute = Math.floor(this.#options.now() / MINUTE)
    const cookie = this.#cookie(seen, minute)
    const known = [cookie, this.#cookie(seen, minute - 1)].some((good) => equalBytes(good, question.cookie))
    return known ? encodeReflection(question.nonce, seen) : encodeCookie(question.nonce, cookie)
  }

  #mayAsk(host: string): boolean {
    const second = Math.floor(this.#options.now() / 1000)
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

  #cookie(seen: HostPort, minute: number): Bytes {
    const mac = crypto
      .createHmac('sha256', this.#options.key)
      .update(utf8(`${hostText(seen)} ${minute}`))
      .digest()
    return mac.subarray(0, COOKIE_SIZE)
  }
}
