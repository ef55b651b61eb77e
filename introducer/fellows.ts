/** The other witnesses of the realm, as whoever runs this one named them. */
import type { Libp2p } from '@libp2p/interface'
import { type Bytes, equalBytes } from '../node/core/encoding.ts'
import { P2pnsError } from '../node/core/errors.ts'
import { MAX_WITNESSES } from '../node/core/realm.ts'
import { Introducer } from '../node/net/introducers.ts'
import type { Table } from '../node/store.ts'

export interface Fellows {
  /** One for each, with all its addresses. */
  peers: Introducer[]
  /** Addresses of this witness itself that were among those given: how others reach it. */
  own: string[]
}

/** Those given now, or else those given last time. Errors: usage. */
export async function fellowsOf(
  settings: Table<string[]>,
  given: string[] | undefined,
  { publicKey, libp2p, now }: { publicKey: Bytes; libp2p: Libp2p; now: () => number },
): Promise<Fellows> {
  const addresses = given?.length ? given : ((await settings.get('witnesses')) ?? [])
  const own: string[] = []
  const others = new Map<string, string[]>()
  for (const address of new Set(addresses)) {
    const { witnessKey, peerId } = new Introducer(libp2p, address, now)
    if (equalBytes(witnessKey, publicKey)) own.push(address)
    else others.set(peerId, [...(others.get(peerId) ?? []), address])
  }
  if (others.size >= MAX_WITNESSES) {
    throw new P2pnsError('usage', `A realm has at most ${MAX_WITNESSES} witnesses, and ${others.size + 1} were named`)
  }
  // Kept only now: an address that is none would break every later start.
  if (given?.length) await settings.put('witnesses', given)
  const peers = [...others.values()].map(([first, ...rest]) => new Introducer(libp2p, first as string, now, rest))
  return { peers, own }
}
