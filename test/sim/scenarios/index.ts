/** What is simulated, in the order in which it is run. */
import type { Scenario } from '../run.ts'
import { lostRecords } from './lost.ts'
import { calmRace, overrun, race } from './race.ts'
import { wrongClocks } from './skew.ts'
import { hostileStorage } from './storage.ts'
import { lostKey, stolenKey } from './theft.ts'

export const SCENARIOS: readonly Scenario[] = [
  race,
  calmRace,
  overrun,
  hostileStorage,
  wrongClocks,
  lostRecords,
  stolenKey,
  lostKey,
]
