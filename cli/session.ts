/** What one run of a command works with. */
import type { Command } from 'commander'
import { homeFolder } from './home.ts'
import { Output } from './output.ts'
import { secretsFrom } from './secrets.ts'
import type { Engine, World } from './world.ts'

export interface Session {
  /** Absolute. */
  home: string
  /** Absolute; relative paths that the person typed start here, wherever the node runs. */
  cwd: string
  output: Output
  engine: Engine
  /** Asked for when the seed of the home is locked. */
  passphrase: () => Promise<string>
  /** Aborted by Ctrl-C. */
  signal: AbortSignal
  now: () => number
}

/** Reads the global options of the command that runs. */
export type OpenSession = (command: Command) => Session

export function sessionOpener(world: World, signal: AbortSignal): OpenSession {
  return (command) => {
    const options = command.optsWithGlobals<{ home?: string; json?: boolean; quiet?: boolean }>()
    return {
      home: homeFolder(options.home, world.env, world.cwd),
      cwd: world.cwd,
      output: new Output(world, { json: options.json ?? false, quiet: options.quiet ?? false }),
      engine: world.engine,
      passphrase: () =>
        secretsFrom(world).ask({ what: 'Passphrase of this home', variable: 'P2PNS_PASSPHRASE', signal }),
      signal,
      now: world.now,
    }
  }
}
