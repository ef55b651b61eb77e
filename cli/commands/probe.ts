import type { Command } from 'commander'
import { block, formatBytes, formatSeconds } from '../format.ts'
import { addExamples, addIntroducerOption, bytes } from '../options.ts'
import type { OpenSession } from '../session.ts'
import { withNode } from '../with-node.ts'

interface Options {
  size?: number
  introducer?: string[]
}

export function defineProbe(program: Command, open: OpenSession): void {
  const command = program
    .command('probe')
    .summary('how fast a peer is')
    .description(
      'Measure the path to a peer, the round trip, and the rate of a transfer that is verified like any other. Nothing is kept.',
    )
    .argument('<whom>', 'a name, a peer id or a multiaddr with one')
    .option(
      '--size <bytes>',
      'how much to transfer: 1MiB to 1GiB, rounded up to a power of two (default: 64MiB)',
      bytes,
    )
    .action(async (whom: string, options: Options, command: Command) => {
      const session = open(command)
      await withNode(
        session,
        options.introducer,
        (node, job) => node.probe(whom, { ...job, ...(options.size ? { size: options.size } : {}) }),
        (probed) =>
          session.output.data(
            probed,
            block({
              peer: probed.peer,
              path: probed.path,
              'round trip': `${probed.rtt.toFixed(1)} ms`,
              transfer: `${formatBytes(probed.bytes)} in ${formatSeconds(probed.seconds)}`,
              rate: `${formatBytes(probed.rate)}/s`,
            }),
          ),
      )
    })
  addIntroducerOption(command)
  addExamples(command, [['p2pns probe alice.p2p', 'the way to whoever serves the name']])
}
