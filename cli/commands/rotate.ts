import type { Command } from 'commander'
import { addChangeOptions, type ChangeOptions, changeName, recoveryKey } from '../change.ts'
import { addExamples } from '../options.ts'
import type { Secrets } from '../secrets.ts'
import type { OpenSession } from '../session.ts'

export function defineRotate(program: Command, open: OpenSession, secrets: Secrets): void {
  const command = program
    .command('rotate')
    .summary('put a name on a new key of this home')
    .description(
      'Put NAME on a new key of this home, with a new recovery key; what the name says stays. It takes the recovery key of ' +
        'NAME, which is used up by it. This is also how a name comes back whose owner key is lost, and how a thief loses ' +
        'it: do it from a new home (--home), since all keys of one home grow from the seed that may be stolen.',
    )
    .argument('<name>', 'a short name, such as alice.p2p')
    .action(async (name: string, options: ChangeOptions, command: Command) => {
      const session = open(command)
      const recovery = await recoveryKey(session, options, secrets, name)
      await changeName(session, options, (node, job) => node.rotate({ name, recovery }, job))
    })
  addChangeOptions(command)
  addExamples(command, [
    ['p2pns rotate alice.p2p', 'asks for the recovery key without showing it'],
    ['p2pns rotate alice.p2p --home ./new --introducer ADDR', 'the old home is lost, or its seed was stolen'],
  ])
}
