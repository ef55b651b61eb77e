import type { Command } from 'commander'
import { addChangeOptions, type ChangeOptions, changeName, recoveryKey } from '../change.ts'
import { addExamples } from '../options.ts'
import type { Secrets } from '../secrets.ts'
import type { OpenSession } from '../session.ts'

interface Options extends ChangeOptions {
  to: string
}

export function defineTransfer(program: Command, open: OpenSession, secrets: Secrets): void {
  const command = program
    .command('transfer')
    .summary('give a name to somebody else')
    .description(
      'Give NAME to the home whose ADDRESS `p2pns receive NAME` printed there. It takes the recovery key of NAME, which is ' +
        'used up by it; the new owner has a new one. It cannot be undone. Broken off, the same command finishes it.',
    )
    .argument('<name>', 'a short name, such as alice.p2p')
    .requiredOption('--to <address>', 'what `p2pns receive` printed in the other home')
    .action(async (name: string, options: Options, command: Command) => {
      const session = open(command)
      const recovery = await recoveryKey(session, options, secrets, name)
      await changeName(session, options, (node, job) => node.transfer({ name, to: options.to, recovery }, job))
    })
  addChangeOptions(command)
  addExamples(command, [
    ['p2pns receive alice.p2p', 'first, on the machine of the new owner: prints ADDRESS'],
    ['p2pns transfer alice.p2p --to ADDRESS', 'asks for the recovery key without showing it'],
    ['P2PNS_RECOVERY=KEY p2pns transfer alice.p2p --to ADDRESS --json', 'in a script'],
  ])
}
