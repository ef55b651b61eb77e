/** Figures and tables for people. Bytes are decimal (1 MB = 1,000,000), as disks and networks count them. */
import type { Known, Status } from '../node/contract.ts'

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB', 'PB']

/** `0 B`, `999 B`, `1.5 kB`, `20.0 MB`. */
export function formatBytes(bytes: number): string {
  let value = bytes
  let unit = 0
  // 999.95 would be rounded up to "1000.0".
  while (value >= (unit === 0 ? 1000 : 999.95) && unit < UNITS.length - 1) {
    value /= 1000
    unit++
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${UNITS[unit]}`
}

const STEPS = [
  { name: 'd', seconds: 86_400 },
  { name: 'h', seconds: 3600 },
  { name: 'min', seconds: 60 },
  { name: 's', seconds: 1 },
]

/** `0.4 s`, `59 s`, `2 min 5 s`, `3 h 4 min`, `2 d 3 h`: at most two units. */
export function formatSeconds(seconds: number): string {
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`
  let left = Math.round(seconds)
  const parts: string[] = []
  for (const step of STEPS) {
    const count = Math.floor(left / step.seconds)
    left -= count * step.seconds
    if (count > 0) parts.push(`${count} ${step.name}`)
    else if (parts.length > 0) break
  }
  return parts.slice(0, 2).join(' ')
}

/** `1 peer`, `3 peers`. */
export function count(number: number, one: string, many = `${one}s`): string {
  // What `toLocaleString` would give; Intl alone takes 20 ms to load.
  const grouped = String(number).replaceAll(/\B(?=(\d{3})+$)/g, ',')
  return `${grouped} ${number === 1 ? one : many}`
}

/** Rows of cells as lines, every column but the last padded to its widest cell. */
export function columns(rows: string[][]): string[] {
  const widths: number[] = []
  for (const row of rows) {
    row.forEach((cell, i) => {
      widths[i] = Math.max(widths[i] ?? 0, cell.length)
    })
  }
  return rows.map((row) =>
    row
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join('  ')
      .trimEnd(),
  )
}

/** `title  value` lines; a list stands under its first value, and an empty one is left out. */
export function block(fields: Record<string, string | string[] | undefined>): string[] {
  const rows: string[][] = []
  for (const [title, value] of Object.entries(fields)) {
    const values = value === undefined ? [] : [value].flat()
    values.forEach((text, i) => {
      rows.push([i === 0 ? title : '', text])
    })
  }
  return columns(rows)
}

const SOURCES = {
  own: '',
  cache: ', from the cache',
  introducer: ', from an introducer',
  dht: ', from the DHT',
} as const

/** How an answer is known to be right, and what speaks against it. */
export function formatKnown(known: Known): string {
  const how = {
    key: () => 'known by its key',
    lease: () => formatLease(known),
    petname: () => 'petname of this machine',
    own: () => 'name of this home',
  }[known.kind]()
  const { conflict, source, stale } = known
  return [
    `${how}${SOURCES[source]}`,
    ...(conflict
      ? [`conflict: since ${formatDay(conflict.since)} another lease says ${formatOwner(conflict.owner)}`]
      : []),
    ...(stale ? ['stale: it is over 48 h old, or the network could not confirm it'] : []),
  ].join('; ')
}

function formatLease({ receipts = 0, witnesses = 0, liars = 0, pinned }: Known): string {
  const proven = `${liars} ${liars === 1 ? 'is' : 'are'} proven to have lied, and ${liars === 1 ? 'does' : 'do'} not count`
  return [
    `lease signed by ${receipts} of ${count(witnesses, 'witness', 'witnesses')}`,
    ...(liars > 0 ? [` (${proven})`] : []),
    ...(pinned === undefined ? [] : [`, the owner you have known since ${formatDay(pinned)}`]),
  ].join('')
}

/** `2026-11-20`, of a time in ISO 8601. */
export function formatDay(time: string): string {
  return time.slice(0, 10)
}

export function formatOwner(keyName: string | null): string {
  return keyName ?? 'nobody (given up)'
}

export function formatIntroducers({ introducers }: Status): string[] {
  return introducers.map(({ address, connected }) => `${address} (${connected ? 'connected' : 'not reached'})`)
}
