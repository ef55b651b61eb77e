import type { Command } from 'commander'
import type { P2pnsNode, Transfer } from '../../node/contract.ts'
import { P2pnsError } from '../../node/core/errors.ts'
import { columns, count, formatBytes } from '../format.ts'
import { addExamples } from '../options.ts'
import type { OpenSession, Session } from '../session.ts'
import { withNode } from '../with-node.ts'

export function defineTransfers(program: Command, open: OpenSession): void {
  const transfers = program
    .command('transfers')
    .summary('fetches under way: list, pause, resume, remove')
    .description(
      'The fetches of this home: what is under way, what waits and for what, what was stopped and can go on.',
    )
    .action(async (_options: object, command: Command) => {
      const session = open(command)
      await withNode(
        session,
        undefined,
        (node) => node.transfers(),
        (rows) => {
          session.output.list(rows, rows.flatMap(lines))
          if (rows.length === 0) session.output.note('no transfers')
        },
      )
    })
  const define = (
    name: string,
    summary: string,
    work: (session: Session, id: string, options: { files?: boolean }) => Promise<void>,
  ) =>
    transfers
      .command(`${name} <id>`)
      .summary(summary)
      .description(`${summary[0]?.toUpperCase()}${summary.slice(1)}.`)
      .action((id: string, options: { files?: boolean }, command: Command) => work(open(command), id, options))
  define('show', 'show one with its peers, and those that are asked no more', (session, id) =>
    change(session, async (node) => {
      const found = (await node.transfers()).find((row) => row.id === id)
      if (!found) throw new P2pnsError('transfer_not_found', `there is no transfer ${id}`)
      return found
    }),
  )
  define('pause', 'stop one; what it fetched stays', (session, id) => change(session, (node) => node.pauseTransfer(id)))
  define('resume', 'let one go on, in the running node', async (session, id) => {
    const running = await session.engine.connectNode(session.home)
    if (!running) {
      throw new P2pnsError('usage', `No node runs in ${session.home}: start \`p2pns up\`, or run that fetch again`)
    }
    try {
      tell(session, await running.resumeTransfer(id))
    } finally {
      await running.stop()
    }
  })
  define('remove', 'stop one and forget it', (session, id, { files }) =>
    withNode(
      session,
      undefined,
      (node) => node.removeTransfer(id, files ? { files } : {}),
      (transfer) => session.output.data(transfer, [`${transfer.id} is forgotten`]),
    ),
  ).option('--files', 'delete what it fetched so far, too')
  addExamples(transfers, [
    ['p2pns transfers', 'what is under way'],
    ['p2pns transfers resume ybndr', 'go on with one that was stopped'],
  ])
}

async function change(session: Session, work: (node: P2pnsNode) => Promise<Transfer>): Promise<void> {
  await withNode(session, undefined, work, (transfer) => tell(session, transfer))
}

function tell({ output }: Session, transfer: Transfer): void {
  const { peers, banned } = transfer
  output.data(transfer, [
    ...lines(transfer),
    ...columns(
      peers.map(({ peer, path, bytes, rate }) => [
        '  from',
        peer,
        path,
        formatBytes(bytes),
        `${formatBytes(Math.round(rate))}/s`,
      ]),
    ),
    ...columns(banned.map(({ peer, why }) => ['  not asked any more', peer, why])),
  ])
}

/** `ybndr  running  34 %  7.1 MB of 20.9 MB  12.0 MB/s from 3 peers  alice.p2p -> /tmp/alice`, and why. */
function lines({ id, target, out, state, done, total, peers, why }: Transfer): string[] {
  const rate = peers.reduce((sum, peer) => sum + peer.rate, 0)
  const percent = total > 0 ? `${Math.floor((done / total) * 100)} %` : '-'
  const speed = state === 'running' ? [`${formatBytes(Math.round(rate))}/s from ${count(peers.length, 'peer')}`] : []
  const row = [id, state, percent, `${formatBytes(done)} of ${formatBytes(total)}`, ...speed, `${target} -> ${out}`]
  return [row.join('  '), ...(why ? [`  ${why}`] : [])]
}
