/** What options are made of: each reader turns text into a value or into a usage error. */
import { type Command, InvalidArgumentError } from 'commander'
import type { Limits } from '../node/contract.ts'

/** For an option that may be given several times. */
export function collect(value: string, previous: string[] | undefined): string[] {
  return [...(previous ?? []), value]
}

/** Whole seconds, at least 1. */
export function seconds(text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new InvalidArgumentError('It is a whole number of seconds.')
  return Number(text)
}

/** Whole seconds; 0 does not wait. */
export function wait(text: string): number {
  return text === '0' ? 0 : seconds(text)
}

const RATE = /^(\d+(?:\.\d+)?)\s*(?:([kMG])(i?)B?|B)?(?:\/s)?$/
const POWERS = { k: 1, M: 2, G: 3 }

/** Bytes, or bytes a second: `8MiB`, `500kB`, `1.5M`, `4096`. */
export function bytes(text: string): number {
  const [, amount = '', unit, binary] = RATE.exec(text) ?? []
  const value = Math.round(Number(amount) * (binary ? 1024 : 1000) ** (unit ? POWERS[unit as keyof typeof POWERS] : 0))
  if (amount === '' || value < 1 || !Number.isSafeInteger(value)) {
    throw new InvalidArgumentError('It looks like 8MiB, 500kB or 4096.')
  }
  return value
}

export interface LimitOptions {
  upLimit?: number
  downLimit?: number
}

/** What `addLimitOptions` read, as a node takes it; nothing where no limit was given. */
export function limitsFrom({ upLimit, downLimit }: LimitOptions): { limits?: Limits } {
  if (upLimit === undefined && downLimit === undefined) return {}
  return { limits: { ...(upLimit ? { up: upLimit } : {}), ...(downLimit ? { down: downLimit } : {}) } }
}

export function addLimitOptions(command: Command): Command {
  return command
    .option('--up-limit <rate>', 'most bytes a second to send, such as 8MiB', bytes)
    .option('--down-limit <rate>', 'most bytes a second to receive', bytes)
}

export interface HostPort {
  host: string
  port: number
}

/** `127.0.0.1:5354`, `localhost:0`, `[::1]:53`; port 0 means any. */
export function hostPort(text: string): HostPort {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^\s:[\]]+)):(\d{1,5})$/.exec(text)
  const host = match?.[1] ?? match?.[2]
  const port = Number(match?.[3])
  if (host === undefined || port > 65_535) throw new InvalidArgumentError('It looks like 127.0.0.1:5354 or [::1]:5354.')
  return { host, port }
}

/** The inverse of `hostPort`. */
export function formatHostPort({ host, port }: HostPort): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

export function addIntroducerOption(command: Command): Command {
  return command.option(
    '--introducer <addr>',
    'address that `p2pns introducer` printed; repeatable, and remembered in the home',
    collect,
  )
}

/** Examples under a command's help: `[command, what it does]`. */
export function addExamples(command: Command, examples: [string, string][]): Command {
  const lines = examples.map(([line, what]) => `  # ${what}\n  $ ${line}`)
  return command.addHelpText('after', `\nExamples:\n${lines.join('\n')}`)
}
