import * as path from 'node:path'
import type { Command } from 'commander'
import type { Fetched } from '../../node/contract.ts'
import { count, formatBytes, formatSeconds } from '../format.ts'
import {
  addExamples,
  addIntroducerOption,
  addLimitOptions,
  collect,
  type LimitOptions,
  limitsFrom,
  wait,
} from '../options.ts'
import type { OpenSession } from '../session.ts'
import { defaultOut } from '../targets.ts'
import { withNode } from '../with-node.ts'

interface Options extends LimitOptions {
  out?: string
  force?: boolean
  only?: string[]
  wait?: number
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
    .argument('<target>', 'NAME[/PATH], CID[/PATH] or a p2pns: link; PATH may be a glob')
    .option(
      '-o, --out <out>',
      'file or folder to make; a file goes into a folder that is there (default: the last part of TARGET)',
    )
    .option('--force', 'replace a file that is already there; a folder never is')
    .option('--only <glob>', 'only what matches, relative to TARGET; repeatable', collect)
    .option(
      '--wait <seconds>',
      'how long to wait when nobody who has the rest is online (default: as long as it takes)',
      wait,
    )
    .action(async (target: string, options: Options, command: Command) => {
      const session = open(command)
      const out = path.resolve(session.cwd, options.out ?? defaultOut(target))
      const { force, only, wait } = options
      const request = { out, force, only, wait, ...limitsFrom(options) }
      await withNode(
        session,
        options.introducer,
        (node, job) => node.fetch(target, { ...request, ...job }),
        (fetched) => {
          session.output.data(fetched, [fetched.path])
          session.output.note(summary(fetched))
          for (const { peer, path, bytes } of fetched.peers) {
            session.output.note(`  ${formatBytes(bytes)} from ${peer} (${path})`)
          }
        },
      )
    })
  addLimitOptions(command)
  addIntroducerOption(command)
  addExamples(command, [
    ['p2pns fetch alice.p2p -o ./alice', 'everything that the name leads to'],
    ['p2pns fetch alice.p2p/2026/beach.jpg', 'one file of it'],
    ["p2pns fetch 'alice.p2p/docs/**' -o ./docs", 'a part of it'],
    ['p2pns fetch alice.p2p --down-limit 2MiB --wait 600', 'slowly, and not for ever'],
  ])
}

/** `20.9 MB in 1.2 s (17.4 MB/s) from 1 peer; 4.0 MB were already here`: the rate is that of the bytes that moved. */
function summary({ bytes, seconds, resumed, peers }: Fetched): string {
  const moved = bytes - resumed
  const rate = seconds > 0 && moved > 0 ? ` (${formatBytes(Math.round(moved / seconds))}/s)` : ''
  const here = resumed > 0 ? `; ${formatBytes(resumed)} were already here` : ''
  return `${formatBytes(bytes)} in ${formatSeconds(seconds)}${rate} from ${count(new Set(peers.map(({ peer }) => peer)).size, 'peer')}${here}`
}
