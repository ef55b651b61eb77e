import * as path from 'node:path'
import type { Command } from 'commander'
import type { Fetched } from '../../node/contract.ts'
import { count, formatBytes, formatSeconds } from '../format.ts'
import { addExamples, addIntroducerOption } from '../options.ts'
import type { OpenSession } from '../session.ts'
import { defaultOut } from '../targets.ts'
import { withNode } from '../with-node.ts'

interface Options {
  out?: string
  force?: boolean
  introducer?: string[]
}

export function defineFetch(program: Command, open: OpenSession): void {
  const command = program
    .command('fetch')
    .summary('get a file or a folder by name or CID')
    .description(
      'Get what TARGET leads to, straight from the peers that have it, every chunk checked before it is written. ' +
        'Run again after an interruption, it goes on where it stopped. Prints where it put it.',
    )
    .argument('<target>', 'NAME[/PATH], CID[/PATH] or a p2pns: link')
    .option(
      '-o, --out <out>',
      'file or folder to make; a file goes into a folder that is there (default: the last part of TARGET)',
    )
    .option('--force', 'replace a file that is already there; a folder never is')
    .action(async (target: string, options: Options, command: Command) => {
      const session = open(command)
      const out = path.resolve(session.cwd, options.out ?? defaultOut(target))
      await withNode(
        session,
        options.introducer,
        (node, job) => node.fetch(target, { ...job, out, force: options.force }),
        (fetched) => {
          session.output.data(fetched, [fetched.path])
          session.output.note(summary(fetched))
          for (const { peer, path, bytes } of fetched.peers) {
            session.output.note(`  ${formatBytes(bytes)} from ${peer} (${path})`)
          }
        },
      )
    })
  addIntroducerOption(command)
  addExamples(command, [
    ['p2pns fetch alice.p2p -o ./alice', 'everything that the name leads to'],
    ['p2pns fetch alice.p2p/2026/beach.jpg', 'one file of it'],
  ])
}

/** `20.9 MB in 1.2 s (17.4 MB/s) from 1 peer; 4.0 MB were already here`: the rate is that of the bytes that moved. */
function summary({ bytes, seconds, resumed, peers }: Fetched): string {
  const moved = bytes - resumed
  const rate = seconds > 0 && moved > 0 ? ` (${formatBytes(Math.round(moved / seconds))}/s)` : ''
  const here = resumed > 0 ? `; ${formatBytes(resumed)} were already here` : ''
  return `${formatBytes(bytes)} in ${formatSeconds(seconds)}${rate} from ${count(peers.length, 'peer')}${here}`
}
