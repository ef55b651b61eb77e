import type { Command } from 'commander'
import type { Diagnosis } from '../../node/contract.ts'
import { addExamples, addIntroducerOption } from '../options.ts'
import type { OpenSession } from '../session.ts'
import { withNode } from '../with-node.ts'

const SIGNS = { good: '✓', warning: '!', bad: '✗' } as const

export function defineDoctor(program: Command, open: OpenSession): void {
  const command = program
    .command('doctor')
    .summary('what stands between this machine and others')
    .description(
      'Find out what the NAT before this machine does, whether IPv4, IPv6, UDP, TCP and port mapping work, which introducers answer, and by which path a peer is reached; and say what to do about what does not work.',
    )
    .argument('[whom]', 'a name, a peer id or a multiaddr to try to reach')
    .action(async (whom: string | undefined, options: { introducer?: string[] }, command: Command) => {
      const session = open(command)
      await withNode(
        session,
        options.introducer,
        (node, job) => node.diagnose({ ...job, ...(whom === undefined ? {} : { peer: whom }) }),
        (diagnosis) => session.output.data(diagnosis, textOf(diagnosis)),
      )
    })
  addIntroducerOption(command)
  addExamples(command, [
    ['p2pns doctor', 'this machine and its network'],
    ['p2pns doctor alice.p2p', 'and the path to whoever serves that name'],
  ])
}

function textOf({ findings }: Diagnosis): string[] {
  return findings.flatMap(({ level, what, todo }) => [`${SIGNS[level]} ${what}`, ...(todo ? [`    ${todo}`] : [])])
}
