import * as path from 'node:path'
import type { Command } from 'commander'
import type { Registered } from '../../node/contract.ts'
import { block, count } from '../format.ts'
import { addExamples, addIntroducerOption, collect, seconds } from '../options.ts'
import { type RecordOptions, recordsOf } from '../records.ts'
import type { OpenSession } from '../session.ts'
import { looksLikeCid } from '../targets.ts'
import { withNode } from '../with-node.ts'

interface Options extends RecordOptions {
  file?: string
  peer?: string[]
  introducer?: string[]
}

export function defineRegister(program: Command, open: OpenSession): void {
  const command = program
    .command('register')
    .summary('own a name, or change what it says')
    .description(
      'Own NAME, or change what it says. A type that is given replaces what the name held of that type; the rest stays.',
    )
    .argument('<name>', 'alice.p2p, any name below it, or a key name of this home')
    .option('--a <ip>', 'IPv4 address; repeatable', collect)
    .option('--aaaa <ip>', 'IPv6 address; repeatable', collect)
    .option('--txt <text>', 'text; repeatable', collect)
    .option(
      '--srv <srv>',
      '"_http._tcp 0 0 8080 alice.p2p": label, priority, weight, port, target; repeatable',
      collect,
    )
    .option('--record <record>', '"TYPE DATA" for any other type; repeatable', collect)
    .option('--ttl <seconds>', 'how long resolvers may keep these records (default: 300)', seconds)
    .option('--file <cid|path>', 'what `p2pns fetch NAME` gets; a path is shared first')
    .option('--peer <peer>', '`self`, or a peer id, that serves the name; repeatable', collect)
    .action(async (name: string, options: Options, command: Command) => {
      const session = open(command)
      const records = recordsOf(options)
      const { peer: peers } = options
      const file = options.file && !looksLikeCid(options.file) ? path.resolve(session.cwd, options.file) : options.file
      await withNode(
        session,
        options.introducer,
        (node, job) => node.register({ name, records, file, peers }, job),
        (registered) => {
          session.output.data(registered, registeredLines(registered))
          for (const note of registered.notes) session.output.note(`note: ${note}`)
        },
      )
    })
  addIntroducerOption(command)
  addExamples(command, [
    ['p2pns register alice.p2p --a 192.0.2.7 --aaaa 2001:db8::7', 'addresses'],
    ['p2pns register www.alice.p2p --a 192.0.2.8', 'a name below one of yours'],
    ['p2pns register alice.p2p --srv "_http._tcp 0 0 8080 alice.p2p"', 'a service'],
    ['p2pns register alice.p2p --record "MX 10 mail.alice.p2p" --ttl 600', 'any other type'],
    ['p2pns register alice.p2p --file ./photos', 'a folder'],
  ])
}

function registeredLines(registered: Registered): string[] {
  return block({
    name: registered.name,
    'key name': registered.keyName,
    kind: registered.kind,
    seq: registered.seq,
    until: registered.until,
    stored: `by ${count(registered.stored, 'node')}`,
  })
}
