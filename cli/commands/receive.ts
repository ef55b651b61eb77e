import type { Command } from 'commander'
import { keepIt, withChangingNode, wordsOf } from '../change.ts'
import { block } from '../format.ts'
import { addExamples, addIntroducerOption } from '../options.ts'
import type { OpenSession } from '../session.ts'
import { showJob } from '../with-node.ts'

export function defineReceive(program: Command, open: OpenSession): void {
  const command = program
    .command('receive')
    .summary('an address at which this home can be given a name')
    .description(
      'Print an ADDRESS at which this home can be given NAME, and the recovery key that NAME will have then. Keep the key ' +
        'offline and send the address to the owner of NAME. Every call makes a new pair; any of them works.',
    )
    .argument('<name>', 'a short name that somebody else has now, such as alice.p2p')
    .action(async (name: string, options: { introducer?: string[] }, command: Command) => {
      const session = open(command)
      await withChangingNode(session, options.introducer, async (node) => {
        const received = await showJob(session, (job) => node.receive({ name }, job))
        const { address, recovery } = received
        const words = await wordsOf(recovery)
        session.output.data(
          { ...received, words },
          block({ name: received.name, address, 'recovery key': recovery, 'in words': words }),
        )
        session.output.note(`note: ${keepIt(received.name)}`)
        session.output.note(`note: when it is yours, run: p2pns register ${received.name}`)
      })
    })
  addIntroducerOption(command)
  addExamples(command, [
    ['p2pns receive alice.p2p', 'prints ADDRESS, for whoever gives alice.p2p away'],
    ['p2pns register alice.p2p', 'later: takes the name up'],
  ])
}
