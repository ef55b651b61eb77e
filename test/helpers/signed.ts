/** What only tests need of realms and proofs: the short form of the one-witness case. */
import { type Descriptor, encodeBody, encodeDescriptor, signBody } from '../../node/core/descriptor.ts'
import { type Bytes, equalBytes } from '../../node/core/encoding.ts'
import type { KeyPair } from '../../node/core/keys.ts'
import type { Lease } from '../../node/core/lease.ts'
import { findProofs, type Proof } from '../../node/core/proof.ts'

/** The first proof that two leases give, if they give one. */
export function findProof(a: Lease, b: Lease): Proof | undefined {
  return findProofs(a, b)[0]
}

/** A descriptor that one witness signs. */
export function signDescriptor(descriptor: Descriptor, pair: KeyPair): Bytes {
  const body = encodeBody(descriptor)
  const index = descriptor.realm.keys.findIndex((key) => equalBytes(key, pair.publicKey))
  return encodeDescriptor(body, new Map([[index, signBody(body, pair)]]))
}
