/** What options are made of: each reader turns text into a value or into a usage error. */
import { type Command, InvalidArgumentError } from 'commander'

/** For an option that may be given several times. */
export function collect(value: string, previous: string[] | undefined): string[] {
  return [...(previous ?? []), value]
}

/** Whole seconds, at least 1. */
export function seconds(text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new InvalidArgumentError('It is a whole number of seconds.')
  return Number(text)
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
