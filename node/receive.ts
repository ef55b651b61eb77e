/** Being given a name: the address to be handed over, and which recovery keys this home has promised for it. */
import { randomBytes } from 'node:crypto'
import { type Bytes, concat, equalBytes, fromZ32, toHex, toZ32, utf8 } from './core/encoding.ts'
import { P2pnsError } from './core/errors.ts'
import { keyPairFromSeed, sha256 } from './core/keys.ts'
import type { Lease } from './core/lease.ts'
import type { OwnZones } from './own-zones.ts'
import type { Table } from './store.ts'

/** Whom a name is to be given: the key of a zone, and SHA-256 of the recovery key; 32 bytes each. */
export interface Address {
  owner: Bytes
  recoveryHash: Bytes
}

/** The recovery hashes in hex that this home has handed out for a name, by the label. */
export type PromisedTable = Table<string[]>

const CHECK_BYTES = 4
/** Promised hashes that are remembered of one name. */
const MAX_PROMISED = 64

/** `<key>.<recovery hash>.<check>` in z-base-32. A name that went to a mistyped key would be lost: hence the check. */
export function addressText({ owner, recoveryHash }: Address): string {
  return [owner, recoveryHash, checkOf(owner, recoveryHash)].map(toZ32).join('.')
}

/** Errors: usage for text that is none, or is not whole. */
export function parseAddress(text: string): Address {
  const parts = text.trim().split('.').map(bytesOf)
  const [owner, recoveryHash, check] = parts
  const isWhole = parts.length === 3 && owner?.length === 32 && recoveryHash?.length === 32 && check !== undefined
  if (!isWhole || !equalBytes(check, checkOf(owner, recoveryHash))) {
    throw new P2pnsError(
      'usage',
      `"${text.slice(0, 20)}..." is not an address that \`p2pns receive\` printed, or not all of it`,
    )
  }
  return { owner, recoveryHash }
}

function bytesOf(text: string): Bytes {
  try {
    return fromZ32(text)
  } catch {
    return new Uint8Array(0)
  }
}

function checkOf(owner: Bytes, recoveryHash: Bytes): Bytes {
  return sha256(utf8('p2pns/address/v1\0'), concat(owner, recoveryHash)).subarray(0, CHECK_BYTES)
}

export interface Received {
  name: string
  /** For whoever gives the name away. */
  address: string
  /** The seed of the recovery key in z-base-32. It is kept nowhere: each call makes another one, with its own address. */
  recovery: string
}

/**
 * An address under which this home can be given `short`. Its zone is published, so that the name leads somewhere from the
 * moment it is given.
 */
export async function receive(
  parts: { own: OwnZones; promised: PromisedTable; now: () => number },
  short: string,
  signal?: AbortSignal,
): Promise<Received> {
  return parts.own.oneAtATime(short, async () => {
    const own = await parts.own.open(short, signal)
    if (own.lease !== undefined && parts.now() < own.lease.claim.until * 1000) {
      throw new P2pnsError('usage', `${short}.p2p is this home's already`)
    }
    const seed = randomBytes(32)
    const address = { owner: own.pair.publicKey, recoveryHash: sha256(keyPairFromSeed(seed).publicKey) }
    const known = (await parts.promised.get(short)) ?? []
    await parts.promised.put(short, [...known, toHex(address.recoveryHash)].slice(-MAX_PROMISED))
    await parts.own.publish(own, signal)
    return { name: `${short}.p2p`, address: addressText(address), recovery: toZ32(seed) }
  })
}

/** Whether the recovery key of a lease that this home was given is one that it promised: otherwise the giver has it. */
export async function isPromised(promised: PromisedTable, { claim }: Lease): Promise<boolean> {
  return ((await promised.get(claim.name)) ?? []).includes(toHex(claim.recoveryHash))
}
