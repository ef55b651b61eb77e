/** Runs one command line from argument vector to exit code. */
import { CommanderError } from 'commander'
import { ERRORS, P2pnsError } from '../node/core/errors.ts'
import { catchInterrupts } from './interrupt.ts'
import { reportError } from './output.ts'
import { createProgram } from './program.ts'
import type { World } from './world.ts'

/** `argv` without the interpreter and the script. Never throws; the answer is the exit code. */
export async function run(argv: string[], world: World): Promise<number> {
  const interrupt = catchInterrupts(world)
  try {
    await createProgram(world, interrupt.signal).parseAsync(argv, { from: 'user' })
    return 0
  } catch (error) {
    if (error instanceof CommanderError) {
      // --help and --version have printed what was asked for; a bare `p2pns` has printed its help to stderr.
      if (error.exitCode === 0) return 0
      if (error.code === 'commander.help') return ERRORS.usage.exit
    }
    return reportError(
      interrupt.signal.aborted ? interrupt.signal.reason : usageError(error),
      world,
      argv.includes('--json'),
    )
  } finally {
    interrupt.release()
  }
}

/** commander's `error: unknown option '--jsn'\n(Did you mean --json?)` as one of our errors, in one line. */
function usageError(error: unknown): unknown {
  if (!(error instanceof CommanderError)) return error
  const text = error.message.replace(/^error: /, '').trim()
  return new P2pnsError('usage', text.replace(/\s+/g, ' ').replace(/\.$/, ''))
}
