/** A million mutated records. `npx node test/fuzz/million.ts [seed]`: what was refused, and what should have been. */
import { fuzz, type Tally } from './fuzz.ts'

const TOTAL = 1_000_000
const BATCH = 50_000
const seed = Number(process.argv[2] ?? 1)

const refused: Tally['refused'] = {}
let wrong = 0
const start = performance.now()
for (let i = 0; i < TOTAL / BATCH; i++) {
  const tally = fuzz(BATCH, seed * 1_000 + i)
  for (const [code, count] of Object.entries(tally.refused)) {
    refused[code as keyof Tally['refused']] = (refused[code as keyof Tally['refused']] ?? 0) + count
  }
  for (const one of tally.wrong) console.error(JSON.stringify(one))
  wrong += tally.wrong.length
}
const seconds = (performance.now() - start) / 1000
const checked = refused.signature_invalid ?? 0
console.log(`${TOTAL} mutated records in ${seconds.toFixed(0)} s: ${wrong} accepted or crashed`)
console.log(`refused before the last signature check: ${(100 * (1 - checked / TOTAL)).toFixed(1)} %`)
for (const [code, count] of Object.entries(refused).sort(([, a], [, b]) => b - a)) console.log(`  ${code}: ${count}`)
process.exitCode = wrong === 0 ? 0 : 1
