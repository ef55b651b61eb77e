import type { Command } from 'commander'
import { introducerFolder } from '../home.ts'
import { untilAborted } from '../interrupt.ts'
import { addExamples, collect, formatHostPort, type HostPort, hostPort } from '../options.ts'
import type { OpenSession } from '../session.ts'

interface Options {
  listen?: string[]
  http?: HostPort
}

export function defineIntroducer(program: Command, open: OpenSession): void {
  const command = program
    .command('introducer')
    .summary('run a meeting point for other nodes')
    .description(
      'Run an introducer, until Ctrl-C: it helps newcomers in, relays, and witnesses short names. ' +
        'The first line of stdout is its address, to be given to `--introducer` elsewhere.',
    )
    .option('--listen <addr>', 'multiaddr to listen on; repeatable (default: any address; a port that stays)', collect)
    .option('--http <host:port>', 'serve GET /healthz and /metrics here; port 0 means any', hostPort)
    .action(async ({ listen, http }: Options, command: Command) => {
      const session = open(command)
      const introducer = await session.engine.createIntroducer({ home: introducerFolder(session.home), listen, http })
      try {
        const { address, addresses } = introducer
        const page = introducer.http && formatHostPort(introducer.http)
        session.output.data({ event: 'ready', address, addresses, http: page }, [address])
        for (const other of addresses) if (other !== address) session.output.note(`also at ${other}`)
        if (page) session.output.note(`metrics at http://${page}/metrics`)
        session.output.note('Ctrl-C stops it.')
        await untilAborted(session.signal)
      } finally {
        await introducer.stop()
      }
    })
  addExamples(command, [
    ['p2pns introducer --listen /ip4/0.0.0.0/tcp/4001', 'on a machine that others can reach'],
    ['p2pns introducer --http 127.0.0.1:8080', 'with a health check and metrics'],
  ])
}
