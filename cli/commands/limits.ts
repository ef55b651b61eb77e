import { type Command, InvalidArgumentError } from 'commander'
import { P2pnsError } from '../../node/core/errors.ts'
import { formatBytes } from '../format.ts'
import { addExamples, bytes } from '../options.ts'
import type { OpenSession } from '../session.ts'

interface Options {
  up?: number | 'none'
  down?: number | 'none'
}

export function defineLimits(program: Command, open: OpenSession): void {
  const command = program
    .command('limits')
    .summary('how much the running node may send and receive')
    .description(
      'Set the limits of the running node, until it ends; `p2pns up --up-limit RATE` sets them from the start. What is not named has none.',
    )
    .option('--up <rate>', 'most bytes a second to send, such as 8MiB, or none', rate)
    .option('--down <rate>', 'most bytes a second to receive, or none', rate)
    .action(async ({ up, down }: Options, command: Command) => {
      const { engine, home, output } = open(command)
      const running = await engine.connectNode(home)
      if (!running) throw new P2pnsError('usage', `No node runs in ${home}; give the limits to \`p2pns up\``)
      const limits = { ...(typeof up === 'number' ? { up } : {}), ...(typeof down === 'number' ? { down } : {}) }
      try {
        const set = await running.setLimits(limits)
        output.data(set, [`up ${shown(set.up)}, down ${shown(set.down)}`])
      } finally {
        await running.stop()
      }
    })
  addExamples(command, [['p2pns limits --up 1MiB', 'send no more than that']])
}

function rate(text: string): number | 'none' {
  if (text === 'none') return text
  try {
    return bytes(text)
  } catch {
    throw new InvalidArgumentError('It looks like 8MiB, 500kB, 4096 or none.')
  }
}

function shown(rate: number | undefined): string {
  return rate === undefined ? 'unlimited' : `${formatBytes(rate)}/s`
}
