import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import { keyPairFromSeed } from '../../node/core/keys.ts'
import { keyNameOf, parseName } from '../../node/core/name.ts'
import { signZone } from '../../node/core/zone.ts'
import { type Learnt, LearntRecords } from '../../node/learnt.ts'
import { type Pin, Pins } from '../../node/pins.ts'
import { type ProofRow, Proofs } from '../../node/proofs.ts'
import { memoryTable } from '../helpers/table.ts'

const NOW = 1_800_000_000_000

/** A zone that takes as much room as one can when it is read: many records, at names of bytes that are written `\\001`. */
function greedyZone(number: number) {
  const pair = keyPairFromSeed(createHash('sha256').update(String(number)).digest())
  const name = ['\\001'.repeat(63), '\\001'.repeat(63), '\\001'.repeat(63)].join('.')
  const rr = { name, type: 1, ttl: 300, rdata: Buffer.alloc(4) }
  const rrs = Array.from({ length: 120 }, () => rr)
  return { name: parseName(keyNameOf(pair.publicKey)), zone: signZone(pair, BigInt(NOW) * 1000n, rrs) }
}

test('zones that are large when they are read push each other out of memory, not out of the store', async () => {
  const rows = memoryTable<Learnt>()
  let reads = 0
  const counted = {
    ...rows,
    get(key: string) {
      reads++
      return rows.get(key)
    },
  }
  const proofs = new Proofs(memoryTable<ProofRow>(), { all: () => [] }, () => NOW)
  const learnt = new LearntRecords(counted, new Pins(memoryTable<Pin>(), proofs, () => NOW), () => NOW)
  const zones = Array.from({ length: 400 }, (_, i) => greedyZone(i))
  for (const { name, zone } of zones) await learnt.accept(name, zone.bytes, 'dht')
  reads = 0
  for (const { name, zone } of [zones.at(0), zones.at(-1)].filter((one) => one !== undefined)) {
    assert.equal((await learnt.cached(name))?.zone.seq, zone.seq)
  }
  assert.equal(reads, 1)
})
