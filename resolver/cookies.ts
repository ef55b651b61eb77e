/**
 * DNS cookies (RFC 7873): a server cookie shows that who asks has heard us at the address they ask from. Its form is that
 * of RFC 9018 section 4, but with an HMAC instead of SipHash, since no other server shares our secret.
 */
import { createHmac, randomBytes } from 'node:crypto'

const CLIENT_BYTES = 8
const SERVER_BYTES = 16
const HASH_BYTES = 8
const VERSION = 1
/** Seconds: how long one is good, how far it may lie ahead, and when a newer one replaces it (RFC 9018 section 4.3). */
const LIFETIME = 3_600
const AHEAD = 300
const RENEW_AFTER = 1_800

export class Cookies {
  readonly #secret: Buffer
  readonly #now: () => number

  /** `now`: ms. */
  constructor(now: () => number, secret = randomBytes(32)) {
    this.#now = now
    this.#secret = secret
  }

  /** Whether the server cookie in `cookie`, the data of an option, is one that `address` was given lately. */
  holds(cookie: Buffer, address: string): boolean {
    if (cookie.length !== CLIENT_BYTES + SERVER_BYTES) return false
    const age = this.#age(cookie)
    if (age > LIFETIME || age < -AHEAD) return false
    const head = cookie.subarray(0, CLIENT_BYTES + SERVER_BYTES - HASH_BYTES)
    return this.#hash(head, address).equals(cookie.subarray(head.length))
  }

  /** The data of the option that answers `cookie`: the same client cookie, and a server cookie that holds. */
  answer(cookie: Buffer, address: string): Buffer {
    if (this.holds(cookie, address) && this.#age(cookie) <= RENEW_AFTER) return cookie
    const head = Buffer.alloc(CLIENT_BYTES + SERVER_BYTES - HASH_BYTES)
    cookie.copy(head, 0, 0, CLIENT_BYTES)
    head[CLIENT_BYTES] = VERSION
    head.writeUInt32BE(this.#seconds(), CLIENT_BYTES + 4)
    return Buffer.concat([head, this.#hash(head, address)])
  }

  #seconds(): number {
    return Math.floor(this.#now() / 1000) >>> 0
  }

  /** Serial number arithmetic (RFC 1982): seconds wrap at 32 bits. */
  #age(cookie: Buffer): number {
    return (this.#seconds() - cookie.readUInt32BE(CLIENT_BYTES + 4)) | 0
  }

  #hash(head: Buffer, address: string): Buffer {
    return createHmac('sha256', this.#secret).update(head).update(address).digest().subarray(0, HASH_BYTES)
  }
}
