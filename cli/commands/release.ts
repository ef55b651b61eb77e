import type { Command } from 'commander'
import { addChangeOptions, type ChangeOptions, changeName, recoveryKey } from '../change.ts'
import { addExamples } from '../options.ts'
import type { Secrets } from '../secrets.ts'
import type { OpenSession } from '../session.ts'

export function defineRelease(program: Command, open: OpenSession, secrets: Secrets): void {
  const command = program
    .command('release')
    .summary('give a name back')
    .description(
      'Give NAME back: it leads nowhere at once, and anybody can have it when the term that was witnessed is over. It takes ' +
        'the recovery key of NAME. It cannot be undone. The zone stays here under its key name.',
    )
    .argument('<name>', 'a short name, such as alice.p2p')
    .action(async (name: string, options: ChangeOptions, command: Command) => {
      const session = open(command)
      const recovery = await recoveryKey(session, options, secrets, name)
      await changeName(session, options, (node, job) => node.release({ name, recovery }, job))
    })
  addChangeOptions(command)
  addExamples(command, [['p2pns release alice.p2p', 'asks for the recovery key without showing it']])
}
