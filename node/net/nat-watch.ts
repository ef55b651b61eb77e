/** What the NAT before this machine does to UDP: reflectors are asked from the one UDP port, and core/nat.ts judges what they say. */
import { encodePoke, encodeQuestion, NONCE_SIZE } from '../core/datagram.ts'
import type { Bytes } from '../core/encoding.ts'
import { type HostPort, hostText } from '../core/hosts.ts'
import { type Judgement, judge, type Samples } from '../core/nat.ts'
import type { UdpPort } from './udp.ts'

/** Milliseconds that an answer may take, for each try. */
const TRIES = [400, 800, 1600]
/** Milliseconds in which a poke that a NAT lets in has come. */
const POKE_TIME = 500
/** Milliseconds between two looks: shorter than any NAT forgets a mapping in (RFC 4787 REQ-5: 2 minutes; many do in 30 s). */
const LOOK_EVERY = 25_000

/** A reflector of an introducer (docs/spec/reaching.md). */
export interface ReflectorAt {
  host: string
  ports: readonly [number, number]
  /** Has it send a datagram with that nonce from one of its ports to ours. */
  poke(which: 0 | 1, port: number, nonce: Bytes): Promise<void>
}

export interface NatWatchParts {
  udp: UdpPort
  /** Those that answer over their control connection. */
  reflectors: () => Promise<ReflectorAt[]>
  /** Own addresses, with the UDP port. */
  local: () => HostPort[]
  /** The outside address that the router tells, if it tells one. */
  gateway?: () => string | undefined
  random: (bytes: number) => Bytes
}

const NOTHING: Samples = { local: [], seen: [], silent: [] }

export class NatWatch {
  /** The judgement is another one than before, or the same about another address. */
  onChange: () => void = () => undefined
  readonly #parts: NatWatchParts
  readonly #timer: NodeJS.Timeout
  #judgement = judge(NOTHING)
  #filter: { mapped: string; samples: Pick<Samples, 'otherPortCameIn' | 'strangerCameIn' | 'hairpinCameIn'> } = {
    mapped: '',
    samples: {},
  }
  #looking: Promise<void> | undefined

  constructor(parts: NatWatchParts) {
    this.#parts = parts
    this.#timer = setInterval(() => void this.look(), LOOK_EVERY).unref()
  }

  get judgement(): Judgement {
    return this.#judgement
  }

  /** Takes new samples; one look at a time. Never throws. */
  look(): Promise<void> {
    this.#looking ??= this.#sample()
      .then((samples) => this.#judge(samples))
      .finally(() => (this.#looking = undefined))
    return this.#looking
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  #judge(samples: Samples): void {
    // Nobody to ask says nothing about the NAT.
    if (samples.seen.length + samples.silent.length === 0) return
    const before = JSON.stringify(this.#judgement)
    this.#judgement = judge(samples)
    if (JSON.stringify(this.#judgement) !== before) this.onChange()
  }

  async #sample(): Promise<Samples> {
    const { reflectors, local } = this.#parts
    const [first, second] = ofOneFamily(await reflectors().catch((): ReflectorAt[] => []))
    if (!first) return NOTHING
    const seen: { reflector: HostPort; mapped: HostPort }[] = []
    const silent: HostPort[] = []
    const ask = async (host: string, port: number): Promise<void> => {
      const reflector = { host, port }
      const mapped = await askReflector(this.#parts, reflector)
      if (mapped) seen.push({ reflector, mapped })
      else silent.push(reflector)
    }
    await ask(first.host, first.ports[0])
    if (seen.length === 0) return { local: local(), seen, silent }
    await this.#lookAtFilter(seen[0]?.mapped as HostPort, first, second)
    const others = second ? [second] : []
    await Promise.all([
      ask(first.host, first.ports[1]),
      ...others.flatMap(({ host, ports }) => [ask(host, ports[0]), ask(host, ports[1])]),
    ])
    const gateway = this.#parts.gateway?.()
    return { local: local(), seen, silent, ...this.#filter.samples, ...(gateway ? { gateway } : {}) }
  }

  /** Once for each mapping, before anything is sent there: later nobody is a stranger any more. */
  async #lookAtFilter(mapped: HostPort, first: ReflectorAt, second: ReflectorAt | undefined): Promise<void> {
    if (this.#filter.mapped === hostText(mapped)) return
    const [otherPortCameIn, strangerCameIn, hairpinCameIn] = await Promise.all([
      this.#poked(first, mapped.port),
      second && second.host !== first.host ? this.#poked(second, mapped.port) : undefined,
      this.#hairpinned(mapped),
    ])
    const samples = {
      ...(otherPortCameIn === undefined ? {} : { otherPortCameIn }),
      ...(strangerCameIn === undefined ? {} : { strangerCameIn }),
      hairpinCameIn,
    }
    this.#filter = { mapped: hostText(mapped), samples }
  }

  #poked(reflector: ReflectorAt, port: number): Promise<boolean | undefined> {
    return this.#comesIn((nonce) => reflector.poke(1, port, nonce))
  }

  /** Whether what is sent to our own outside address comes back in. */
  async #hairpinned(mapped: HostPort): Promise<boolean> {
    return (await this.#comesIn(async (nonce) => this.#parts.udp.send(encodePoke(nonce), mapped))) ?? false
  }

  /** Undefined: `send` failed. */
  async #comesIn(send: (nonce: Bytes) => Promise<void>): Promise<boolean | undefined> {
    const { udp, random } = this.#parts
    const nonce = random(NONCE_SIZE)
    const { promise, resolve } = Promise.withResolvers<boolean>()
    const forget = udp.onReflection(nonce, ({ type }) => type === 'poke' && resolve(true))
    const timer = setTimeout(() => resolve(false), POKE_TIME)
    try {
      await send(nonce)
      return await promise
    } catch {
      return undefined
    } finally {
      clearTimeout(timer)
      forget()
    }
  }
}

/** What is seen in IPv6 is another address than in IPv4, which is the one that NATs translate. */
function ofOneFamily(reflectors: ReflectorAt[]): ReflectorAt[] {
  const four = reflectors.filter(({ host }) => !host.includes(':'))
  return four.length > 0 ? four : reflectors
}

/** Where `reflector` sees our UDP port; undefined when it does not answer. */
export async function askReflector(
  { udp, random }: Pick<NatWatchParts, 'udp' | 'random'>,
  reflector: HostPort,
): Promise<HostPort | undefined> {
  const nonce = random(NONCE_SIZE)
  const { promise, resolve } = Promise.withResolvers<HostPort | undefined>()
  const forget = udp.onReflection(nonce, (reflection) => {
    if (reflection.type === 'cookie') udp.send(encodeQuestion(nonce, reflection.cookie), reflector)
    if (reflection.type === 'answer') resolve(reflection.seen)
  })
  let timer: NodeJS.Timeout | undefined
  const ask = (tries: readonly number[]): void => {
    const [time, ...left] = tries
    if (time === undefined) return resolve(undefined)
    udp.send(encodeQuestion(nonce), reflector)
    timer = setTimeout(() => ask(left), time)
  }
  try {
    ask(TRIES)
    return await promise
  } finally {
    clearTimeout(timer)
    forget()
  }
}
