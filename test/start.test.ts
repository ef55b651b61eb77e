import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import * as path from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'

const ROOT = path.join(import.meta.dirname, '..')
const run = promisify(execFile)

test('npm start -- --once does the main job and says so', async () => {
  const { stdout } = await run(process.execPath, ['cli/demo/main.ts', '--once'], { cwd: ROOT })
  assert.match(stdout, /all of it was verified/)
})

test('what the build emits has the library, its types and a command that runs', async () => {
  await run(process.execPath, [path.join('node_modules', 'typescript', 'bin', 'tsc'), '-p', 'tsconfig.build.json'], {
    cwd: ROOT,
  })
  const library = (await import(path.join(ROOT, 'dist', 'node', 'index.js'))) as Record<string, unknown>
  assert.equal(typeof library.createNode, 'function')
  const { stdout } = await run(process.execPath, [path.join('dist', 'cli', 'main.js'), '--version'], { cwd: ROOT })
  assert.match(stdout, /^\d+\.\d+\.\d+\n$/)
})
