/**
 * What only the person knows: from the environment, for scripts, or typed on the terminal without echo. Never from the
 * command line unless the person insists: other users of the machine and the shell's history see that.
 */
import * as readline from 'node:readline'
import { Writable } from 'node:stream'
import { P2pnsError } from '../node/core/errors.ts'
import type { TextStream } from './world.ts'

export interface Secrets {
  /** `what` as in "Recovery key of alice.p2p". With `twice` it is typed again, since nobody sees what was typed. */
  ask(request: { what: string; variable: string; twice?: boolean; signal?: AbortSignal }): Promise<string>
}

export interface SecretSources {
  env: Record<string, string | undefined>
  stdin: NodeJS.ReadableStream & { isTTY?: boolean }
  stderr: TextStream
}

export function secretsFrom({ env, stdin, stderr }: SecretSources): Secrets {
  return {
    async ask({ what, variable, twice, signal }) {
      const given = env[variable]
      if (given !== undefined && given !== '') return given
      if (!stdin.isTTY) throw new P2pnsError('usage', `${what} is needed: set ${variable}, or run this on a terminal`)
      const typed = await readHidden(stdin, stderr, `${what}: `, signal)
      if (twice && (await readHidden(stdin, stderr, `${what}, again: `, signal)) !== typed) {
        throw new P2pnsError('usage', 'The two that were typed differ')
      }
      return typed
    },
  }
}

/** One line of a terminal. readline edits it, and writes its echo to nobody. */
async function readHidden(
  input: SecretSources['stdin'],
  stderr: TextStream,
  prompt: string,
  signal?: AbortSignal,
): Promise<string> {
  const nobody = new Writable({ write: (_chunk, _encoding, done) => done() })
  const lines = readline.createInterface({ input, output: nobody, terminal: true, historySize: 0 })
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  const interrupted = () => reject(new P2pnsError('interrupted', 'Nothing was typed'))
  lines.once('line', resolve)
  // In raw mode the terminal sends no signal for Ctrl-C; Ctrl-D closes.
  lines.once('SIGINT', interrupted)
  lines.once('close', interrupted)
  signal?.addEventListener('abort', interrupted, { once: true })
  stderr.write(prompt)
  try {
    return await promise
  } finally {
    signal?.removeEventListener('abort', interrupted)
    lines.close()
    stderr.write('\n')
  }
}
