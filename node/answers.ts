/** What a name says, as a person reads it: the zone's records of a type, aliases followed within the zone. */
import type { Policy, Resolved } from './contract.ts'
import type { Rr } from './core/dns.ts'
import { rdataParts } from './core/dns.ts'
import { P2pnsError } from './core/errors.ts'
import { keyNameOf, type Name, parseName } from './core/name.ts'
import { rrToText, TYPE, typeName, typeNumber } from './core/rdata.ts'
import { type TraceStep, traceInto } from './core/trace.ts'
import { below, lookupInZone, rrUnder, type Zone } from './core/zone.ts'
import type { Names } from './names.ts'

const MAX_ALIASES = 8

/** Errors: those of a lookup, type_not_found, record_data_invalid for a type that is none, malformed for aliases in a circle. */
export async function resolveText(
  names: Names,
  text: string,
  type: string,
  options: { policy?: Policy; signal?: AbortSignal; trace?: boolean; now: () => number },
): Promise<Resolved> {
  const name = parseName(text)
  const wanted = typeNumber(type)
  const steps: TraceStep[] = []
  const trace = options.trace ? traceInto(steps, () => performance.now()) : undefined
  const { policy, signal } = options
  const { zone, expiresAt, known } = await names.lookup(name, {
    ...(policy ? { policy } : {}),
    ...(signal ? { signal } : {}),
    ...(trace ? { trace } : {}),
  })
  trace?.(`answer: from ${known.source}${known.stale ? ', stale' : ''}`)
  const owner = name.labels.join('.')
  const rrs = follow(zone, name, wanted)
  if (rrs.length === 0) {
    const { status } = lookupInZone(zone, owner, wanted)
    if (status === 'nxdomain') throw new P2pnsError('name_not_found', `${name.apex} has nothing named ${name.text}`)
    throw new P2pnsError('type_not_found', `${name.text} has no ${typeName(wanted)} record`)
  }
  return {
    name: name.text,
    type: typeName(wanted),
    records: rrs.map((rr) => rrToText({ ...rrUnder(zone, rr, name.apex), name: rr.name }, name.apex)),
    ttl: Math.max(0, Math.round((expiresAt - options.now()) / 1000)),
    keyName: keyNameOf(zone.key),
    seq: String(zone.seq),
    known,
    ...(trace ? { trace: steps } : {}),
  }
}

/** Errors: malformed when the aliases do not come to an end. */
function follow(zone: Zone, name: Name, type: number): Rr[] {
  const found: Rr[] = []
  let owner: string | undefined = name.labels.join('.')
  for (let step = 0; owner !== undefined; step++) {
    if (step > MAX_ALIASES) {
      throw new P2pnsError('malformed', `${name.text} leads through more than ${MAX_ALIASES} aliases`)
    }
    const { status, rrs } = lookupInZone(zone, owner, type)
    found.push(...rrs)
    if (status !== 'cname') break
    const alias = rrUnder(zone, rrs[0] as Rr, name.apex)
    const [target] = rdataParts(TYPE.CNAME, alias.rdata, 0, alias.rdata.length)
    owner = below(String(target), name.apex) ?? below(String(target), keyNameOf(zone.key))
  }
  return found
}
