/** Several contenders at the same pairs of NAT kinds, side by side. */
import type { Kind } from '../nat/kinds.ts'
import type { Opened } from '../nat/reach-peer.ts'

/** What one contender opened from one kind to another, in the order in which it opened. */
export interface Result {
  contender: string
  from: Kind
  to: Kind
  opened: Opened[]
}

const isDirect = ({ path }: Opened): boolean => path !== 'relayed'

function first(opened: Opened[]): Opened | undefined {
  return opened.toSorted((a, b) => a.ms - b.ms)[0]
}

function quantile(values: number[], part: number): string {
  const sorted = values.toSorted((a, b) => a - b)
  return `${sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? '-'}`
}

const times = (found: (Opened | undefined)[]): number[] => found.flatMap((opened) => opened?.ms ?? [])

/** From down, to across: the first direct path, else the relayed one, and milliseconds to the first byte over it. */
export function table(results: Result[]): string {
  const kinds = [...new Set(results.map(({ from }) => from))]
  const contenders = [...new Set(results.map(({ contender }) => contender))]
  const rows = [['', '', ...kinds]]
  for (const from of kinds) {
    for (const contender of contenders) {
      const cells = kinds.map((to) => {
        const result = results.find((one) => one.contender === contender && one.from === from && one.to === to)
        const opened = result?.opened ?? []
        const best = first(opened.filter(isDirect)) ?? first(opened)
        return best ? `${best.path} ${best.ms}` : '-'
      })
      rows.push([contender === contenders[0] ? from : '', contender, ...cells])
    }
  }
  const widths = kinds
    .concat(kinds[0] ?? [], kinds[0] ?? [])
    .map((_, i) => Math.max(...rows.map((row) => (row[i] ?? '').length)))
  return rows
    .map((row) =>
      row
        .map((cell, i) => cell.padEnd(widths[i] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

export function totals(results: Result[]): string {
  const contenders = [...new Set(results.map(({ contender }) => contender))]
  const lines = contenders.map((contender) => {
    const own = results.filter((result) => result.contender === contender)
    const any = times(own.map(({ opened }) => first(opened)))
    const direct = times(own.map(({ opened }) => first(opened.filter(isDirect))))
    return [
      `${contender.padEnd(10)} ${any.length} of ${own.length} connected, first byte: median ${quantile(any, 0.5)}, p90 ${quantile(any, 0.9)} ms`,
      `${direct.length} directly: median ${quantile(direct, 0.5)}, p90 ${quantile(direct, 0.9)} ms`,
    ].join('; ')
  })
  const pairs = Map.groupBy(results, ({ from, to }) => `${from} ${to}`)
  const both = [...pairs.values()].filter((pair) => pair.every(({ opened }) => opened.some(isDirect)))
  const ofBoth = contenders.map((contender) => {
    const own = both.flatMap((pair) => pair.filter((result) => result.contender === contender))
    const direct = times(own.map(({ opened }) => first(opened.filter(isDirect))))
    return `${contender} median ${quantile(direct, 0.5)}, p90 ${quantile(direct, 0.9)} ms`
  })
  if (contenders.length > 1) lines.push(`${both.length} pairs that all joined directly: ${ofBoth.join('; ')}`)
  return lines.join('\n')
}
