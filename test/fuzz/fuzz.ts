/** Runs mutations against the judges and counts what they say. */
import { type Bytes, toHex } from '../../node/core/encoding.ts'
import { type ErrorCode, isError } from '../../node/core/errors.ts'
import { Random } from '../sim/random.ts'
import { corpus, JUDGES, type Sample } from './corpus.ts'
import { MUTATIONS, type Mutation } from './mutate.ts'

export interface Tally {
  tried: number
  /** By code of the error. */
  refused: Partial<Record<ErrorCode, number>>
  /** Records that were not good and were accepted, or crashed their reader; in hex. */
  wrong: { kind: Sample['kind']; mutation: Mutation; bytes: string; why: string }[]
}

/** Tries `count` mutated records, each of some kind by some mutation. The same seed gives the same records. */
export function fuzz(count: number, seed: number): Tally {
  const random = new Random(seed)
  const samples = corpus()
  const good = new Set(samples.map(({ bytes }) => toHex(bytes)))
  for (const { kind, bytes } of samples) JUDGES[kind](bytes)
  const tally: Tally = { tried: 0, refused: {}, wrong: [] }
  const mutations = Object.keys(MUTATIONS) as Mutation[]
  while (tally.tried < count) {
    const { kind, bytes } = random.pick(samples)
    const mutation = random.pick(mutations)
    const mutated = placed(MUTATIONS[mutation](bytes, random, samples), random)
    if (good.has(toHex(mutated))) continue
    tally.tried++
    try {
      JUDGES[kind](mutated)
      tally.wrong.push({ kind, mutation, bytes: toHex(mutated), why: 'accepted' })
    } catch (error) {
      if (isError(error)) tally.refused[error.code] = (tally.refused[error.code] ?? 0) + 1
      else tally.wrong.push({ kind, mutation, bytes: toHex(mutated), why: String(error) })
    }
  }
  return tally
}

/** As it may lie in the buffer of a socket: not at its start, with other bytes behind it. */
function placed(bytes: Bytes, random: Random): Bytes {
  if (random.chance(0.8)) return bytes
  const before = random.between(1, 16)
  const buffer = new Uint8Array(before + bytes.length + 8).fill(0xa5)
  buffer.set(bytes, before)
  return buffer.subarray(before, before + bytes.length)
}
