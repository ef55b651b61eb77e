/** Mutated packets straight into the resolver, without a network: queries from clients, and what others answer to ours. */
import { setImmediate } from 'node:timers/promises'
import { HEADER_BYTES } from '../../../node/core/dns.ts'
import { isError, P2pnsError } from '../../../node/core/errors.ts'
import { rrToText } from '../../../node/core/rdata.ts'
import type { FoundZone } from '../../../resolver/answer.ts'
import { CachingForwarder } from '../../../resolver/forward.ts'
import { type Forwarder, stepFrom } from '../../../resolver/outside.ts'
import { padded } from '../../../resolver/padding.ts'
import { privacyRule } from '../../../resolver/rebinding.ts'
import { Responder } from '../../../resolver/responder.ts'
import { lowestTtl } from '../../../resolver/ttl.ts'
import { type Question, questionFrom, questionKey } from '../../../resolver/upstream.ts'
import { readResponse } from '../../../resolver/upstream-answer.ts'
import { fill, MAX_TCP_PAYLOAD, readQuery, udpLimit } from '../../../resolver/wire.ts'
import type { Random } from '../../sim/random.ts'
import { ask, opt, readReply } from '../conformance/packet.ts'
import type { Transport } from '../conformance/run.ts'
import { aliceRecords, bobRecords } from '../conformance/zones.ts'
import { Clock, Z32, zoneOf } from '../harness.ts'
import { judged, see } from './judge.ts'
import { mutated, randomOf } from './mutate.ts'
import { ANSWERS, QUERIES } from './seeds.ts'
import { Tally } from './tally.ts'

/** Packets before their answers are waited for; fewer than zones that may be looked up at once. */
const BATCH = 128
/** Of them, one is a valid query. */
const VALID_EVERY = 10_000
/** How many of all are answers of others. */
const RESPONSES = 0.2
/** How long the answers of one batch may take, in ms, on a machine that has other things to do. */
const HANG = 5_000
const ADDRESSES = ['127.0.0.1', '192.0.2.7', '2001:db8::7', 'fe80::1%eth0']
const ASKABLE = QUERIES.filter((packet) => see(packet).kind === 'message' && packet.readUInt16BE(4) === 1)
/** A header that says that one question follows. */
const EMPTY_QUERY = ask('').subarray(0, HEADER_BYTES)
const SEEDS_OF_RESPONSES = ANSWERS.map((answer) => answer(ask('www.example.org')))
const mayBePrivate = privacyRule(false, () => [])

export class Inside {
  readonly tally = new Tally()
  /** The longest that one batch took, in ms. */
  slowest = 0
  readonly #seed: number
  readonly #clock = new Clock()
  readonly #responders: readonly Responder[]
  readonly #pending = new Map<number, { how: string; packet: Buffer }>()
  #index = 0
  /** How many responses were made for what was asked of others. */
  #made = 0

  constructor(seed: number) {
    this.#seed = seed
    const now = this.#clock.now
    const zones = { 'alice.p2p': zoneOf(aliceRecords(Z32)), 'bob.p2p': zoneOf(bobRecords) }
    const lookup = async (apex: string): Promise<FoundZone> => {
      const zone = Object.hasOwn(zones, apex) ? zones[apex as keyof typeof zones] : undefined
      if (!zone) throw new P2pnsError('name_not_found', `${apex} is not registered`)
      return { zone, expiresAt: now() + 3_600_000, stale: false }
    }
    const common = { lookup, known: undefined, lookupTimeout: HANG, now, mayBePrivate }
    this.#responders = [
      new Responder({ ...common, upstream: this.#upstream() }),
      new Responder({ ...common, upstream: undefined, requireCookies: true }),
    ]
  }

  /** Who asks for an alias of ours gets a mutant as it is; who asks for somebody else, what is believed of one. */
  #upstream(): Forwarder {
    const cached = new CachingForwarder({
      ask: async (question) => readResponse(question, this.#response(question), mayBePrivate),
      gone: () => false,
      now: this.#clock.now,
    })
    return {
      forward: (query, address) => {
        if (address !== '') return cached.forward(query, address)
        const wire = mutantAnswer(query.packet.subarray(HEADER_BYTES, query.end), this.#nextRandom())
        return { template: { wire, ends: [], ede: undefined, ttls: [] }, source: 'found', lifetime: 0 }
      },
    }
  }

  #nextRandom(): Random {
    return randomOf(this.#seed + 1, this.#made++)
  }

  /** As `exchange` hands it on: with that question, and at least so long. */
  #response({ wire }: Question): Buffer {
    return withQuestion(mutantAnswer(wire, this.#nextRandom()), wire)
  }

  /** Tries those from number `from` up to, but not, `to`. */
  async run(from: number, to: number): Promise<void> {
    for (let first = from; first < to; first += BATCH) {
      const start = performance.now()
      for (let index = first; index < Math.min(first + BATCH, to); index++) this.#one(index)
      while (this.#pending.size > 0 && performance.now() - start < HANG) await setImmediate()
      for (const [index, { how, packet }] of this.#pending) this.#fail(index, how, packet, 'it got no answer')
      this.#pending.clear()
      this.slowest = Math.max(this.slowest, performance.now() - start)
    }
  }

  /** For what was thrown where nobody catches it. */
  crashed(why: string): void {
    const [last] = [...this.#pending.values()].slice(-1)
    this.#fail(this.#index, 'crash', last?.packet ?? Buffer.alloc(0), why)
  }

  #fail(index: number, how: string, packet: Buffer, why: string): void {
    this.tally.failures.push({ seed: this.#seed, index, how, why, packet: packet.toString('hex') })
  }

  #one(index: number): void {
    this.#index = index
    this.#clock.ms++
    this.tally.packets++
    const random = randomOf(this.#seed, index)
    if (index % VALID_EVERY === VALID_EVERY - 1) this.#valid(index)
    else if (random.chance(RESPONSES)) this.#readOne(index, random)
    else this.#ask(index, mutated(random.pick(QUERIES), random, QUERIES), random)
  }

  #valid(index: number): void {
    const packet = ask('alice.p2p', 'A', { records: [opt()] })
    packet.writeUInt16BE(index % 0x10000)
    this.#responders[0]?.handle(packet, 'udp', '127.0.0.1', (response) => {
      const wrong = judged(packet, see(packet), 'udp', response)
      const right = wrong === 0 && readReply(response).answer.join() === 'alice.p2p A 192.0.2.1,alice.p2p A 192.0.2.2'
      if (right) this.tally.valid++
      else this.#fail(index, 'valid', packet, `a good query is answered wrongly: ${wrong}`)
    })
  }

  #ask(index: number, packet: Buffer, random: Random): void {
    const transport: Transport = random.chance(0.6) ? 'udp' : 'tcp'
    const responder = random.chance(0.85) ? this.#responders[0] : this.#responders[1]
    const how = `query over ${transport}`
    const seen = see(packet)
    // Whoever asked has it, changed or not: what is judged is what was sent.
    const sent = Buffer.from(packet)
    let answers = 0
    const reply = (response: Buffer): void => {
      this.#pending.delete(index)
      if (answers++ > 0) this.#fail(index, how, sent, 'it is answered twice')
      const rcode = judged(sent, seen, transport, response)
      if (typeof rcode === 'string') this.#fail(index, how, sent, `${rcode}: ${response.toString('hex')}`)
      else this.tally.count(rcode)
      if (transport === 'tcp') this.#encrypted(index, sent, response)
    }
    try {
      const handled = responder?.handle(packet, transport, random.pick(ADDRESSES), reply)
      if (handled === (seen.kind === 'silence')) this.#fail(index, how, sent, `handled: ${handled}`)
      if (!handled) this.tally.silent++
      else if (answers === 0) this.#pending.set(index, { how, packet: sent })
    } catch (error) {
      this.#fail(index, how, sent, thrown(error))
    }
  }

  /** What DNS over TLS and HTTPS do besides. */
  #encrypted(index: number, packet: Buffer, response: Buffer): void {
    try {
      lowestTtl(response)
      const longer = padded(packet, response)
      if (longer !== response) readReply(longer)
    } catch (error) {
      this.#fail(index, 'padding', packet, thrown(error))
    }
  }

  /** A response to one of the questions: refused with an error of ours, or made into answers that hold what all answers hold. */
  #readOne(index: number, random: Random): void {
    const packet = random.pick(ASKABLE)
    const query = readQuery(Buffer.from(packet))
    if ('drop' in query) return this.#fail(index, 'response', packet, 'the question cannot be read')
    const question = questionFrom(questionKey(query))
    const asked = packet.subarray(HEADER_BYTES, query.end)
    const mutant = mutantAnswer(asked, random)
    const response = withQuestion(mutant, asked)
    try {
      const { template } = readResponse(question, response, mayBePrivate)
      this.tally.taken++
      for (const transport of ['udp', 'tcp'] as const) {
        const answer = fill(query, template, transport === 'udp' ? udpLimit(query) : MAX_TCP_PAYLOAD)
        const wrong = judged(packet, { ...see(packet), version: 0 }, transport, answer)
        if (typeof wrong === 'string') this.#fail(index, 'response', response, `${wrong}: ${answer.toString('hex')}`)
      }
    } catch (error) {
      this.tally.refused++
      if (!isError(error)) this.#fail(index, 'response', response, thrown(error))
    }
    this.#follow(index, mutant, question.wire)
  }

  /** Whatever is thrown is caught by who asks; what is not must be records that can be shown. */
  #follow(index: number, response: Buffer, wire: Buffer): void {
    let answers: ReturnType<typeof stepFrom>['answers']
    try {
      answers = stepFrom('www.example.org', wire.readUInt16BE(wire.length - 4), response).answers
    } catch {
      return
    }
    try {
      for (const rr of answers) rrToText(rr, '')
    } catch (error) {
      this.#fail(index, 'alias', response, thrown(error))
    }
  }
}

/** A mutant of what may be answered to `question`, its name, type and class. */
function mutantAnswer(question: Buffer, random: Random): Buffer {
  const query = Buffer.concat([EMPTY_QUERY, question])
  return mutated(random.pick(ANSWERS)(query), random, SEEDS_OF_RESPONSES)
}

/** With QR, one question and this one, as is made sure of before a response is read. */
function withQuestion(response: Buffer, question: Buffer): Buffer {
  const end = HEADER_BYTES + question.length
  const out = response.length < end ? Buffer.concat([response, Buffer.alloc(end - response.length)]) : response
  out.set(question, HEADER_BYTES)
  out.writeUInt16BE(1, 4)
  out[2] = (out[2] as number) | 0x80
  return out
}

function thrown(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error)
}
