/**
 * `npx node test/bench/conformance.ts`: the packets of test/resolver/conformance against our server, bind and unbound (Debian: bind9,
 * unbound), which serve the same zones, on loopback and in one run. Prints as a table where each does something else than what
 * the case asks for, and why.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { freePort } from '../../node/net/free-port.ts'
import { cases } from '../resolver/conformance/cases.ts'
import { ask } from '../resolver/conformance/packet.ts'
import { answerTo, type Case, differences, show, type Transport, transportsOf } from '../resolver/conformance/run.ts'
import { startOurs } from '../resolver/conformance/servers.ts'
import { aliceRecords, bobRecords, masterFile } from '../resolver/conformance/zones.ts'
import { whyFor } from './conformance-why.ts'

/** How long others have for an answer, in ms; loopback takes one. */
const PATIENCE = 400
const RA = 0x80
const ZONES: Record<string, string> = {
  p2p: masterFile('p2p', [], 30),
  'alice.p2p': masterFile('alice.p2p', aliceRecords('alice.p2p')),
  'bob.p2p': masterFile('bob.p2p', bobRecords),
}

interface Other {
  name: 'bind' | 'unbound'
  port: number
  child: ChildProcess
}

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'p2pns-conformance-'))
for (const [apex, text] of Object.entries(ZONES)) fs.writeFileSync(zoneFile(apex), text)
const ours = await startOurs()
const others = [await startBind(), await startUnbound()]
// Whatever ends this process ends them as well.
process.on('exit', () => {
  for (const { child } of others) child.kill('SIGKILL')
})
try {
  for (const other of others) await ready(other)
  await compare()
} finally {
  for (const { child } of others) {
    child.kill('SIGKILL')
    await once(child, 'exit')
  }
  await ours.stop()
  fs.rmSync(folder, { recursive: true, force: true })
}

async function compare(): Promise<void> {
  const shared = cases.filter((one) => !one.ours && !one.server)
  const rows: string[] = []
  const counts = { ours: 0, bind: 0, unbound: 0 }
  for (const one of cases) {
    for (const transport of transportsOf(one)) {
      const wrong = differences(one, transport, await answerTo(one, ours.ports[one.server ?? 'plain'], transport))
      if (wrong.length === 0) continue
      counts.ours++
      rows.push(row(one, transport, 'ours', wrong.join('; ')))
    }
  }
  for (const one of shared) {
    for (const { name, port } of others) {
      const said = new Map<string, Transport[]>()
      for (const transport of transportsOf(one)) {
        const ourAnswer = await answerTo(one, ours.ports.plain, transport)
        const answer = withRaOf(ourAnswer, await answerTo(one, port, transport, PATIENCE))
        if (differences(one, transport, answer).length === 0) continue
        const what = show(answer)
        said.set(what, [...(said.get(what) ?? []), transport])
      }
      if (said.size > 0) counts[name]++
      for (const [what, transports] of said) rows.push(row(one, transports.join(', '), name, what))
    }
  }
  console.log(`${cases.length} packets, ${shared.length} of them for all three servers.`)
  console.log(`Other than the case asks for: ours ${counts.ours}, bind ${counts.bind}, unbound ${counts.unbound}.\n`)
  console.log('| RFC | packet | over | server | its answer | why |\n|---|---|---|---|---|---|')
  console.log(rows.join('\n'))
}

function row(one: Case, over: string, server: 'ours' | 'bind' | 'unbound', what: string): string {
  const cells = [one.rfc, one.name, over, server, what, whyFor(one, server)]
  return `| ${cells
    .map((cell) =>
      cell
        .replace(/[^\x20-\x7e’]/g, '.')
        .replaceAll('|', '\\|')
        .slice(0, 160),
    )
    .join(' | ')} |`
}

/** Only we search for others here, so only we say RA. */
function withRaOf(from: Buffer | undefined, answer: Buffer | undefined): Buffer | undefined {
  if (!answer || answer.length < 4 || !from) return answer
  const out = Buffer.from(answer)
  out[3] = ((out[3] as number) & ~RA) | ((from[3] as number) & RA)
  return out
}

function zoneFile(apex: string): string {
  return path.join(folder, `${apex}.zone`)
}

async function startBind(): Promise<Other> {
  const port = await freePort()
  const config = path.join(folder, 'named.conf')
  const zones = Object.keys(ZONES).map((apex) => `zone "${apex}" { type primary; file "${zoneFile(apex)}"; };`)
  fs.writeFileSync(
    config,
    `options {
  directory "${folder}"; pid-file none; session-keyfile none; managed-keys-directory "${folder}";
  listen-on port ${port} { 127.0.0.1; }; listen-on-v6 { none; };
  recursion no; dnssec-validation no; notify no; minimal-responses yes; max-udp-size 1232; edns-udp-size 1232;
  allow-transfer { none; };
};
controls {};
${zones.join('\n')}
`,
  )
  const log = fs.openSync(path.join(folder, 'named.log'), 'w')
  const child = spawn('named', ['-g', '-c', config], { stdio: ['ignore', log, log] })
  return { name: 'bind', port, child }
}

async function startUnbound(): Promise<Other> {
  const port = await freePort()
  const config = path.join(folder, 'unbound.conf')
  const zones = Object.keys(ZONES).map(
    (apex) => `auth-zone:
  name: "${apex}"
  zonefile: "${zoneFile(apex)}"
  for-downstream: yes
  for-upstream: yes
  fallback-enabled: no
`,
  )
  fs.writeFileSync(
    config,
    `server:
  interface: 127.0.0.1
  port: ${port}
  do-daemonize: no
  use-syslog: no
  chroot: ""
  username: ""
  directory: "${folder}"
  pidfile: ""
  module-config: "iterator"
  edns-buffer-size: 1232
  max-udp-size: 1232
  edns-tcp-keepalive: yes
  ede: yes
remote-control:
  control-enable: no
${zones.join('')}`,
  )
  const log = fs.openSync(path.join(folder, 'unbound.log'), 'w')
  const child = spawn('unbound', ['-d', '-c', config], { stdio: ['ignore', log, log] })
  return { name: 'unbound', port, child }
}

async function ready({ name, port }: Other): Promise<void> {
  const one: Case = { name: 'ready', rfc: '1034', packet: ask('alice.p2p'), expect: {} }
  for (let left = 40; left > 0; left--) {
    const answer = await answerTo(one, port, 'udp', 250).catch(() => undefined)
    if (answer && ((answer[3] as number) & 0x0f) === 0) return
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  throw new Error(
    `${name} does not answer: ${fs.readFileSync(path.join(folder, `${name === 'bind' ? 'named' : name}.log`), 'utf8')}`,
  )
}
