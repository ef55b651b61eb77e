import { type Command, Option } from 'commander'
import type { AccessOptions } from '../../introducer/access.ts'
import { P2pnsError } from '../../node/core/errors.ts'
import { introducerFolder } from '../home.ts'
import { untilAborted } from '../interrupt.ts'
import { addExamples, collect, formatHostPort, type HostPort, hostPort } from '../options.ts'
import type { OpenSession } from '../session.ts'

interface Options {
  access: AccessOptions['policy']
  peer?: string[]
  token?: string
  listen?: string[]
  witness?: string[]
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
    .option(
      '--witness <addr>',
      'address of another witness of its realm, ending in /p2p/ID; repeatable, and remembered; its own may be among them',
      collect,
    )
    .addOption(
      new Option('--access <policy>', 'whom to serve; `token` is those whose address for it ends in `?token=WORD`')
        .choices(['everyone', 'allowlist', 'denylist', 'token'])
        .default('everyone'),
    )
    .option('--peer <id>', 'a peer id of the list; repeatable', collect)
    .option('--token <word>', 'the word that peers have to know')
    .option('--http <host:port>', 'serve GET /healthz and /metrics here; port 0 means any', hostPort)
    .action(async ({ listen, witness: witnesses, http, ...whom }: Options, command: Command) => {
      const session = open(command)
      const access = accessFrom(whom)
      const home = introducerFolder(session.home)
      const introducer = await session.engine.createIntroducer({ home, listen, witnesses, http, access })
      try {
        const { address, addresses, realm } = introducer
        const page = introducer.http && formatHostPort(introducer.http)
        const { quorum, keys } = realm
        const { realmId } = await import('../../node/core/realm.ts')
        const id = Buffer.from(realmId(realm)).toString('hex')
        const about = { id, quorum, witnesses: keys.length }
        session.output.data({ event: 'ready', address, addresses, realm: about, http: page }, [address])
        for (const other of addresses) if (other !== address) session.output.note(`also at ${other}`)
        if (keys.length > 1) {
          session.output.note(
            `one of the ${keys.length} witnesses of realm ${id.slice(0, 8)}, of which ${quorum} must sign a name`,
          )
        }
        if (introducer.lostUntil !== undefined) {
          const day = new Date(introducer.lostUntil * 1000).toISOString().slice(0, 10)
          session.output.note(
            `its records are lost, so it witnesses no new names before ${day}; it renews those that it signed`,
          )
        }
        if (page) session.output.note(`metrics at http://${page}/metrics`)
        session.output.note('Ctrl-C stops it.')
        await untilAborted(session.signal)
      } finally {
        await introducer.stop()
      }
    })
  addExamples(command, [
    ['p2pns introducer --listen /ip4/0.0.0.0/tcp/4001', 'on a machine that others can reach'],
    ['p2pns introducer --witness ADDR1 --witness ADDR2 --witness ADDR3', 'one of four that witness names together'],
    ['p2pns introducer --http 127.0.0.1:8080', 'with a health check and metrics'],
  ])
}

function accessFrom({
  access,
  peer = [],
  token,
}: Pick<Options, 'access' | 'peer' | 'token'>): AccessOptions | undefined {
  switch (access) {
    case 'everyone':
      return undefined
    case 'token':
      if (!token) throw new P2pnsError('usage', '--access token needs --token WORD')
      return { policy: access, token }
    default:
      return { policy: access, peers: peer }
  }
}
