import { type Command, Option } from 'commander'
import type { Policy, Resolved } from '../../node/contract.ts'
import { columns, formatKnown } from '../format.ts'
import { addExamples, addIntroducerOption } from '../options.ts'
import type { OpenSession } from '../session.ts'
import { withNode } from '../with-node.ts'

interface Options {
  policy: Policy
  trace?: boolean
  introducer?: string[]
}

export function defineResolve(program: Command, open: OpenSession): void {
  const command = program
    .command('resolve')
    .summary('look a name up')
    .description('Look NAME up, and say how the answer is known to be right.')
    .argument('<name>', 'a short name, a key name or a petname, with any labels before it')
    .argument('[type]', 'A, AAAA, TXT, SRV, ... (default: every type)')
    .addOption(
      new Option('--policy <policy>', 'cache-only: no network; cache-first: the cache while fresh; network: always ask')
        .choices(['cache-only', 'cache-first', 'network'] satisfies Policy[])
        .default('cache-first'),
    )
    .option('--trace', 'show each step of the lookup, with its time')
    .action(async (name: string, type: string | undefined, options: Options, command: Command) => {
      const session = open(command)
      const { policy, trace = false } = options
      await withNode(
        session,
        options.introducer,
        (node, { signal }) => node.resolve(name, type?.toUpperCase(), { policy, signal, ...(trace ? { trace } : {}) }),
        (resolved) => {
          session.output.data(resolved, recordLines(resolved))
          for (const { at, what } of resolved.trace ?? [])
            session.output.note(`; ${at.toFixed(1).padStart(7)} ms  ${what}`)
          session.output.note(`; ${formatKnown(resolved.known)}`)
          if (resolved.name !== resolved.keyName) session.output.note(`; key name ${resolved.keyName}`)
        },
      )
    })
  addIntroducerOption(command)
  addExamples(command, [
    ['p2pns resolve alice.p2p', 'everything it says'],
    ['p2pns resolve _http._tcp.alice.p2p SRV', 'one type, at a label'],
    ['p2pns resolve alice.p2p --policy network --trace', 'who was asked, and how long it took'],
    ['p2pns resolve alice.p2p A --policy network --json', 'past the cache, for a script'],
  ])
}

/** As dig prints them: name with its final dot, TTL in seconds, class, type, data. */
function recordLines(resolved: Resolved): string[] {
  return columns(
    resolved.records.map(({ name, ttl, type, data }) => [
      name.endsWith('.') ? name : `${name}.`,
      String(ttl),
      'IN',
      type,
      data,
    ]),
  )
}
