/**
 * The witness: it signs that it saw a claim, and never for two chains of one name at a time. What it remembers of a name is the lease
 * of the last claim it signed, with its own receipt; that is on the disk before the receipt leaves, so that a crash
 * between the two can be repaired by asking again. All rules are in docs/spec/lease.md, "What a witness signs".
 */
import { type Auth, type Claim, checkWork, claimId, encodeAuth, parseClaim } from '../node/core/claim.ts'
import { type Bytes, compareBytes, equalBytes } from '../node/core/encoding.ts'
import { P2pnsError } from '../node/core/errors.ts'
import { gatherLeases } from '../node/core/gather.ts'
import type { KeyPair } from '../node/core/keys.ts'
import { encodeLease, type Lease, parseLease, type Receipt, signReceipt } from '../node/core/lease.ts'
import { keyNameOf } from '../node/core/name.ts'
import { type Realm, realmId } from '../node/core/realm.ts'
import { keyedLocks } from '../node/net/locks.ts'
import { checkRivals, judge } from './judgement.ts'
import { dailyLimit } from './limits.ts'

/** By name, without the suffix. */
export interface WitnessStore {
  get(name: string): Promise<Bytes | undefined>
  /** Resolves when a power cut can no longer undo it. */
  put(name: string, bytes: Bytes): Promise<void>
}

/** Another witness of the realm, as this one reaches it. */
export interface WitnessPeer {
  key: Bytes
  gossip(claimBytes: Bytes, authBytes: Bytes, previous?: Lease): Promise<void>
  /** The last lease of a name that it signed. */
  lease(name: string): Promise<Lease | undefined>
}

export interface WitnessOptions {
  /** One of the realm's keys. */
  pair: KeyPair
  realm: Realm
  store: WitnessStore
  /** Milliseconds since 1970. */
  now: () => number
  wait: (ms: number) => Promise<void>
  peers: () => WitnessPeer[]
  /** The lease of a name that the DHT has for this realm, checked. */
  lookup: (name: string) => Promise<Lease | undefined>
  /** Seconds since 1970: the end of all that a witness may have signed before it lost its records. Absent: it lost none. */
  lostUntil?: () => Promise<number>
}

/** What a claim comes with. */
export interface From {
  /** The block of addresses that it comes from, where that says anything. */
  block?: string
  /** The lease before the claim in its chain: for a witness that did not see it. */
  previous?: Lease
}

export interface Witness {
  /**
   * A receipt for the claim, the same one whenever the same bytes come again. Errors: `malformed`, `too_large`, `name_invalid`,
   * `lease_invalid`, `clock_wrong`, `work_missing`, `name_taken`, `name_not_yours`, `record_older`, `lease_expired`,
   * `signature_invalid`, `limit_reached`, `peer_unreachable`, `db_corrupt`, and those of the store.
   */
  claim(claimBytes: Bytes, auth: Auth, from?: From): Promise<Receipt>
  /** A claim that another witness of the realm holds: resolves when it is held here, too. Errors: those of `claim`. */
  gossip(claimBytes: Bytes, auth: Auth, previous?: Lease): Promise<void>
  /** The last lease of a name that it signed, with its own receipt: for an owner whose network has forgotten it. */
  lease(name: string): Promise<Bytes | undefined>
}

/**
 * Milliseconds that a claim to a free name is held unsigned where there are other witnesses: many times what it takes
 * to tell all of them, so that all choose among the same claims.
 */
export const HOLD_MS = 10_000
/** Milliseconds: a witness alone waits no longer than this for what the DHT knows. */
const LOOKUP_MS = 3_000
/** Names for which claims are held at once; each costs its claimant the realm's work. */
const MAX_HELD = 4096
/** Claims to one of them; the one that is signed is nearly always the first, so those after these are refused. */
const MAX_CANDIDATES = 8

interface Asked {
  claim: Claim
  bytes: Bytes
  auth: Auth
  /** SHA-256 of the bytes. */
  id: Bytes
  previous: Lease | undefined
}

/** The claims to one free name that came within one hold. */
interface Round {
  /** By ascending hash; the first one wins, unless others have signed for another. */
  readonly candidates: Asked[]
  /** What others hold of the name, as far as they have answered. */
  readonly found: Lease[]
  /** Resolves when one of them has been signed. */
  over: Promise<void>
}

export function createWitness(options: WitnessOptions): Witness {
  const { pair, realm, store, now, wait, peers, lookup, lostUntil } = options
  const index = realm.keys.findIndex((key) => equalBytes(key, pair.publicKey))
  if (index < 0) throw new RangeError('a witness has one of the keys of its realm')
  const rid = realmId(realm)
  const isAlone = realm.keys.length === 1
  const hold = isAlone ? 0 : HOLD_MS
  const oneAtATime = keyedLocks()
  const rounds = new Map<string, Round>()
  const limit = dailyLimit(now)

  return {
    lease: (name) => store.get(name),
    async claim(claimBytes, auth, from = {}) {
      const asked = read(claimBytes, auth, from.previous)
      const receipt = await decide(asked)
      if (receipt !== undefined) return receipt
      await enter(asked, from.block).over
      const later = await decide(asked)
      if (later !== undefined) return later
      throw new P2pnsError('timed_out', `The claim to "${asked.claim.name}" was not decided`)
    },
    async gossip(claimBytes, auth, previous) {
      const asked = read(claimBytes, auth, previous)
      // Who asked for it hears what becomes of it, at the witness that was asked.
      if ((await decide(asked)) === undefined) enter(asked).over.catch(() => {})
    },
  }

  function read(bytes: Bytes, auth: Auth, previous: Lease | undefined): Asked {
    const claim = parseClaim(bytes)
    if (!equalBytes(claim.rid, rid)) {
      throw new P2pnsError('lease_invalid', `The claim to "${claim.name}" is for another realm than this witness's`)
    }
    checkWork(claim, realm.bits)
    return { claim, bytes, auth, id: claimId(claim), previous }
  }

  /** The receipt of a claim that can be signed, or was, at once; undefined for one that is to be held first. */
  function decide(asked: Asked): Promise<Receipt | undefined> {
    return oneAtATime(asked.claim.name, async () => {
      const last = remembered(asked.claim.name, await store.get(asked.claim.name))
      if (last && equalBytes(claimId(last.claim), asked.id)) return last.receipts[0]
      const verdict = judge(asked, last, await judging(hold))
      return verdict === 'sign' ? sign(asked) : undefined
    })
  }

  /** What a judgement knows besides the claim; `ahead` in ms: for how long the claim will still be held. */
  async function judging(ahead: number) {
    const time = Math.floor(now() / 1000)
    return { realm, rid, index, time, signedAt: time + ahead / 1000, lostUntil: (await lostUntil?.()) ?? 0 }
  }

  async function sign({ claim, bytes, auth }: Asked): Promise<Receipt> {
    const receipt = signReceipt(index, Math.floor(now() / 1000), bytes, pair)
    await store.put(claim.name, encodeLease({ claim, auth, receipts: [receipt], realm }))
    return receipt
  }

  /** Lets a claim take part in the round of its name; the others are told of it if it could win. */
  function enter(asked: Asked, block?: string): Round {
    const { name, owner } = asked.claim
    const held = rounds.get(name)
    if (held?.candidates.some(({ id }) => equalBytes(id, asked.id))) return held
    if (held === undefined && rounds.size >= MAX_HELD) {
      throw new P2pnsError('peer_unreachable', 'This witness holds as many claims as it can')
    }
    limit.take(keyNameOf(owner))
    if (block !== undefined) limit.take(block)
    const round = held ?? begin(name)
    round.candidates.push(asked)
    round.candidates.sort((a, b) => compareBytes(a.id, b.id)).splice(MAX_CANDIDATES)
    if (round.candidates[0] === asked) {
      const auth = encodeAuth(asked.auth)
      for (const peer of peers()) void peer.gossip(asked.bytes, auth, asked.previous).catch(() => {})
    }
    return round
  }

  function begin(name: string): Round {
    const round: Round = { candidates: [], found: [], over: Promise.resolve() }
    rounds.set(name, round)
    round.over = run(name, round)
    return round
  }

  async function run(name: string, round: Round): Promise<void> {
    const inquired = inquire(name, round.found)
    await (isAlone ? Promise.race([inquired, wait(LOOKUP_MS)]) : wait(HOLD_MS)).finally(() => rounds.delete(name))
    await oneAtATime(name, async () => {
      const last = remembered(name, await store.get(name))
      const facts = await judging(0)
      const others = gatherLeases(round.found, realm)
      let refusal: unknown
      for (const candidate of round.candidates) {
        if (last && equalBytes(claimId(last.claim), candidate.id)) return
        try {
          if (judge(candidate, last, facts) === 'hold') checkRivals(candidate.claim, others, facts)
        } catch (error) {
          refusal ??= error
          continue
        }
        await sign(candidate)
        return
      }
      throw refusal
    })
  }

  /** Asks everybody who may know of another holder; who does not answer in time holds nobody up. */
  async function inquire(name: string, found: Lease[]): Promise<void> {
    const ask = async (answer: Promise<Lease | undefined>) => {
      const lease = await answer
      if (lease?.claim.name === name) found.push(lease)
    }
    await Promise.allSettled([ask(lookup(name)), ...peers().map((peer) => ask(peer.lease(name)))])
  }
}

/** A witness that cannot read what it signed must not sign again. */
function remembered(name: string, bytes: Bytes | undefined): Lease | undefined {
  if (bytes === undefined) return undefined
  try {
    return parseLease(bytes)
  } catch (cause) {
    throw new P2pnsError('db_corrupt', `What this witness remembers of "${name}" is unreadable`, { cause })
  }
}
