/**
 * The life of a query, whatever transport it came by:
 *
 *     read ─ not a query ──────────── dropped
 *       ├── malformed, other opcode ─ FORMERR, NOTIMP
 *       ├── EDNS above 0 ──────────── BADVERS
 *       ├── cookie of another ─────── BADCOOKIE, when told so
 *       ├── cached ────────────────── answered at once
 *       ├── other class, AXFR ─────── REFUSED
 *       ├── special (localhost) ───── answered here
 *       ├── below p2p or alt ─ zones ─ known or looked up: answer, NXDOMAIN, or SERVFAIL with the reason
 *       └── other name ────────────── upstream, or REFUSED
 */
import { CLASS_IN, HEADER_BYTES } from '../node/core/dns.ts'
import { isOurs } from '../node/core/name.ts'
import { TYPE } from '../node/core/rdata.ts'
import {
  type AskOutside,
  answerQuestion,
  type FoundZone,
  type KnownZone,
  toTemplate,
  type ZoneLookup,
} from './answer.ts'
import { AnswerCache } from './cache.ts'
import { TCP_IDLE } from './connections.ts'
import { Cookies } from './cookies.ts'
import { EDE, extendedError, OPTION, option } from './edns.ts'
import { askThrough, type Forwarded, type Forwarder } from './outside.ts'
import type { MayBePrivate } from './rebinding.ts'
import { specialName } from './special.ts'
import { type Source, Tally } from './tally.ts'
import {
  errorAnswer,
  fill,
  headerAnswer,
  isStale,
  labelsOf,
  MAX_TCP_PAYLOAD,
  type Query,
  RCODE,
  rcodeOf,
  readQuery,
  type Template,
  udpLimit,
} from './wire.ts'
import { Zones } from './zones.ts'

/** `tcp`: over TLS as well. */
export type Transport = 'udp' | 'tcp' | 'tls' | 'https'

/** Called once, in the same tick when the answer is known; after `stop()` maybe never. */
export type Reply = (response: Buffer) => void

/** A question and what became of it. */
export interface Answered {
  /** ms since 1970. */
  at: number
  client: string
  transport: Transport
  /** With escapes (RFC 4343 section 2.1), in lower case; no final dot. */
  name: string
  /** Number of the RR type. */
  type: number
  rcode: number
  source: Source
  /** Milliseconds that it took. */
  took: number
}

/** TKEY, TSIG, IXFR, AXFR, MAILB, MAILA: not for a resolver of single names (RFC 6895 section 3.1). */
const FIRST_META_TYPE = 249
const LAST_META_TYPE = 254
/** In the units of RFC 7828: 100 ms. */
const KEEPALIVE = Buffer.alloc(2)
KEEPALIVE.writeUInt16BE(TCP_IDLE / 100)
const NO_OPTIONS: Buffer = Buffer.alloc(0)

export interface ResponderOptions {
  lookup: ZoneLookup
  known: KnownZone | undefined
  upstream: Forwarder | undefined
  /** Which names may lead into a private network. Default: all. */
  mayBePrivate?: MayBePrivate
  /** Over UDP a wrong server cookie gets BADCOOKIE (RFC 7873 section 5.2.3). Default: it gets an answer and a right one. */
  requireCookies?: boolean
  /** ms. */
  lookupTimeout: number
  /** ms since 1970. */
  now: () => number
}

/** A query, how and when (by performance.now()) it came, and the EDNS options that its answer has besides. */
interface Asked {
  query: Query
  transport: Transport
  address: string
  at: number
  options: Buffer
}

interface Refusal {
  rcode: number
  code?: number
  text?: string
}

export class Responder {
  readonly tally = new Tally()
  /** Told of what is answered over UDP and may be kept by another cache as well: `lifetime` seconds from now. */
  onKnown: ((query: Query, template: Template, lifetime: number) => void) | undefined
  onClear: () => void = () => undefined
  /** Told of each question when it is answered. */
  onAnswered: ((answered: Answered) => void) | undefined
  readonly #options: ResponderOptions
  readonly #cache: AnswerCache
  readonly #zones: Zones
  readonly #cookies: Cookies
  readonly #outside: AskOutside | undefined
  readonly #stopped = new AbortController()
  /** Grows when the cache is cleared: what was asked for before is not kept any more. */
  #generation = 0

  constructor(options: ResponderOptions) {
    this.#options = options
    this.#cache = new AnswerCache(options.now)
    this.#cookies = new Cookies(options.now)
    this.#outside = options.upstream && askThrough(options.upstream)
    this.#zones = new Zones({
      lookup: (...asked) => {
        this.tally.count('lookups')
        return options.lookup(...asked)
      },
      known: options.known,
      timeout: options.lookupTimeout,
      now: options.now,
      stopped: this.#stopped.signal,
      // What stood in for fresh answers has done so for long enough.
      onBack: () => this.clear(),
    })
  }

  /** Answers a packet from the host at `address` through `reply`. False when the packet deserves no answer, and `reply` will not be called. */
  handle(packet: Buffer, transport: Transport, address: string, reply: Reply): boolean {
    const query = readQuery(packet)
    if ('drop' in query) {
      if (query.drop) this.tally.count('dropped')
      else {
        this.tally.answered('refused', query.rcode)
        reply(headerAnswer(packet, query.rcode))
      }
      return !query.drop
    }
    const options = this.#optionsFor(query, transport, address)
    const asked: Asked = { query, transport, address, at: performance.now(), options }
    const refusal = this.#refusal(asked)
    const cached = refusal || query.class !== CLASS_IN ? undefined : this.#cache.get(query)
    if (refusal) this.#refuse(asked, refusal, reply)
    else if (cached) {
      const lifetime = Math.floor((cached.expiresAt - this.#options.now()) / 1000)
      this.#answer(asked, { template: cached, source: isStale(cached) ? 'stale' : 'cached', lifetime }, reply)
    } else this.#handleUncached(asked, reply)
    return true
  }

  /** What EDNS alone decides. */
  #refusal({ query, transport, address }: Asked): Refusal | undefined {
    const { edns } = query
    if (!edns) return undefined
    if (edns.version > 0) return { rcode: RCODE.BADVERS }
    // RFC 7828 section 3.2.1: only a server says how long.
    if (overStream(transport) && edns.keepalive) return { rcode: RCODE.FORMERR }
    const strict = this.#options.requireCookies === true && transport === 'udp'
    if (strict && edns.cookie && !this.#cookies.holds(edns.cookie, address)) return { rcode: RCODE.BADCOOKIE }
    return query.end === HEADER_BYTES ? { rcode: RCODE.NOERROR } : undefined
  }

  #optionsFor({ edns }: Query, transport: Transport, address: string): Buffer {
    // A cache on the way may keep that answer, and HTTP looks after its connections itself.
    if (transport === 'https') return NO_OPTIONS
    if (edns?.cookie === undefined && edns?.keepalive === undefined) return NO_OPTIONS
    const cookie = edns.cookie && option(OPTION.COOKIE, this.#cookies.answer(edns.cookie, address))
    const keepalive = edns.keepalive === 0 && overStream(transport) && option(OPTION.KEEPALIVE, KEEPALIVE)
    return Buffer.concat([cookie || NO_OPTIONS, keepalive || NO_OPTIONS])
  }

  #handleUncached(asked: Asked, reply: Reply): void {
    const { query, address } = asked
    const { upstream } = this.#options
    const refuse = (code: number, text: string): void =>
      this.#refuse(asked, { rcode: RCODE.REFUSED, code, text }, reply)
    // It is no type of data (RFC 6891 section 6.1.1).
    if (query.type === TYPE.OPT) return this.#refuse(asked, { rcode: RCODE.FORMERR }, reply)
    if (query.class !== CLASS_IN) return refuse(EDE.NOT_SUPPORTED, 'only class IN')
    const meta = query.type >= FIRST_META_TYPE && query.type <= LAST_META_TYPE
    if (meta) return refuse(EDE.NOT_SUPPORTED, 'no transfers, no transactions')
    const name = nameOf(query)
    if (isOurs(name) || specialName(name)) {
      // No question is so odd that it may end the process.
      this.#find(asked, name, reply).catch(() => {
        this.#refuse(asked, { rcode: RCODE.SERVFAIL, code: EDE.OTHER, text: 'internal error' }, reply)
      })
      return
    }
    if (!upstream) return refuse(EDE.NOT_AUTHORITATIVE, 'no upstream is set for other names')
    this.tally.count('forwarded')
    const found = upstream.forward(query, address)
    if (found instanceof Promise) void found.then((answer) => this.#answer(asked, answer, reply))
    else this.#answer(asked, found, reply)
  }

  #refuse(asked: Asked, { rcode, code, text = '' }: Refusal, reply: Reply): void {
    const ede = code === undefined ? undefined : extendedError(code, text)
    this.tally.answered('refused', rcode)
    reply(errorAnswer(asked.query, rcode, ede, asked.options))
    this.#ended(asked, 'refused', rcode)
  }

  #answer(asked: Asked, { template, source, lifetime }: Forwarded, reply: Reply): void {
    if (this.#stopped.signal.aborted) return
    const { query } = asked
    const rcode = rcodeOf(template)
    // Whoever has the answer finds it counted.
    this.tally.answered(source, rcode)
    if (lifetime > 0 && asked.transport === 'udp') this.onKnown?.(query, template, lifetime)
    reply(fill(query, template, limitOf(asked), asked.options))
    this.#ended(asked, source, rcode)
  }

  #ended({ query, address: client, transport, at }: Asked, source: Source, rcode: number): void {
    const took = performance.now() - at
    this.tally.took(took / 1000)
    if (!this.onAnswered) return
    const name = query.end > HEADER_BYTES ? nameOf(query) : ''
    this.onAnswered({ at: this.#options.now(), client, transport, name, type: query.type, rcode, source, took })
  }

  clear(): void {
    this.#generation++
    this.#zones.clear()
    this.#cache.clear()
    this.onClear()
  }

  stop(): void {
    this.#stopped.abort()
  }

  async #find(asked: Asked, name: string, reply: Reply): Promise<void> {
    const { query, address } = asked
    const generation = this.#generation
    const find = (apex: string): Promise<FoundZone> => this.#zones.find(apex, address)
    const { now, mayBePrivate } = this.#options
    const answer = await answerQuestion(name, query.type, find, now, this.#outside, mayBePrivate)
    if (this.#stopped.signal.aborted) return
    const template = toTemplate(query, answer)
    const lifetime = generation === this.#generation ? answer.lifetime : 0
    if (lifetime > 0) this.#cache.set(query, template, lifetime)
    this.#answer(asked, { template, source: isStale(template) ? 'stale' : 'found', lifetime }, reply)
  }
}

/** Where a connection can be told how long it may be idle (RFC 7828). */
function overStream(transport: Transport): boolean {
  return transport === 'tcp' || transport === 'tls'
}

function limitOf({ query, transport }: Asked): number {
  return transport === 'udp' ? udpLimit(query) : MAX_TCP_PAYLOAD
}

/** As text; a label with a dot or worse in it is written with escapes, and so mistaken for nothing else. */
function nameOf(query: Query): string {
  const escaped = (char: string): string => `\\${String(char.charCodeAt(0)).padStart(3, '0')}`
  return labelsOf(query)
    .map((label) => label.replace(/[^a-z0-9_-]/g, escaped))
    .join('.')
}
