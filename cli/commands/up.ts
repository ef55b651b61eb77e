import { isIP } from 'node:net'
import { type Command, InvalidArgumentError, Option } from 'commander'
import type { Status } from '../../node/contract.ts'
import { P2pnsError } from '../../node/core/errors.ts'
import { addEncryptedOptions, type EncryptedFlags, encryptedFrom } from '../encrypted.ts'
import { block, formatIntroducers } from '../format.ts'
import {
  addExamples,
  addIntroducerOption,
  addLimitOptions,
  collect,
  formatHostPort,
  type HostPort,
  hostPort,
  type LimitOptions,
  limitsFrom,
} from '../options.ts'
import type { OpenSession } from '../session.ts'
import { hostNode } from '../with-node.ts'

interface Options extends LimitOptions, EncryptedFlags {
  introducer?: string[]
  listen?: string[]
  dns: HostPort | false
  upstream?: string[]
  allowPrivate?: string[]
  http?: HostPort
  birthday: boolean
  portMapping: boolean
}

/** Not 53, which only root may have, and not 5353, which is mDNS. */
export const DNS: HostPort = { host: '127.0.0.1', port: 5354 }

export function defineUp(program: Command, open: OpenSession): void {
  const command = program
    .command('up')
    .summary('run a node with its DNS resolver')
    .description('Run a node with its DNS resolver, until Ctrl-C. Other commands of the same home use it.')
    .option('--listen <addr>', 'multiaddr to listen on; repeatable (default: any address; a port that stays)', collect)
    .addOption(
      new Option('--dns <host:port>', 'where the DNS resolver answers; port 0 means any')
        .argParser(hostPort)
        .default(DNS, formatHostPort(DNS)),
    )
    .option('--no-dns', 'run without the DNS resolver')
    .option('--upstream <ip[:port]>', 'DNS server for every name outside .p2p, or `system`; repeatable', upstreams)
    .addOption(
      new Option('--allow-private [domain]', 'let its names (default: all) lead to private addresses; repeatable')
        .preset('')
        .argParser(collect),
    )
    .option('--http <host:port>', 'serve GET /healthz and /metrics here; port 0 means any', hostPort)
    .option('--no-port-mapping', 'do not ask the router to let others in')
    .option('--no-birthday', 'do not try many ports against a NAT that gives every connection another one')
    .action(async (options: Options, command: Command) => {
      const session = open(command)
      const running = await session.engine.connectNode(session.home)
      if (running) {
        await running.stop()
        throw new P2pnsError('node_running', `A node already runs in ${session.home}`)
      }
      const { introducer: introducers, listen, http } = options
      // What a person does not forbid is left to the node.
      const [birthday, portMapping] = [options.birthday, options.portMapping].map((may) => (may ? undefined : false))
      const { files, ...encrypted } = await encryptedFrom(options, session)
      if (!options.dns && (encrypted.doh ?? encrypted.dot)) {
        throw new P2pnsError('usage', '--doh and --dot belong to the DNS resolver, and --no-dns leaves it out')
      }
      const dns = options.dns ? { ...options.dns, ...forwardingFrom(options), ...encrypted } : undefined
      const hosting = { introducers, listen, dns, files, http, birthday, portMapping, ...limitsFrom(options) }
      await hostNode(session, hosting, async (node, page) => {
        const status = await node.status()
        session.output.data({ ...ready(status), http: page && formatHostPort(page) }, readyLines(status))
        if (page) session.output.note(`metrics at http://${formatHostPort(page)}/metrics`)
        session.output.note('Ctrl-C stops it.')
      })
    })
  addEncryptedOptions(command)
  addLimitOptions(command)
  addIntroducerOption(command)
  addExamples(command, [
    ['p2pns up --introducer /ip4/203.0.113.5/tcp/4001/p2p/12D3KooW...', 'the first time; later `p2pns up` is enough'],
    ['p2pns up --upstream system', 'answer .p2p, and everything else as this machine did before'],
    ['p2pns up --dns 127.0.0.1:0 --upstream 9.9.9.9 --upstream 149.112.112.112', 'the second stands in for the first'],
    [
      'p2pns up --doh 127.0.0.1:8443 --dot 127.0.0.1:853 --cert cert.pem --key key.pem --upstream system',
      'for browsers and others that ask over HTTPS or TLS',
    ],
  ])
}

/** An IP address, with a port or without, or `system`. */
function upstreams(value: string, previous: string[] | undefined): string[] {
  if (value !== 'system' && !isIP(value) && !isIP(hostPort(value).host)) {
    throw new InvalidArgumentError('It looks like 9.9.9.9, 127.0.0.1:5353 or system.')
  }
  return collect(value, previous)
}

/** `--allow-private` without a domain stands for all. */
function forwardingFrom({ upstream, allowPrivate }: Options): { upstream?: string[]; allowPrivate?: true | string[] } {
  return { upstream, allowPrivate: allowPrivate?.includes('') ? true : allowPrivate }
}

function ready({ peerId, home, addresses, dns, doh, dot, introducers }: Status): object {
  return { event: 'ready', peerId, home, addresses, dns, doh, dot, introducers }
}

function readyLines(status: Status): string[] {
  return block({
    'peer id': status.peerId,
    home: status.home,
    addresses: status.addresses,
    dns: status.dns ?? 'off',
    doh: status.doh,
    dot: status.dot,
    introducers: formatIntroducers(status),
  })
}
