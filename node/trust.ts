/**
 * What this home trusts, for the person to see and to decide: realms of witnesses, the owners that it knows, petnames,
 * and the proofs of lies that it keeps.
 */
import { publicKeyFromRaw } from '@libp2p/crypto/keys'
import { peerIdFromPublicKey } from '@libp2p/peer-id'
import { type Bytes, fromHex, toHex } from './core/encoding.ts'
import { P2pnsError } from './core/errors.ts'
import { keyNameOf, type Name, parseName, SUFFIX } from './core/name.ts'
import { encodeProof, liarOf, type Proof, parseProof, type Statement } from './core/proof.ts'
import { realmId } from './core/realm.ts'
import type { Names } from './names.ts'
import { type ConflictKind, conflictKind, ownerOf, type Pinned } from './pins.ts'
import type { Proofs } from './proofs.ts'
import type { Realms } from './realms.ts'
import type { Table } from './store.ts'

/** Ids in hex, witnesses as the peer ids of their introducers, owners as key names (null: nobody), times in ISO 8601. */
export interface TrustedRealm {
  id: string
  quorum: number
  /** `liar`: proven to have lied, so it does not count. */
  witnesses: { id: string; liar: boolean }[]
  /** Leading zero bits that a first claim costs. */
  bits: number
}

export interface KnownOwner {
  name: string
  owner: string | null
  since: string
  /** End of the last lease that was seen. */
  until: string
  /** `settled`: the person decided against it. */
  conflict?: { owner: string | null; since: string; until: string; kind: ConflictKind; settled: boolean }
}

export interface Petname {
  name: string
  keyName: string
}

/** Two leases of one name that a witness signed for the same time. */
export interface Lie {
  witness: string
  realm: string
  name: string
  signed: { owner: string | null; at: string; from: string; until: string }[]
}

export interface TrustList {
  realms: TrustedRealm[]
  names: KnownOwner[]
  petnames: Petname[]
  /** `since`: when it was found or taken in. */
  proofs: (Lie & { since: string })[]
}

/** `counts`: the witness is of a realm that this home trusts, so the proof is kept and the witness counts no more. */
export type ReportedLie = Lie & { counts: boolean }

/** `proof`: the file, in hex. */
export type ExportedLie = Lie & { proof: string }

export interface Forgotten {
  kind: 'owner' | 'petname' | 'realm'
  name: string
}

export interface TrustNode {
  trust(): Promise<TrustList>
  /**
   * Gives a petname (`bob` or `bob.pet.p2p`) to the key that `target`, a key name or a name that is looked up, leads to now;
   * without a target takes it back.
   */
  setPetname(pet: string, target?: string, options?: { signal?: AbortSignal }): Promise<Petname>
  /** Believes the owner that conflicts with the known one; or, of the two, that with the key name. */
  acceptOwner(name: string, keyName?: string): Promise<KnownOwner>
  /** Forgets the owner of a short name, a petname, or a realm by its id or the first 8 characters or more of it. */
  forget(name: string): Promise<Forgotten>
  /** `proof`: a proof file, in hex. */
  reportProof(proof: string): Promise<ReportedLie>
  /** The proof about a witness (a peer id), or the first about a short name. */
  exportProof(what: string): Promise<ExportedLie>
}

interface TrustParts {
  names: Names
  proofs: Proofs
  realms: Realms
  petnames: Table<string>
}

/** A realm may be named by the beginning of its id. */
const SHORTEST_ID = 8

export class Trust {
  readonly #parts: TrustParts

  constructor(parts: TrustParts) {
    this.#parts = parts
  }

  async list(): Promise<TrustList> {
    const { names, proofs, realms, petnames } = this.#parts
    return {
      realms: realms.all().map((realm) => ({
        id: toHex(realmId(realm)),
        quorum: realm.quorum,
        witnesses: realm.keys.map((key) => ({ id: witnessId(key), liar: proofs.of(key) !== undefined })),
        bits: realm.bits,
      })),
      names: (await Array.fromAsync(names.owners())).map(([apex, pinned]) => knownOwner(apex, pinned)),
      petnames: (await Array.fromAsync(petnames.entries())).map(([pet, keyName]) => ({
        name: petnameOf(pet),
        keyName,
      })),
      proofs: proofs.all().map(({ proof, since }) => ({ ...lieOf(proof), since: isoTime(since) })),
    }
  }

  /** What is wrong, in a line each. */
  async warnings(): Promise<string[]> {
    const { names, proofs } = await this.list()
    return [
      ...names
        .filter(({ conflict }) => conflict !== undefined && !conflict.settled)
        .map(({ name }) => `${name} has two owners that do not follow from each other; see \`p2pns trust\``),
      ...proofs.map(
        ({ witness }) => `the witness ${witness} has lied and does not count any more; see \`p2pns trust\``,
      ),
    ]
  }

  /**
   * Gives a petname (`bob` or `bob.pet.p2p`) to the key that `target` leads to now, and to no other later; without a target
   * takes it back. Errors: name_invalid, not_known, and those of a lookup.
   */
  async setPetname(pet: string, target?: string, options: { signal?: AbortSignal } = {}): Promise<Petname> {
    const { names, petnames } = this.#parts
    const name = wholeName(pet.includes('.') ? pet : petnameOf(pet))
    if (name.kind !== 'pet') throw new P2pnsError('name_invalid', `${name.apex} is not a petname such as bob.pet.p2p`)
    if (target === undefined) {
      const keyName = await petnames.get(name.pet)
      if (keyName === undefined) throw new P2pnsError('not_known', `This machine gave nobody the petname ${name.pet}`)
      await petnames.delete(name.pet)
      return { name: name.apex, keyName }
    }
    const keyName = await this.#keyNameOf(wholeName(target), options)
    await names.setPetname(name.pet, keyName)
    return { name: name.apex, keyName }
  }

  /** Believes the owner that conflicts with the known one, or with `keyName` that one of the two. Errors: name_invalid, not_known. */
  async acceptOwner(text: string, keyName?: string): Promise<KnownOwner> {
    const name = shortName(text)
    const wanted = keyName === undefined ? undefined : wholeName(keyName).apex
    return knownOwner(name.apex, await this.#parts.names.chooseOwner(name.apex, wanted))
  }

  /**
   * Forgets the known owner of a short name, a petname, or a realm by its id or the beginning of it, and with it what was
   * learnt from it. Resolves to what was forgotten. Errors: name_invalid, not_known.
   */
  async forget(text: string): Promise<Forgotten> {
    const { names, realms } = this.#parts
    if (!text.includes('.')) {
      const [rid, ...others] = realms
        .all()
        .map(realmId)
        .filter((id) => isIdOf(text, id))
      if (rid === undefined || others.length > 0) {
        throw new P2pnsError('not_known', `No realm that this home trusts is "${text.slice(0, 80)}"`)
      }
      await realms.remove(rid)
      await names.clearCache()
      return { kind: 'realm', name: toHex(rid) }
    }
    const name = wholeName(text)
    if (name.kind === 'pet') return { kind: 'petname', name: (await this.setPetname(name.apex)).name }
    await names.forgetOwner(shortName(text).apex)
    return { kind: 'owner', name: name.apex }
  }

  /** Takes in the proof of a file, in hex. Errors: malformed, too_large, proof_invalid, signature_invalid and others of its parts. */
  async reportProof(hex: string): Promise<ReportedLie> {
    const proof = parseProof(fromHex(hex))
    return { ...lieOf(proof), counts: await this.#parts.proofs.add(proof) }
  }

  /** The proof about a witness (a peer id), or the first about a short name. Errors: not_known. */
  exportProof(text: string): ExportedLie {
    const apex = text.includes('.') ? wholeName(text).apex : undefined
    const kept = this.#parts.proofs.all().find(({ proof }) => {
      const { witness, name } = lieOf(proof)
      return apex === undefined ? witness === text : name === apex
    })
    if (kept === undefined) throw new P2pnsError('not_known', `This home has no proof about ${text.slice(0, 80)}`)
    return { ...lieOf(kept.proof), proof: toHex(encodeProof(kept.proof)) }
  }

  async #keyNameOf(name: Name, options: { signal?: AbortSignal }): Promise<string> {
    if (name.kind === 'key') return name.apex
    const { zone } = await this.#parts.names.lookup(name, options)
    return keyNameOf(zone.key)
  }
}

function petnameOf(pet: string): string {
  return `${pet}.pet.${SUFFIX}`
}

/** Errors: name_invalid, also for what stands below a name. */
function wholeName(text: string): Name {
  const name = parseName(text)
  if (name.labels.length > 0) {
    throw new P2pnsError('name_invalid', `${name.text} stands below ${name.apex}, and only the whole has an owner`)
  }
  return name
}

function shortName(text: string): Name {
  const name = wholeName(text)
  if (name.kind !== 'short')
    throw new P2pnsError('name_invalid', `${name.apex} is not a short name, so it cannot change hands`)
  return name
}

function isIdOf(text: string, rid: Bytes): boolean {
  return text.length >= SHORTEST_ID && toHex(rid).startsWith(text.toLowerCase())
}

function witnessId(key: Bytes): string {
  return peerIdFromPublicKey(publicKeyFromRaw(key)).toString()
}

function knownOwner(apex: string, { lease, since, conflict }: Pinned): KnownOwner {
  const owner = ownerOf(lease.claim) ?? null
  const known = { name: apex, owner, since: isoTime(since), until: isoTime(lease.claim.until * 1000) }
  if (conflict === undefined) return known
  const other = conflict.lease.claim
  return {
    ...known,
    conflict: {
      owner: ownerOf(other) ?? null,
      since: isoTime(conflict.since),
      until: isoTime(other.until * 1000),
      kind: conflictKind(lease.claim, other),
      settled: conflict.settled,
    },
  }
}

function lieOf(proof: Proof): Lie {
  return {
    witness: witnessId(liarOf(proof)),
    realm: toHex(realmId(proof.realm)),
    name: `${proof.first.claim.name}.${SUFFIX}`,
    signed: [proof.first, proof.second].map(({ claim, receipt }: Statement) => ({
      owner: ownerOf(claim) ?? null,
      at: isoTime(receipt.time * 1000),
      from: isoTime(claim.from * 1000),
      until: isoTime(claim.until * 1000),
    })),
  }
}

/** `ms` since 1970. */
function isoTime(ms: number): string {
  return new Date(ms).toISOString()
}
