import type { Command } from 'commander'
import type { Status } from '../../node/contract.ts'
import { block, count, formatBytes, formatIntroducers, formatSeconds } from '../format.ts'
import { addExamples } from '../options.ts'
import type { OpenSession } from '../session.ts'
import { withNode } from '../with-node.ts'

export function defineStatus(program: Command, open: OpenSession): void {
  const command = program
    .command('status')
    .summary('what this node is, holds and shares')
    .description('What the node of this home is, which names it holds and what it shares.')
    .action(async (_options: object, command: Command) => {
      const session = open(command)
      await withNode(
        session,
        undefined,
        (node) => node.status(),
        (status) => session.output.data(status, statusLines(status)),
      )
    })
  addExamples(command, [['p2pns status --json', 'for a script']])
}

function statusLines(status: Status): string[] {
  return block({
    'peer id': status.peerId,
    version: status.version,
    home: status.home,
    uptime: formatSeconds(status.uptime),
    addresses: status.addresses,
    introducers: formatIntroducers(status),
    peers: count(status.peers, 'peer'),
    reach: reachLine(status.reach),
    dns: status.dns ?? 'off',
    doh: status.doh,
    dot: status.dot,
    names: status.names.map(({ name, keyName, until }) => `${name}  ${keyName}${until ? `  until ${until}` : ''}`),
    shares: status.shares.map(
      ({ cid, path, bytes, files }) => `${cid}  ${path}  (${count(files, 'file')}, ${formatBytes(bytes)})`,
    ),
    warnings: status.warnings,
  })
}

const MAPPINGS = {
  unknown: 'NAT not known yet',
  independent: 'a NAT that can be punched',
  symmetric: 'a NAT with another port for every connection',
  blocked: 'no UDP',
} as const

/** How others get here; `p2pns doctor` says more. */
function reachLine({ nat, portMapping, places }: Status['reach']): string {
  const net = nat.mapping === 'independent' && !nat.translated ? 'no NAT' : MAPPINGS[nat.mapping]
  const address = nat.address ? ` at ${nat.address}` : ''
  const mapped = portMapping === 'mapped' ? ', port mapped' : ''
  return `${net}${address}${mapped}, called over ${count(places.length, 'introducer')}`
}
