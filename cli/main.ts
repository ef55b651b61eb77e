#!/usr/bin/env node
/** The `p2pns` command. The version is looked at before anything is imported that only Node 24 can run. */
import { P2pnsError } from '../node/core/errors.ts'
import { reportError } from './output.ts'

const NEEDED = 24

if (Number.parseInt(process.versions.node, 10) < NEEDED) {
  const error = new P2pnsError('node_version', `p2pns needs Node ${NEEDED}; this is Node ${process.versions.node}`)
  process.exitCode = reportError(error, process, process.argv.includes('--json'))
} else {
  const { run } = await import('./run.ts')
  const { realWorld } = await import('./world.ts')
  const code = await run(process.argv.slice(2), realWorld())
  // Everything has stopped; libp2p leaves timers behind that would hold the process for another second.
  process.stdout.write('', () => process.exit(code))
}
