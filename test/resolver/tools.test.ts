/** What people ask DNS with, each as it is installed: the right answer, and nothing that the tool finds strange. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { type TestContext, test } from 'node:test'
import { promisify } from 'node:util'
import { a, nameIn, respond, soa, startUpstream } from './fake-upstream.ts'
import { lookupIn, NOW, startResolver, type TextRecords, zoneOf } from './harness.ts'

const run = promisify(execFile)

/** As they are asked for, and shown by a tool that shows no more than the data. */
const RECORDS: (TextRecords[number] & { short?: string })[] = [
  { type: 'A', data: '192.0.2.7' },
  { type: 'AAAA', data: '2001:db8::7' },
  { type: 'TXT', data: '"hello world"' },
  { label: '_http._tcp', type: 'SRV', data: '0 0 8080 alice.p2p', short: '0 0 8080 alice.p2p.' },
  { type: 'MX', data: '10 mail.alice.p2p', short: '10 mail.alice.p2p.' },
  { type: 'HTTPS', data: '1 . port=8443' },
  { type: 'CAA', data: '0 issue "x.example"' },
  { type: 'TYPE65280', data: '\\# 4 01020304' },
]
const ALIASES = [
  { label: 'in', type: 'CNAME', data: 'alice.p2p' },
  { label: 'out', type: 'CNAME', data: 'www.example.org' },
]
/** What the tools say of a message that they do not like. */
const STRANGE =
  /warn|bad packet|extra bytes|mismatch|malformed|unexpected|not match|garbage|short \(|parse|trailing|timed out|no servers|refused/i

interface Tool {
  name: string
  version: string
  /** Arguments of a question for data, of a full answer, and of one on its way with `options`. */
  ask: (port: number, ...more: string[]) => string[]
  short: string[]
  options: string[]
}

const TOOLS: Tool[] = [
  {
    name: 'dig',
    version: '-v',
    ask: (port, ...more) => ['@127.0.0.1', '-p', `${port}`, '+time=3', '+tries=1', ...more],
    short: ['+short'],
    options: [
      ['+tcp', '+cookie', '+cookie=0123456789abcdef0123456789abcdef', '+subnet=192.0.2.0/24', '+tcp +keepopen'],
      ['+tcp +keepalive', '+ednsopt=65001:aabb', '+nsid', '+noedns', '+edns=1', '+edns=1 +noednsnegotiation', '+qr'],
      ['+dnssec', '+bufsize=512', '+ednsflags=0xffff', '+cdflag', '+norecurse', '+expire', '+padding=128', '+zflag'],
    ].flat(),
  },
  {
    name: 'kdig',
    version: '-V',
    ask: (port, ...more) => ['@127.0.0.1', '-p', `${port}`, '+time=3', '+retry=0', ...more],
    short: ['+short'],
    options: [
      ['+tcp', '+cookie', '+cookie=0123456789abcdef0123456789abcdef', '+subnet=192.0.2.0/24', '+tcp +keepopen'],
      ['+ednsopt=65001:aabb', '+nsid', '+noedns', '+edns=1', '+qr', '+dnssec', '+bufsize=512', '+cdflag'],
      ['+norecurse', '+padding=128', '+alignment=128', '+json'],
    ].flat(),
  },
  {
    name: 'drill',
    version: '-v',
    ask: (port, ...more) => ['-p', `${port}`, '@127.0.0.1', ...more],
    short: ['-Q'],
    options: ['-D', '-D -b 4096', '-t', '-t -D', '-a', '-o CD', '-o rd', '-V 5'],
  },
  {
    name: 'delv',
    version: '-v',
    // Without -i it wants proof from the root, which no name of ours has.
    ask: (port, ...more) => ['@127.0.0.1', '-p', `${port}`, '-i', ...more],
    short: ['+short'],
    options: ['+tcp', '+cdflag', '+dnssec', '+rtrace', '+mtrace', '+noroot'],
  },
]

async function serve(t: TestContext): Promise<number> {
  const zone = zoneOf([...RECORDS, ...ALIASES])
  const upstream = await startUpstream(t, (packet, send) => {
    const isThere = nameIn(packet).toLowerCase() === 'www.example.org'
    send(respond(packet, isThere ? { answers: [a('198.51.100.7')] } : { flags: 0x8183, authority: [soa(60, 60)] }))
  })
  const lookup = lookupIn({ 'alice.p2p': zone }, () => NOW)
  return (await startResolver(t, { lookup, upstream: upstream.address, batch: true })).port
}

for (const { name: tool, version, ask, short, options } of TOOLS) {
  test(`${tool} finds every type, what is missing and where aliases lead, and nothing strange`, async (t) => {
    const missing = await run(tool, [version]).then(
      () => undefined,
      (error: NodeJS.ErrnoException) => (error.code === 'ENOENT' ? `${tool} is not installed` : undefined),
    )
    if (missing !== undefined) return t.skip(missing)
    const port = await serve(t)
    const asked = async (...more: string[]): Promise<string> => {
      const { stdout, stderr } = await run(tool, ask(port, ...more), { timeout: 10_000 })
      assert.doesNotMatch(stdout + stderr, STRANGE, more.join(' '))
      return stdout
    }
    const plain = (text: string): string => text.replaceAll('"', '').trim()

    for (const { label, type, data, short: shown = data } of RECORDS) {
      const name = label === undefined ? 'alice.p2p' : `${label}.alice.p2p`
      assert.equal(plain(await asked(...short, name, type)), plain(shown), type)
      assert.match(await asked(name, type), new RegExp(`^${name}\\.\\s.*${type}`, 'm'))
    }
    assert.match(await asked('alice.p2p', 'ANY'), /^alice\.p2p\.\s/m)
    assert.match(await asked('-x', '127.0.0.1'), /\sPTR\s+localhost\.$/m)
    assert.match(await asked('in.alice.p2p', 'A'), /CNAME\s+alice\.p2p\.\n[^]*^alice\.p2p\..*192\.0\.2\.7/m)
    assert.match(await asked('out.alice.p2p', 'A'), /CNAME\s+www\.example\.org\.\n[^]*^www\.example\.org\..*198\.51/m)
    assert.match(await asked('nobody.p2p', 'A'), /NXDOMAIN[^]*p2p\..*SOA/)
    assert.match(await asked('nobody.example', 'A'), /NXDOMAIN/i)
    assert.match(await asked('alice.p2p', 'LOC'), /alice\.p2p\..*SOA/)
    for (const option of options) {
      const answer = await asked(...option.split(' '), 'alice.p2p', 'A')
      assert.match(answer, option.includes('+edns=1') ? /BADVERS|192\.0\.2\.7/ : /192\.0\.2\.7/, option)
    }
  })
}
