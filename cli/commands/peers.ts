import type { Command } from 'commander'
import type { PeerStatus } from '../../node/contract.ts'
import { columns } from '../format.ts'
import { addExamples } from '../options.ts'
import type { OpenSession } from '../session.ts'
import { withNode } from '../with-node.ts'

export function definePeers(program: Command, open: OpenSession): void {
  const command = program
    .command('peers')
    .summary('who this node is connected to, and how')
    .description('Who this node is connected to: peer id, path, round trip, address. With --json one object per peer.')
    .action(async (_options: object, command: Command) => {
      const session = open(command)
      await withNode(
        session,
        undefined,
        (node) => node.peers(),
        (peers) => {
          session.output.list(peers, columns(peers.map(peerRow)))
          if (peers.length === 0) session.output.note('no peers')
        },
      )
    })
  addExamples(command, [['p2pns peers', 'the connections of the running node']])
}

function peerRow({ peer, path, rtt, address, introducer, use, why }: PeerStatus): string[] {
  const place = introducer ? `${address} (introducer)` : use === 'control' ? address : use
  return [peer, path, rtt === undefined ? '-' : `${rtt.toFixed(1)} ms`, why ? `${place}: ${why}` : place]
}
