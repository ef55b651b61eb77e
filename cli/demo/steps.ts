/** What the demo does, step by step; each step gives the detail that is worth showing, or throws. */
import * as path from 'node:path'
import type { Fetched, Registered, Resolved, Shared } from '../../node/contract.ts'
import { ERRORS, type ErrorCode, P2pnsError } from '../../node/core/errors.ts'
import { count, formatBytes, formatKnown } from '../format.ts'
import { type HostPort, hostPort } from '../options.ts'
import type { Processes } from './processes.ts'
import { queryTcp, queryUdp } from './query.ts'
import { differences, type Hashes, hashFolder, makeSample } from './sample.ts'

export const NAME = 'alice.p2p'
/** Of a block that is kept for documentation (RFC 5737). */
const ADDRESS = '192.0.2.10'
/** The demo stays on this machine. */
const LISTEN = ['--listen', '/ip4/127.0.0.1/tcp/0']

export interface Step {
  title: string
  run: () => Promise<string>
}

export interface Demo {
  steps: Step[]
  /** What a person can try once all steps are done. */
  next: () => { what: string; command: string }[]
}

/** Everything of the demo lives below `folder`. */
export function planDemo(folder: string, processes: Processes): Demo {
  const homes = { introducer: path.join(folder, 'introducer'), a: path.join(folder, 'a'), b: path.join(folder, 'b') }
  const sample = path.join(folder, 'sample')
  const fetched = path.join(folder, 'fetched')
  let introducer = ''
  let dns: HostPort = { host: '', port: 0 }
  let hashes: Hashes = new Map()

  async function start<T>(args: string[]): Promise<T> {
    return JSON.parse((await processes.start([...args, '--json'])).firstLine) as T
  }

  /** One short command on the node of `home`, and the object it answers. */
  async function ask<T>(home: string, ...args: string[]): Promise<T> {
    const { code, stdout, stderr } = await processes.run([...args, '--home', home, '--json'])
    if (code !== 0) throw told(stdout) ?? failure(`\`p2pns ${args.join(' ')}\` ended with ${code}: ${stderr.trim()}`)
    return JSON.parse(stdout) as T
  }

  async function up(home: string): Promise<HostPort> {
    const args = ['up', '--home', home, '--introducer', introducer, '--dns', '127.0.0.1:0', ...LISTEN]
    return hostPort((await start<{ dns: string }>(args)).dns)
  }

  async function query(over: typeof queryUdp): Promise<string> {
    const addresses = await over(dns, NAME)
    if (addresses.join() !== ADDRESS) throw failure(`the answer is "${addresses.join()}", not ${ADDRESS}`)
    return ADDRESS
  }

  const steps: Step[] = [
    {
      title: 'an introducer is up',
      async run() {
        introducer = (await start<{ address: string }>(['introducer', '--home', homes.introducer, ...LISTEN])).address
        return introducer.slice(0, introducer.indexOf('/p2p/'))
      },
    },
    {
      title: 'peer A is up',
      run: async () => `DNS at port ${(await up(homes.a)).port}`,
    },
    {
      title: 'peer B is up',
      async run() {
        dns = await up(homes.b)
        return `DNS at port ${dns.port}`
      },
    },
    {
      title: `A registers ${NAME}`,
      async run() {
        const registered = await ask<Registered>(homes.a, 'register', NAME, '--a', ADDRESS)
        if (registered.kind !== 'short') throw failure(`it became a ${registered.kind}: ${registered.notes.join(' ')}`)
        return registered.until ? `witnessed until ${registered.until.slice(0, 10)}` : 'witnessed'
      },
    },
    {
      title: `A shares a folder as ${NAME}`,
      async run() {
        hashes = await makeSample(sample)
        const { files, bytes } = await ask<Shared>(homes.a, 'share', sample, '--as', NAME)
        return `${count(files, 'file')}, ${formatBytes(bytes)}`
      },
    },
    {
      title: `B resolves ${NAME}`,
      run: async () => formatKnown((await ask<Resolved>(homes.b, 'resolve', NAME, 'A')).known),
    },
    { title: 'B answers DNS over UDP', run: () => query(queryUdp) },
    { title: 'B answers DNS over TCP', run: () => query(queryTcp) },
    {
      title: `B fetches ${NAME}`,
      async run() {
        const { bytes, seconds, peers } = await ask<Fetched>(homes.b, 'fetch', NAME, '-o', fetched)
        const rate = formatBytes(Math.round(bytes / Math.max(seconds, 0.001)))
        return `${formatBytes(bytes)} at ${rate}/s, ${peers.map((peer) => peer.path).join(', ')}`
      },
    },
    {
      title: 'every byte is the same',
      async run() {
        const wrong = differences(hashes, await hashFolder(fetched))
        if (wrong.length > 0) throw failure(`these differ: ${wrong.join(', ')}`)
        return `${count(hashes.size, 'file')} by SHA-256`
      },
    },
  ]

  return {
    steps,
    next: () => [
      { what: 'ask peer B as any program would', command: `dig @${dns.host} -p ${dns.port} ${NAME}` },
      { what: 'fetch one file of it', command: `npx p2pns --home ${homes.b} fetch ${NAME}/hello.txt -o hello.txt` },
      { what: 'change the name on peer A', command: `npx p2pns --home ${homes.a} register ${NAME} --a 192.0.2.20` },
      { what: 'see who is connected, and how', command: `npx p2pns --home ${homes.b} peers` },
    ],
  }
}

/** The error that a command told with --json. */
function told(stdout: string): P2pnsError | undefined {
  if (!stdout.startsWith('{"error"')) return undefined
  const { code, message } = (JSON.parse(stdout) as { error: { code: ErrorCode; message: string } }).error
  return new P2pnsError(code, message.replace(`. ${ERRORS[code].next}`, ''))
}

function failure(what: string): P2pnsError {
  return new P2pnsError('internal', what)
}
