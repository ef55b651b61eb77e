/** All packets, with what must come back. */
import { aliasCases } from './cases-aliases.ts'
import { ednsCases } from './cases-edns.ts'
import { messageCases } from './cases-message.ts'
import { nameCases } from './cases-names.ts'
import { specialCases } from './cases-special.ts'
import { typeCases } from './cases-types.ts'
import type { Case } from './run.ts'

export const cases: Case[] = [...messageCases, ...ednsCases, ...nameCases, ...aliasCases, ...typeCases, ...specialCases]
