/** Whom an introducer serves: everybody, some, all but some, or whoever knows a word. */
import * as crypto from 'node:crypto'
import type { Connection } from '@libp2p/interface'
import { utf8 } from '../node/core/encoding.ts'
import { P2pnsError } from '../node/core/errors.ts'
import { sha256 } from '../node/core/keys.ts'

/** `peers`: peer ids. */
export type AccessOptions =
  | { policy: 'everyone' }
  | { policy: 'allowlist' | 'denylist'; peers: readonly string[] }
  | { policy: 'token'; token: string }

export class Access {
  readonly #options: AccessOptions
  readonly #entered = new WeakSet<Connection>()

  constructor(options: AccessOptions) {
    this.#options = options
  }

  admits(connection: Connection): boolean {
    const options = this.#options
    switch (options.policy) {
      case 'allowlist':
        return options.peers.includes(connection.remotePeer.toString())
      case 'denylist':
        return !options.peers.includes(connection.remotePeer.toString())
      case 'token':
        return this.#entered.has(connection)
      default:
        return true
    }
  }

  /** A peer says the word; it is good for its connection. Errors: not_admitted. */
  enter(connection: Connection, word: string): void {
    const options = this.#options
    if (options.policy !== 'token') return
    // Hashed, so that both are of one length, as a comparison in constant time needs.
    if (!crypto.timingSafeEqual(sha256(utf8(word)), sha256(utf8(options.token)))) {
      throw new P2pnsError('not_admitted', 'The token is not that of the introducer')
    }
    this.#entered.add(connection)
  }

  /** Errors: not_admitted. */
  check(connection: Connection): void {
    if (this.admits(connection)) return
    throw new P2pnsError('not_admitted', 'The introducer does not serve this peer')
  }
}
