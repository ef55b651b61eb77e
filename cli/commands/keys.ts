import type { Command } from 'commander'
import { columns } from '../format.ts'
import { addExamples } from '../options.ts'
import type { OpenSession } from '../session.ts'
import { withNode } from '../with-node.ts'

export function defineKeys(program: Command, open: OpenSession): void {
  const command = program
    .command('keys')
    .summary('the public keys of this home')
    .description(
      'The public keys of this home: its names and the key names that always lead to them. ' +
        'All grow from the file `seed` in the home; keep a copy of it in a safe place. With --json one object per key.',
    )
    .action(async (_options: object, command: Command) => {
      const session = open(command)
      await withNode(
        session,
        undefined,
        (node) => node.keys(),
        (keys) => session.output.list(keys, columns(keys.map(({ use, name, keyName }) => [use, name, keyName]))),
      )
    })
  addExamples(command, [['p2pns keys', 'whose names are these?']])
}
