import type { Command } from 'commander'
import { changeName } from '../change.ts'
import { addExamples, addIntroducerOption } from '../options.ts'
import type { OpenSession } from '../session.ts'

export function defineRenew(program: Command, open: OpenSession): void {
  const command = program
    .command('renew')
    .summary('prolong the lease of a name')
    .description(
      'Prolong the lease of NAME to 90 days from now. A running node does it by itself from the 30th day on; before that ' +
        'there is nothing to do. It takes no recovery key.',
    )
    .argument('<name>', 'a short name of this home, such as alice.p2p')
    .action(async (name: string, options: { introducer?: string[] }, command: Command) => {
      await changeName(open(command), options, (node, job) => node.renew({ name }, job))
    })
  addIntroducerOption(command)
  addExamples(command, [['p2pns renew alice.p2p', 'in a home where no node runs for months']])
}
