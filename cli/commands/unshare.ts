import * as path from 'node:path'
import type { Command } from 'commander'
import { P2pnsError } from '../../node/core/errors.ts'
import { addExamples } from '../options.ts'
import type { OpenSession } from '../session.ts'
import { looksLikeCid } from '../targets.ts'
import { withNode } from '../with-node.ts'

export function defineUnshare(program: Command, open: OpenSession): void {
  const command = program
    .command('unshare')
    .summary('stop sharing a file or a folder')
    .description('Stop sharing what `p2pns share` shared. Whoever has fetched it keeps it, and may share it on.')
    .argument('<what>', 'the CID, or the path that was shared')
    .action(async (what: string, _options: object, command: Command) => {
      const session = open(command)
      const target = looksLikeCid(what) ? what : path.resolve(session.cwd, what)
      await withNode(
        session,
        undefined,
        async (node) => {
          if (!(await node.unshare(target))) throw new P2pnsError('file_missing', `${what} is not shared by this home`)
        },
        () => session.output.data({ unshared: target }, [`${target} is not shared any more`]),
      )
    })
  addExamples(command, [['p2pns unshare ./photos', 'nobody gets it from here any more']])
}
