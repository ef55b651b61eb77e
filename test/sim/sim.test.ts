import { test } from 'node:test'
import { runSeed } from './run.ts'
import { race, overrun } from './scenarios/race.ts'
for (const s of [race, overrun]) test(s.name, async () => {
  const sum: Record<string, number> = {}
  for (let seed=1; seed<=40; seed++) { const r = await runSeed(s, seed); for (const [k,v] of Object.entries(r.counts)) sum[k]=(sum[k]??0)+v }
  console.log(sum)
})
