/**
 * Several resolvers that stand in for each other: the first that is well is asked, the next when it keeps silent or cannot
 * help, and which one was slow is remembered.
 */
import { P2pnsError } from '../node/core/errors.ts'
import { Gate } from './gate.ts'
import { Outage } from './outage.ts'
import { type Exchange, exchange as overNetwork, type Question, type Server } from './upstream.ts'
import type { Received } from './upstream-answer.ts'
import { RCODE } from './wire.ts'

export interface ServersOptions {
  /** Those that there are now, the preferred first. */
  list: () => readonly Server[]
  read: (question: Question, response: Buffer) => Received
  /** ms. */
  now: () => number
  exchange?: Exchange
  /** How long a question may take, in ms. Default 4000: a stub resolver waits 5 s. */
  timeout?: number
}

/** What was learned of a server. Times in ms. */
interface Peer {
  server: Server
  /** Since it last answered, and until when others are asked first. */
  failures: number
  restsUntil: number
  /** Answers in a row whose letters came back in another case. */
  caseLost: number
  mixesFrom: number
  /** It has answered a question with an OPT. */
  knowsEdns: boolean
  ednsFrom: number
}

const TIMEOUT = 4_000
/** After what silence the next is asked as well, in ms, and how often a single server and all together are asked one question. */
const NEXT_AFTER = [600, 1_000]
const MAX_NEXT_AFTER = 1_200
const ASKS_OF_ONE = 3
const ASKS = 4
/** Questions on their way that nobody is late with: some servers refuse more than 150 (dnsmasq). */
const MAX_BURST = 100
/** How long a server rests after a failure, doubled each time, in ms. */
const REST = 5_000
const MAX_REST = 60_000
/** What a server cannot do is tried again after this, in ms. */
const FORGET = 3_600_000
const MAX_CASE_LOST = 3
const BADVERS = 16
/** Extended errors that say why there will be no answer from anybody: DNSSEC, and what somebody forbids (RFC 8914). */
const isFinal = (code: number | undefined): boolean =>
  code !== undefined && ((code >= 5 && code <= 12) || (code >= 15 && code <= 18))

export class Servers {
  readonly #options: ServersOptions
  readonly #exchange: Exchange
  readonly #peers = new Map<string, Peer>()
  readonly #gate = new Gate(MAX_BURST)
  readonly #outage = new Outage()

  constructor(options: ServersOptions) {
    this.#options = options
    this.#exchange = options.exchange ?? overNetwork
  }

  /** Whether it makes no sense to wait for an answer. */
  get gone(): boolean {
    return this.#outage.gone
  }

  /**
   * The best answer that somebody gives in time. Throws `timed_out`, `network_unreachable` when nobody could even be asked, and
   * the reason of `given`.
   */
  async ask(question: Question, given: AbortSignal): Promise<Received> {
    const ended = new AbortController()
    const signal = AbortSignal.any([given, ended.signal])
    const late = (): void => ended.abort(new P2pnsError('timed_out', 'The upstream resolver did not answer'))
    const timer = setTimeout(late, this.#options.timeout ?? TIMEOUT)
    try {
      const received = await this.#askInTurn(question, signal)
      this.#outage.answered()
      return received
    } catch (error) {
      if (!given.aborted) this.#outage.unanswered()
      throw error
    } finally {
      clearTimeout(timer)
      ended.abort()
    }
  }

  async #askInTurn(question: Question, signal: AbortSignal): Promise<Received> {
    const leave = await this.#gate.enter(signal)
    const turns = this.#turns()
    const useless = new Set<Peer>()
    const pending: Peer[] = []
    const { promise, resolve, reject } = Promise.withResolvers<Received>()
    let bad: Received | undefined
    let unreachable: unknown
    let timer: NodeJS.Timeout | undefined
    let asked = 0

    const next = (): void => {
      clearTimeout(timer)
      let turn = turns.shift()
      while (turn && useless.has(turn.peer)) turn = turns.shift()
      if (turn) {
        void this.#ask(turn, question, signal).then(
          (received) => answered(turn.peer, received),
          (error: unknown) => failed(turn.peer, error),
        )
        pending.push(turn.peer)
        timer = setTimeout(slow, NEXT_AFTER[asked++] ?? MAX_NEXT_AFTER)
      } else if (pending.length === 0) {
        if (bad) resolve(bad)
        else
          reject(new P2pnsError('network_unreachable', 'No upstream resolver can be reached', { cause: unreachable }))
      }
    }
    const slow = (): void => {
      leave()
      next()
    }
    const answered = (peer: Peer, received: Received): void => {
      if (signal.aborted) return
      if (isAnswer(received)) {
        peer.failures = 0
        peer.restsUntil = 0
        // Those asked before it had more time and did not use it.
        for (const slower of pending.slice(0, pending.indexOf(peer))) if (slower !== peer) this.#rest(slower)
        resolve(received)
        return
      }
      bad = received
      if (received.rcode !== RCODE.SERVFAIL) this.#rest(peer)
      giveUp(peer)
    }
    const failed = (peer: Peer, error: unknown): void => {
      if (signal.aborted) return
      unreachable = error
      this.#rest(peer)
      giveUp(peer)
    }
    const giveUp = (peer: Peer): void => {
      useless.add(peer)
      for (let at = pending.indexOf(peer); at >= 0; at = pending.indexOf(peer)) pending.splice(at, 1)
      // Others that were asked may still answer: nobody is asked earlier than if this one had kept silent.
      if (pending.length === 0) next()
    }
    const end = (): void => {
      for (const peer of pending) this.#rest(peer)
      if (bad) resolve(bad)
      else reject(signal.reason as Error)
    }
    signal.addEventListener('abort', end, { once: true })
    next()
    try {
      return await promise
    } finally {
      signal.removeEventListener('abort', end)
      clearTimeout(timer)
      leave()
    }
  }

  /** Who is asked, one after the other: those that are well in their order, then those that rest; then all again. */
  #turns(): { peer: Peer; again: boolean }[] {
    const now = this.#options.now()
    const peers = this.#options.list().map((server) => this.#peerOf(server))
    const isWell = (peer: Peer): boolean => now >= peer.restsUntil
    const order = [...peers.filter(isWell), ...peers.filter((peer) => !isWell(peer))]
    const [first] = order
    if (!first) return []
    // One question finds out whether it is back, and the others do not wait for that.
    if (first.failures > 0 && isWell(first)) first.restsUntil = now + restOf(first)
    const count = order.length === 1 ? ASKS_OF_ONE : Math.max(ASKS, order.length)
    return Array.from({ length: count }, (_, i) => ({
      peer: order[i % order.length] as Peer,
      again: i >= order.length,
    }))
  }

  #peerOf(server: Server): Peer {
    const key = `${server.host} ${server.port}`
    const peer = this.#peers.get(key) ?? {
      server,
      failures: 0,
      restsUntil: 0,
      caseLost: 0,
      mixesFrom: 0,
      knowsEdns: false,
      ednsFrom: 0,
    }
    this.#peers.set(key, peer)
    return peer
  }

  /** Many questions that fail together are one failure. */
  #rest(peer: Peer): void {
    const now = this.#options.now()
    if (peer.failures > 0 && now < peer.restsUntil) return
    peer.failures++
    peer.restsUntil = now + restOf(peer)
  }

  /** Asks one server in the way it understands. Some drop what has an OPT in silence, so a second try may go without. */
  async #ask(
    { peer, again }: { peer: Peer; again: boolean },
    question: Question,
    signal: AbortSignal,
  ): Promise<Received> {
    const now = this.#options.now()
    const mixCase = now >= peer.mixesFrom
    const bare = again && !peer.knowsEdns && !question.dnssecOk
    const edns = !bare && now >= peer.ednsFrom
    const ask = async (options: { edns: boolean }): Promise<Received> => {
      const heard = await this.#exchange(peer.server, question, { mixCase, ...options }, signal)
      if (heard.exact) {
        if (mixCase) peer.caseLost = 0
        return this.#options.read(question, heard.response)
      }
      // It writes all letters in one case, or somebody guessed the port and the id: without the letters both are drawn again.
      if (++peer.caseLost >= MAX_CASE_LOST) peer.mixesFrom = now + FORGET
      const plain = await this.#exchange(peer.server, question, { mixCase: false, ...options }, signal)
      if (!plain.exact) throw new P2pnsError('malformed', 'The upstream resolver answers another question')
      return this.#options.read(question, plain.response)
    }
    const received = await ask({ edns })
    const refused = [RCODE.FORMERR, RCODE.NOTIMP, BADVERS].includes(received.rcode)
    if (edns && !refused) peer.knowsEdns = true
    if (!edns || !refused) {
      if (bare && isAnswer(received)) peer.ednsFrom = now + FORGET
      return received
    }
    const without = await ask({ edns: false })
    if (isAnswer(without)) peer.ednsFrom = now + FORGET
    return without
  }
}

function isAnswer({ rcode, template }: Received): boolean {
  if (rcode === RCODE.SERVFAIL) return isFinal(template.ede?.code)
  return rcode !== RCODE.FORMERR && rcode !== RCODE.NOTIMP && rcode !== RCODE.REFUSED && rcode !== BADVERS
}

function restOf({ failures }: Peer): number {
  return Math.min(REST * 2 ** Math.max(0, failures - 1), MAX_REST)
}
