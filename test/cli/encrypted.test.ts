import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import * as fs from 'node:fs/promises'
import * as path from 'node:path'
import { test } from 'node:test'
import { readCertificate, watchCertificate } from '../../cli/certificate.ts'
import { run } from '../../cli/run.ts'
import { makeCertificate } from '../helpers/certificate.ts'
import { temporaryFolder } from '../helpers/folder.ts'
import { fakeWorld, STATUS } from './fake-world.ts'

const PLACES = ['--doh', '127.0.0.1:8443', '--dot', '[::1]:853']

test('up hands the certificate to the resolver, and says where it answers over HTTPS and TLS', async (t) => {
  const { files } = makeCertificate(await temporaryFolder(t))
  const world = fakeWorld()
  world.cwd = path.dirname(files.cert)
  const named = ['--cert', path.basename(files.cert), '--key', files.key]
  const ended = run(['up', ...PLACES, ...named, '--json'], world)
  await world.firstLine
  world.press('SIGTERM')
  assert.equal(await ended, 0)
  assert.deepEqual(
    world.calls.find(([call]) => call === 'createResolver'),
    [
      'createResolver',
      {
        host: '127.0.0.1',
        port: 5354,
        upstream: undefined,
        doh: { host: '127.0.0.1', port: 8443 },
        dot: { host: '::1', port: 853 },
        tls: ['cert', 'key'],
      },
    ],
  )
  const { doh, dot } = JSON.parse(world.out()) as { doh: string; dot: string }
  assert.deepEqual([doh, dot], ['https://127.0.0.1:8443/dns-query', '[::1]:853'])
})

test('a person reads where it answers, when it starts and in its status', async () => {
  const world = fakeWorld()
  const ended = run(['up', '--doh', '127.0.0.1:8053'], world)
  await world.firstLine
  world.press('SIGTERM')
  assert.equal(await ended, 0)
  assert.match(world.out(), /^doh +http:\/\/127\.0\.0\.1:8053\/dns-query$/m)
  assert.doesNotMatch(world.out(), /^dot/m)
  const status = async () => ({ ...STATUS, doh: 'https://dns.example/dns-query', dot: '192.0.2.1:853' })
  const other = fakeWorld({ running: true, node: { status } })
  assert.equal(await run(['status'], other), 0)
  assert.match(other.out(), /^doh +https:\/\/dns\.example\/dns-query\ndot +192\.0\.2\.1:853$/m)
})

test('what does not make sense is said before anything starts', async (t) => {
  const folder = await temporaryFolder(t)
  const { files } = makeCertificate(folder)
  const other = makeCertificate(folder, { title: 'other' })
  const write = async (name: string, content: string | Buffer): Promise<string> => {
    const file = path.join(folder, name)
    await fs.writeFile(file, content)
    return file
  }
  const text = await write('text', 'no certificate')
  const huge = await write('huge', Buffer.alloc(300_000, 'x'))
  const locked = path.join(folder, 'locked')
  execFileSync('openssl', ['ec', '-aes256', '-passout', 'pass:x', '-in', files.key, '-out', locked], {
    stdio: 'ignore',
  })
  const missing = path.join(folder, 'missing')
  const cases: [string[], number, RegExp][] = [
    [[...PLACES, '--cert', files.cert], 2, /A certificate needs its key: give both/],
    [['--cert', files.cert, '--key', files.key], 2, /--cert and --key are for --doh or --dot/],
    [['--no-dns', '--doh', '127.0.0.1:1'], 2, /--no-dns leaves it out/],
    [['--doh', '8443'], 2, /argument '8443' is invalid/],
    [[...PLACES, '--cert', missing, '--key', files.key], 3, /There is no file \S+missing\./],
    [[...PLACES, '--cert', text, '--key', files.key], 2, /text holds no certificate in PEM/],
    [[...PLACES, '--cert', files.key, '--key', files.key], 2, /made\.key holds no certificate in PEM/],
    [[...PLACES, '--cert', files.cert, '--key', files.cert], 2, /made\.cert holds no private key in PEM/],
    [
      [...PLACES, '--cert', files.cert, '--key', other.files.key],
      2,
      /other\.key is not that of the certificate in \S+made/,
    ],
    [[...PLACES, '--cert', files.cert, '--key', locked], 2, /locked is locked with a passphrase/],
    [[...PLACES, '--cert', huge, '--key', files.key], 2, /huge is too large for a certificate/],
    [[...PLACES, '--cert', folder, '--key', files.key], 2, /cannot be read \(EISDIR\)/],
  ]
  for (const [args, code, message] of cases) {
    const world = fakeWorld()
    assert.equal(await run(['up', ...args], world), code, args.join(' '))
    assert.match(world.err(), message)
    assert.equal(world.err().split('\n').length, 2, 'one line')
    assert.ok(!world.calls.some(([call]) => call === 'createNode'))
  }
})

test('a key that everybody can read and a certificate that has ended are told of', async (t) => {
  const { files } = makeCertificate(await temporaryFolder(t))
  await fs.chmod(files.key, 0o600)
  const now = Date.now()
  assert.deepEqual((await readCertificate(files, now)).notes, [])
  await fs.chmod(files.key, 0o644)
  const [readable, ended] = (await readCertificate(files, now + 3 * 86_400_000)).notes
  assert.equal(readable, `note: every user of this machine can read the key; chmod 600 ${files.key}`)
  assert.match(ended ?? '', /has ended/)
})

test('a renewed certificate is used once both files are there, and the old one until then', async (t) => {
  const folder = await temporaryFolder(t)
  const old = makeCertificate(folder)
  const fresh = makeCertificate(folder, { title: 'fresh' })
  const notes: string[] = []
  const noted = Promise.withResolvers<void>()
  const used = Promise.withResolvers<{ cert: string; key: string }>()
  const stop = watchCertificate(old.files, {
    current: old,
    use: used.resolve,
    note(line) {
      notes.push(line)
      noted.resolve()
    },
    now: Date.now,
    every: 10,
  })
  t.after(stop)
  // It has seen the old ones by then: what is asked of the disk later is answered later.
  for (const file of Object.values(old.files)) await fs.stat(file)
  await fs.rename(fresh.files.cert, old.files.cert)
  await noted.promise
  assert.match(notes[0] ?? '', /the old one stays in use: The key in \S+ is not that of the certificate/)
  await fs.rename(fresh.files.key, old.files.key)
  const { cert, key } = await used.promise
  assert.deepEqual([cert, key], [fresh.cert, fresh.key])
})
