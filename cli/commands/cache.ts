import type { Command } from 'commander'
import { addExamples } from '../options.ts'
import type { OpenSession } from '../session.ts'
import { withNode } from '../with-node.ts'

export function defineCache(program: Command, open: OpenSession): void {
  const cache = program
    .command('cache')
    .summary('forget what was learnt from others')
    .description('What this node has learnt from others.')
  const clear = cache
    .command('clear')
    .description('Forget what was learnt from others: cached records and negative answers.')
    .action(async (_options: object, command: Command) => {
      const session = open(command)
      await withNode(
        session,
        undefined,
        (node) => node.clearCache(),
        () => session.output.data({ cleared: true }, ['the cache is empty']),
      )
    })
  addExamples(clear, [['p2pns cache clear', 'the next lookup asks the network']])
}
