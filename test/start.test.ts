import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFile, rm } from 'node:fs/promises'
import * as path from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'

const ROOT = path.join(import.meta.dirname, '..')
const run = promisify(execFile)

test('npm start -- --once does the main job and says so', async () => {
  const { stdout } = await run(process.execPath, ['cli/demo/main.ts', '--once'], { cwd: ROOT })
  assert.match(stdout, /all of it was verified/)
})

test('what the build emits has the library, its types and a command that runs', async (t) => {
  // Inside the clone, so that packages are found; not dist/, which somebody may be using.
  const folder = path.join(ROOT, 'node_modules', '.cache', `p2pns-build-${process.pid}`)
  t.after(() => rm(folder, { recursive: true, force: true }))
  const tsc = path.join('node_modules', 'typescript', 'bin', 'tsc')
  await run(process.execPath, [tsc, '-p', 'tsconfig.build.json', '--outDir', folder], { cwd: ROOT })
  const library = (await import(path.join(folder, 'node', 'index.js'))) as Record<string, unknown>
  assert.equal(typeof library.createNode, 'function')
  assert.match(await readFile(path.join(folder, 'node', 'index.d.ts'), 'utf8'), /createNode/)
  const { stdout } = await run(process.execPath, [path.join(folder, 'cli', 'main.js'), '--version'])
  assert.match(stdout, /^\d+\.\d+\.\d+\n$/)
})
