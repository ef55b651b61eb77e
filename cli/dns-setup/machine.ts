/** The machine that is set up: its files below a root, its commands, and who answers at an address. */
import { execFile } from 'node:child_process'
import { Resolver } from 'node:dns/promises'
import { promisify } from 'node:util'
import { formatHostPort, type HostPort } from '../options.ts'

/** What an address answers to: nothing, only our names, or every name. */
export type Answers = 'nothing' | 'p2p' | 'all'

export interface Machine {
  platform: NodeJS.Platform
  /** All paths of files are below it. */
  root: string
  env: Record<string, string | undefined>
  /** Ends when the command has; what it printed. Throws when it cannot be run or fails. */
  run(command: string[]): Promise<string>
  answersAt(dns: HostPort): Promise<Answers>
}

/** Milliseconds. */
const COMMAND_LIMIT = 60_000
const DNS_LIMIT = 2000

export function realMachine(): Machine {
  return {
    platform: process.platform,
    root: '/',
    env: process.env,
    async run([program = '', ...args]) {
      const { stdout } = await promisify(execFile)(program, args, { timeout: COMMAND_LIMIT })
      return stdout
    },
    answersAt,
  }
}

async function answersAt(dns: HostPort): Promise<Answers> {
  const resolver = new Resolver({ timeout: DNS_LIMIT, tries: 1 })
  resolver.setServers([formatHostPort(dns)])
  /** An answer without that type is an answer. */
  const answers = (question: Promise<unknown>): Promise<boolean> =>
    question.then(
      () => true,
      (error: NodeJS.ErrnoException) => error.code === 'ENODATA',
    )
  // p2p itself always is there, without a look at the network; every server that asks others finds the root.
  if (!(await answers(resolver.resolveTxt('p2p')))) return 'nothing'
  return (await answers(resolver.resolveNs('.'))) ? 'all' : 'p2p'
}
