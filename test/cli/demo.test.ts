import assert from 'node:assert/strict'
import { appendFile, mkdtemp, rm } from 'node:fs/promises'
import * as os from 'node:os'
import * as path from 'node:path'
import { test } from 'node:test'
import { Processes } from '../../cli/demo/processes.ts'
import { differences, hashFolder, makeSample } from '../../cli/demo/sample.ts'

test('the sample is nested, has an empty file, and one changed byte in it is seen', async (t) => {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'p2pns-sample-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  const hashes = await makeSample(folder)
  const empty = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'
  assert.equal(hashes.get('notes/empty.txt'), empty)
  assert.ok(hashes.has('photos/2026/large.raw'))
  assert.deepEqual(differences(hashes, await hashFolder(folder)), [])

  await appendFile(path.join(folder, 'notes/empty.txt'), 'x')
  await rm(path.join(folder, 'hello.txt'))
  await appendFile(path.join(folder, 'extra.txt'), '')
  assert.deepEqual(differences(hashes, await hashFolder(folder)), ['extra.txt', 'hello.txt', 'notes/empty.txt'])
})

test('the real command answers with data on stdout, errors on stderr and its exit code', async (t) => {
  const processes = new Processes()
  t.after(() => processes.stopAll())
  const version = await processes.run(['--version'])
  assert.equal(version.code, 0)
  assert.match(version.stdout, /^\d+\.\d+\.\d+\n$/)
  const wrong = await processes.run(['resolv'])
  assert.equal(wrong.code, 2)
  assert.equal(wrong.stdout, '')
  assert.match(wrong.stderr, /^error: unknown command 'resolv' \(Did you mean resolve\?\)/)
})

test('a command that ends before it is ready is told with what it said', async (t) => {
  const processes = new Processes()
  t.after(() => processes.stopAll())
  await assert.rejects(processes.start(['resolv']), /`p2pns resolv` ended: error: unknown command/)
})

test('on an older Node the command says which one it needs and how to get it', async (t) => {
  const processes = new Processes()
  t.after(() => processes.stopAll())
  const older = "Object.defineProperty(process.versions, 'node', { value: '20.1.0' })"
  const env = { NODE_OPTIONS: `--import "data:text/javascript,${encodeURIComponent(older)}"` }
  const { code, stderr, stdout } = await processes.run(['--version'], { env })
  assert.equal(code, 1)
  assert.equal(stdout, '')
  assert.match(stderr, /^error: p2pns needs Node 24; this is Node 20\.1\.0\. Install Node 24;/)
})
