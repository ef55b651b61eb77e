/** What a person points at becomes a manifest id, the entry wanted of it, and peers that may have it. */
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr'
import { P2pnsError } from './core/errors.ts'
import { hashOfCid } from './core/manifest.ts'
import { parseName } from './core/name.ts'
import { TYPE, txtStrings } from './core/rdata.ts'
import { lookupInZone, type Zone } from './core/zone.ts'
import type { Names } from './names.ts'
import { peerIdOf } from './net/host.ts'

export interface ContentRef {
  id: string
  /** Path inside the content, '' for all of it. */
  entry: string
  /** Multiaddrs with peer ids. */
  peers: Multiaddr[]
}

/** The manifest id that CIDs of ours have; a name cannot look like it, since it ends in the suffix. */
const CID = /^b[a-z2-7]{58}$/

export function isCid(text: string): boolean {
  return CID.test(text)
}

/** `target`: `CID[/PATH]`, `NAME[/PATH]`, or a link `p2pns:CID[/PATH]?peer=MULTIADDR&...`. Errors: those of a lookup, content_not_found. */
export async function findContent(names: Names, target: string, signal?: AbortSignal): Promise<ContentRef> {
  const link = /^p2pns:(?:\/\/)?([^?]*)\??(.*)$/s.exec(target)
  const [plain, query] = link === null ? [target, ''] : [link[1] as string, link[2] as string]
  const [head = '', ...rest] = plain.split('/')
  const entry = rest.filter((part) => part !== '').join('/')
  if (isCid(head)) {
    hashOfCid(head)
    return { id: head, entry, peers: addressesIn(new URLSearchParams(query).getAll('peer')) }
  }
  const name = parseName(head)
  // A cached record may name what is shared no more; offline, the cache still answers.
  const { zone } = await names.lookup(name, { policy: 'network', ...(signal ? { signal } : {}) })
  const [content] = texts(zone, '_dnslink', name.labels).flatMap(contentIn)
  if (content === undefined) throw new P2pnsError('content_not_found', `${name.text} names no content`)
  return {
    id: content.id,
    entry: [...content.inner, entry].filter((part) => part !== '').join('/'),
    peers: peersIn(zone),
  }
}

/** The peers that a name leads to. Errors: those of a lookup. */
export async function findPeersOf(names: Names, text: string, signal: AbortSignal): Promise<Multiaddr[]> {
  const { zone } = await names.lookup(parseName(text), { policy: 'network', signal })
  return peersIn(zone)
}

function peersIn(zone: Zone): Multiaddr[] {
  const addresses = texts(zone, '_dnsaddr', []).filter((text) => text.startsWith('dnsaddr='))
  return addressesIn(addresses.map((text) => text.slice('dnsaddr='.length)))
}

/** What `dnslink=/p2pns/<manifest id>[/<path>]` names; nothing when it is not of that form. */
function contentIn(text: string): { id: string; inner: string[] }[] {
  const [, id = '', path = ''] = /^dnslink=\/p2pns\/([^/]*)(.*)$/s.exec(text) ?? []
  try {
    hashOfCid(id)
    return [{ id, inner: path.split('/') }]
  } catch {
    return []
  }
}

function texts(zone: Zone, label: string, below: string[]): string[] {
  const { status, rrs } = lookupInZone(zone, [label, ...below].join('.'), TYPE.TXT)
  if (status !== 'answer') return []
  return rrs.map((rr) => txtStrings(rr.rdata).join(''))
}

/** Those that can be read and name a peer; a record of somebody else's may hold anything. */
function addressesIn(list: string[]): Multiaddr[] {
  return list.slice(0, 16).flatMap((text) => {
    try {
      const address = multiaddr(text)
      return peerIdOf(address) ? [address] : []
    } catch {
      return []
    }
  })
}
