/** Ed25519 keys, derived from one master seed, and the one `verify()` of the project. */
import * as crypto from 'node:crypto'
import { LRUCache } from 'lru-cache'
import { type Bytes, concat, toHex, utf8 } from './encoding.ts'

/** 32 bytes each: the seed a key pair grows from, and its public half. */
export interface KeyPair {
  readonly seed: Bytes
  readonly publicKey: Bytes
  sign(message: Bytes): Bytes
}

/** PKCS #8 (RFC 8410 section 7) head before the 32 seed bytes, and SubjectPublicKeyInfo head before the key. */
const PKCS8_HEAD = Buffer.from('302e020100300506032b657004220420', 'hex')
const SPKI_HEAD = Buffer.from('302a300506032b6570032100', 'hex')

/** The order L of the base point, little-endian (RFC 8032 section 5.1). */
const ORDER = Buffer.from('edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010', 'hex')

/**
 * The y-coordinates, little-endian, of the 8 points whose order divides the cofactor (the 8-torsion of edwards25519): under
 * such a key one signature can fit many messages.
 */
const SMALL_ORDER_Y = new Set([
  `01${'00'.repeat(31)}`,
  `ec${'ff'.repeat(30)}7f`,
  '00'.repeat(32),
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
])

export function keyPairFromSeed(seed: Bytes): KeyPair {
  if (seed.length !== 32) throw new RangeError('an Ed25519 seed has 32 bytes')
  const privateKey = crypto.createPrivateKey({ key: concat(PKCS8_HEAD, seed) as Buffer, format: 'der', type: 'pkcs8' })
  const spki = crypto.createPublicKey(privateKey).export({ format: 'der', type: 'spki' })
  return {
    seed,
    publicKey: Uint8Array.from(spki.subarray(SPKI_HEAD.length)),
    sign: (message) => crypto.sign(null, message, privateKey),
  }
}

/** HKDF-SHA256 (RFC 5869) with an empty salt; the label is the info. */
function derive(master: Bytes, label: string): KeyPair {
  return keyPairFromSeed(new Uint8Array(crypto.hkdfSync('sha256', master, new Uint8Array(0), utf8(label), 32)))
}

/** The key of the peer itself; its libp2p peer id. */
export function nodeKey(master: Bytes): KeyPair {
  return derive(master, 'p2pns/node/v1')
}

/**
 * The key of the zone that this home calls `name` (an apex label such as "alice"). `generation`: how often it was
 * rotated; a name has no slash, so no two labels are the same.
 */
export function zoneKey(master: Bytes, name: string, generation = 0): KeyPair {
  return derive(master, generation === 0 ? `p2pns/zone/v1/${name}` : `p2pns/zone/v1/${name}/${generation}`)
}

const keyObjects = new LRUCache<string, crypto.KeyObject>({ max: 4096 })

/**
 * The key object of a public key that is worth trusting, or undefined: y-coordinates of p = 2^255 - 19 or more, which have a second
 * spelling (RFC 8032 section 5.1.3), and points of small order are refused. Bytes that are no point fail in OpenSSL.
 */
function usableKey(publicKey: Bytes): crypto.KeyObject | undefined {
  const id = Buffer.from(publicKey).toString('latin1')
  const known = keyObjects.get(id)
  if (known) return known
  const y = Uint8Array.from(publicKey)
  // The highest bit is the sign of x. It is free for none of these: of the points with x = 0 only one spelling is canonical.
  y[31] = (y[31] as number) & 0x7f
  const isCanonical = y[31] < 0x7f || (y[0] as number) < 0xed || y.subarray(1, 31).some((byte) => byte < 0xff)
  if (!isCanonical || SMALL_ORDER_Y.has(toHex(y))) return undefined
  const object = crypto.createPublicKey({ key: concat(SPKI_HEAD, publicKey) as Buffer, format: 'der', type: 'spki' })
  keyObjects.set(id, object)
  return object
}

/** S < L (RFC 8032 section 5.1.7): otherwise a signature could be altered and still pass. */
function scalarInRange(signature: Bytes): boolean {
  for (let i = 31; i >= 0; i--) {
    const difference = (signature[32 + i] as number) - (ORDER[i] as number)
    if (difference !== 0) return difference < 0
  }
  return false
}

/**
 * Signatures that were found good, by SHA-256 of key, signature and message. A good one stays good, and the same record is checked
 * by who stores it, who compares it and who reads it: remembering takes 2 µs where checking takes 60. Bad ones are not kept,
 * since whoever makes them can make another. About 3 MB when full.
 */
const goodSignatures = new LRUCache<string, true>({ max: 16_384 })

/**
 * Whether `signature` (64 bytes) over `message` was made by `publicKey` (32 bytes). Verifiers disagree on crafted input;
 * here lengths, S and the key are checked first and OpenSSL (cofactorless) has the last word. Never throws.
 */
export function verify(publicKey: Bytes, message: Bytes, signature: Bytes): boolean {
  if (publicKey.length !== 32 || signature.length !== 64 || !scalarInRange(signature)) return false
  const key = usableKey(publicKey)
  if (key === undefined) return false
  // The first two have fixed lengths, so that no other three give the same bytes.
  const id = crypto.hash('sha256', concat(publicKey, signature, message), 'base64')
  if (goodSignatures.get(id)) return true
  const isGood = crypto.verify(null, message, key, signature)
  if (isGood) goodSignatures.set(id, true)
  return isGood
}

export function sha256(...parts: Bytes[]): Bytes {
  if (parts.length === 1) return crypto.hash('sha256', parts[0] as Bytes, 'buffer')
  const hash = crypto.createHash('sha256')
  for (const part of parts) hash.update(part)
  return hash.digest()
}
