import type { Command } from 'commander'
import type { DnsAnswered } from '../../node/contract.ts'
import { P2pnsError } from '../../node/core/errors.ts'
import { addExamples } from '../options.ts'
import type { OpenSession } from '../session.ts'

export function defineLog(dns: Command, open: OpenSession): void {
  const command = dns
    .command('log')
    .summary('show what the running resolver answers, until Ctrl-C')
    .description(
      'Show each question that the running resolver answers, from now on until Ctrl-C. It says who looks at what: only the person of this home can see it, only while this runs, and nothing of it is written anywhere.',
    )
    .action(async (_options: object, command: Command) => {
      const { engine, home, output, signal } = open(command)
      const node = await engine.connectNode(home)
      if (!node) throw new P2pnsError('usage', `No node runs in ${home}: start \`p2pns up\``)
      output.note('Ctrl-C ends it.')
      try {
        for await (const answered of node.dnsLog(signal)) output.data(answered, lines(answered))
      } catch (error) {
        // That is how it is meant to end.
        if (!signal.aborted) throw error
      } finally {
        await node.stop()
      }
    })
  addExamples(command, [
    ['p2pns dns log', 'who asked for what, what they got and how long it took'],
    ['p2pns dns log --json | grep SERVFAIL', 'for a script'],
  ])
}

function lines({ at, client, transport, name, type, rcode, source, took, missed }: DnsAnswered): string[] {
  const time = at.slice('2026-01-01T'.length, -1)
  const line = `${time}  ${client} ${transport}  ${name}. ${type}  ${rcode} ${source}  ${took.toFixed(1)} ms`
  return missed === undefined ? [line] : [line, `${time}  and ${missed} more, which came too fast to be shown`]
}
