/** Good records of every kind, each with the judge that has to refuse whatever is made of it. */

import { type Claim, chainId } from '../../node/core/claim.ts'
import { type Bytes, utf8 } from '../../node/core/encoding.ts'
import { type KeyPair, sha256 } from '../../node/core/keys.ts'
import {
  encodeLease,
  encodeNamed,
  type Lease,
  leaseDhtKey,
  parseLease,
  parseNamed,
  verifyLease,
} from '../../node/core/lease.ts'
import { manifestDhtKey, parseManifest, signManifest } from '../../node/core/manifest.ts'
import { encodeProof, type Proof, parseProof, verifyProof } from '../../node/core/proof.ts'
import { rrFromText } from '../../node/core/rdata.ts'
import { type Realm, realmId } from '../../node/core/realm.ts'
import { checkRecord } from '../../node/core/records.ts'
import { signZone, zoneDhtKey } from '../../node/core/zone.ts'
import { DAY, firstClaim, leaseOf, pairOf, realmOfWitnesses, START } from '../helpers/leases.ts'
import { findProof } from '../helpers/signed.ts'

export interface Sample {
  kind: 'zone' | 'lease' | 'named' | 'manifest' | 'proof'
  bytes: Bytes
}

const NOW = (START + 60) * 1000
const SEQ = BigInt(START) * 1_000_000n
const NOBODY = new Uint8Array(0)

/**
 * Each throws a P2pnsError unless the bytes are to be accepted. A record is offered under the key that it says is its own, as
 * whoever made it would do.
 */
export const JUDGES: Record<Sample['kind'], (bytes: Bytes) => void> = {
  zone: (bytes) => checkRecord(zoneDhtKey(bytes.slice(0, 32)), bytes, NOW),
  lease: (bytes) => verifyLease(parseLease(bytes), NOW),
  named(bytes) {
    const { lease } = parseNamed(bytes)
    checkRecord(leaseDhtKey(realmId(lease.realm), lease.claim.name), bytes, NOW)
  },
  manifest: (bytes) => checkRecord(manifestDhtKey(parseManifest(bytes).id), bytes, NOW),
  proof: (bytes) => verifyProof(parseProof(bytes)),
}

function zoneOf(pair: KeyPair): Bytes {
  return signZone(pair, SEQ, [
    rrFromText({ type: 'A', data: '192.0.2.1' }),
    rrFromText({ label: 'www', type: 'CNAME', data: 'example.org' }),
    rrFromText({ label: '_dnslink', type: 'TXT', data: 'dnslink=/p2pns/b' }),
  ]).bytes
}

/** With no receipt to spare, so that nothing can be taken away from it. */
function leaseBy(by: KeyPair, realm: Realm, claim: Claim, mode: 0 | 1 = 0): Lease {
  return leaseOf(claim, realm, { by, mode, indices: [...Array(realm.quorum).keys()] })
}

/** `owner` and what the number stands for are of this sample alone: parts of two samples never make a good third. */
function firstLease(number: number, witnesses: number, bits: number): Lease {
  const owner = pairOf(number)
  const realm = realmOfWitnesses(witnesses, bits)
  return leaseBy(owner, realm, firstClaim(realm, { name: `name-${number}`, owner: owner.publicKey }))
}

/** What the recovery key of tests says after `lease`: a transfer to `owner`, or a release. */
function laterLease(lease: Lease, owner: Bytes): Lease {
  const { claim, realm } = lease
  const recoveryHash = owner.length > 0 ? sha256(owner) : NOBODY
  const next = { ...claim, chain: chainId(claim), version: 1, owner, recoveryHash }
  return leaseBy(pairOf(2), realm, next, 1)
}

function proofOf(witnesses: number): Proof {
  const [a, b] = [firstLease(60 + witnesses, witnesses, 0), firstLease(70 + witnesses, witnesses, 0)]
  const claim = { ...b.claim, name: a.claim.name, from: b.claim.from + 1, until: b.claim.from + 60 * DAY }
  const proof = findProof(a, leaseBy(pairOf(70 + witnesses), b.realm, claim))
  if (proof === undefined) throw new Error('no proof')
  return proof
}

function manifestOf(number: number, files: number): Bytes {
  const entries = Array.from({ length: files }, (_, i) => ({
    type: 'file' as const,
    path: `file-${i}`,
    size: i + 1,
    root: sha256(utf8(String(i))),
    mode: 0o644,
  }))
  const root = { type: 'folder' as const, path: '', mode: 0o755 }
  return signManifest(pairOf(number), { created: START, hint: 'folder', entries: [root, ...entries] }).stored
}

export function corpus(): Sample[] {
  const leases = [firstLease(20, 1, 0), firstLease(21, 3, 4), firstLease(22, 4, 8)]
  const named = [firstLease(30, 1, 8), firstLease(31, 4, 0), firstLease(32, 7, 4)]
  const moved = laterLease(firstLease(33, 4, 0), pairOf(34).publicKey)
  const released = laterLease(firstLease(35, 4, 0), NOBODY)
  return [
    ...[10, 11].map((number): Sample => ({ kind: 'zone', bytes: zoneOf(pairOf(number)) })),
    { kind: 'zone', bytes: signZone(pairOf(12), SEQ, []).bytes },
    ...leases.map((lease): Sample => ({ kind: 'lease', bytes: encodeLease(lease) })),
    ...named.map((lease, i): Sample => ({ kind: 'named', bytes: encodeNamed(lease, zoneOf(pairOf(30 + i))) })),
    { kind: 'named', bytes: encodeNamed(moved, zoneOf(pairOf(34))) },
    { kind: 'named', bytes: encodeNamed(released, NOBODY) },
    { kind: 'manifest', bytes: manifestOf(40, 2) },
    { kind: 'manifest', bytes: manifestOf(41, 40) },
    { kind: 'proof', bytes: encodeProof(proofOf(1)) },
    { kind: 'proof', bytes: encodeProof(proofOf(4)) },
  ]
}
