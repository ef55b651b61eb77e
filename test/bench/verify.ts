/**
 * Full lease checks (bytes -> parsed, judged, every signature checked) per second of one core. `npx node test/bench/verify.ts`
 *
 * At first sight, where the signatures are the cost: 2 for a realm of one, 5 for four receipts. Seen before, as when a storing node
 * compares, serves or gets again what it holds: `verify()` remembers good signatures. And refused, at the cheapest check that fails.
 * The limit is what OpenSSL verifies at all, measured in the same rounds.
 */
import * as crypto from 'node:crypto'
import { encodeClaim, signClaim } from '../../node/core/claim.ts'
import type { Bytes } from '../../node/core/encoding.ts'
import { isError } from '../../node/core/errors.ts'
import { type KeyPair, keyPairFromSeed, sha256 } from '../../node/core/keys.ts'
import { encodeLease, parseLease, signReceipt, verifyLease } from '../../node/core/lease.ts'
import { type Realm, realmOf } from '../../node/core/realm.ts'
import { firstClaim, START } from '../helpers/leases.ts'

const ROUNDS = 7
/** Fewer signatures than `verify()` remembers, so that the second time all are known. */
const LEASES = 2_000
const NOW = (START + 60) * 1000

/** Leases by as many owners, each of another name, of a realm of `keys`. */
function leasesOf(witnesses: KeyPair[], realm: Realm, round: number): Bytes[] {
  return Array.from({ length: LEASES }, (_, i) => {
    const owner = keyPairFromSeed(crypto.randomBytes(32))
    const claim = firstClaim(realm, { name: `name-${round}-${i}`, owner: owner.publicKey })
    const bytes = encodeClaim(claim)
    const receipts = witnesses.map((pair, index) => signReceipt(index, START, bytes, pair))
    return encodeLease({ claim, auth: signClaim(claim, 0, owner), receipts, realm })
  })
}

function check(bytes: Bytes): void {
  verifyLease(parseLease(bytes), NOW)
}

function refuse(bytes: Bytes): void {
  try {
    check(bytes)
  } catch (error) {
    if (isError(error)) return
    throw error
  }
  throw new Error('accepted what it must refuse')
}

/** Calls per second of processor time of this process. */
function rate<T>(items: readonly T[], work: (item: T) => void): number {
  const before = process.cpuUsage()
  for (const item of items) work(item)
  const { user, system } = process.cpuUsage(before)
  return (items.length * 1e6) / (user + system)
}

function bareVerify(): number {
  const { publicKey, privateKey } = crypto.generateKeyPairSync('ed25519')
  const messages = Array.from({ length: LEASES }, (_, i) => sha256(Buffer.from(String(i))))
  const signed = messages.map((message) => ({ message, signature: crypto.sign(null, message, privateKey) }))
  return rate(signed, ({ message, signature }) => {
    if (!crypto.verify(null, message, publicKey, signature)) throw new Error('a good signature was refused')
  })
}

const figures = new Map<string, number[]>()
function add(what: string, figure: number): void {
  figures.set(what, [...(figures.get(what) ?? []), figure])
}

for (let round = 0; round <= ROUNDS; round++) {
  const note = round === 0 ? () => {} : add
  note('signatures, OpenSSL alone', bareVerify())
  for (const count of [1, 4]) {
    const pairs = Array.from({ length: count }, () => keyPairFromSeed(crypto.randomBytes(32)))
    const witnesses = pairs.toSorted((a, b) => Buffer.compare(a.publicKey, b.publicKey))
    const realm = realmOf(
      witnesses.map(({ publicKey }) => publicKey),
      0,
    )
    const leases = leasesOf(witnesses, realm, round)
    note(`leases, ${count} receipts, first sight`, rate(leases, check))
    note(`leases, ${count} receipts, seen before`, rate(leases, check))
    const cut = leases.map((bytes) => bytes.subarray(0, -1))
    note(`leases, ${count} receipts, cut, refused`, rate(cut, refuse))
    const other = realmOf([...realm.keys], 1)
    const foreign = leases.map((bytes) => encodeLease({ ...parseLease(bytes), realm: other }))
    note(`leases, ${count} receipts, of another realm, refused`, rate(foreign, refuse))
    const forged = leases.map((bytes) => {
      const lease = parseLease(bytes)
      const [last] = lease.receipts.slice(-1)
      return encodeLease({ ...lease, auth: { ...lease.auth, signature: last?.signature as Bytes } })
    })
    note(`leases, ${count} receipts, wrong signature, refused`, rate(forged, refuse))
  }
}

console.log(`${ROUNDS} rounds of ${LEASES}, per second of one core`.padEnd(56), '     min  median     max')
for (const [what, values] of figures) {
  const sorted = values.toSorted((a, b) => a - b)
  const shown = [sorted[0], sorted[sorted.length >> 1], sorted.at(-1)] as [number, number, number]
  console.log(what.padEnd(56), shown.map((value) => value.toFixed(0).padStart(8)).join(''))
}
