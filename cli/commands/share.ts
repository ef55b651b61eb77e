import * as path from 'node:path'
import type { Command } from 'commander'
import type { Shared } from '../../node/contract.ts'
import { count, formatBytes } from '../format.ts'
import { addExamples, addIntroducerOption, addLimitOptions, type LimitOptions, limitsFrom } from '../options.ts'
import type { OpenSession, Session } from '../session.ts'
import { hostNode, showJob } from '../with-node.ts'

interface Options extends LimitOptions {
  as?: string
  introducer?: string[]
}

export function defineShare(program: Command, open: OpenSession): void {
  const command = program
    .command('share')
    .summary('let others fetch a file or a folder')
    .description(
      'Let others fetch PATH, a file or a folder; nothing is copied. The first line of stdout is its CID. ' +
        'A running node goes on sharing it; with none running, this command stays and shares until Ctrl-C.',
    )
    .argument('<path>', 'a file or a folder')
    .option('--as <name>', 'let this name of yours lead to it')
    .action(async (target: string, options: Options, command: Command) => {
      const session = open(command)
      const absolute = path.resolve(session.cwd, target)
      const running = await session.engine.connectNode(session.home)
      if (running) {
        if (options.upLimit ?? options.downLimit) {
          session.output.note('note: a node runs in this home; `p2pns limits` changes its limits')
        }
        try {
          tell(session, await showJob(session, (job) => running.share(absolute, { ...job, as: options.as })))
        } finally {
          await running.stop()
        }
        return
      }
      await hostNode(session, { introducers: options.introducer, ...limitsFrom(options) }, async (node) => {
        tell(session, await showJob(session, (job) => node.share(absolute, { ...job, as: options.as })))
        session.output.note('Sharing until Ctrl-C; with `p2pns up` in this home a share goes on in the background.')
      })
    })
  addLimitOptions(command)
  addIntroducerOption(command)
  addExamples(command, [
    ['p2pns share ./photos', 'others fetch it by its CID'],
    ['p2pns share ./photos --as alice.p2p', 'others fetch it by name'],
  ])
}

function tell({ output }: Session, shared: Shared): void {
  output.data(shared, [shared.cid])
  output.note(`${count(shared.files, 'file')}, ${formatBytes(shared.bytes)}; link ${shared.link}`)
  for (const path of shared.skipped) output.note(`left out, since it is neither file nor folder: ${path}`)
  if (shared.name) output.note(`${shared.name} leads to it now`)
}
