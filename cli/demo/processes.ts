/** Real `p2pns` processes: start them, wait for what they say first, end every one of them. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { P2pnsError } from '../../node/core/errors.ts'

/** main.ts in a clone, main.js in dist. */
const MAIN = fileURLToPath(new URL(import.meta.url.endsWith('.ts') ? '../main.ts' : '../main.js', import.meta.url))

/** Milliseconds; generous, for a loaded machine. */
const START_LIMIT = 60_000
const RUN_LIMIT = 120_000
const STOP_LIMIT = 10_000

export interface Ran {
  /** The exit code; 128 when a signal ended it. */
  code: number
  stdout: string
  stderr: string
}

export interface Started {
  /** The first line that it printed to stdout. */
  firstLine: string
  /** Ends it with SIGTERM and gives all it said. */
  stop: () => Promise<Ran>
  /** Ends it as a power cut would. */
  kill: () => Promise<void>
}

export interface Place {
  cwd?: string
  /** Added to the environment of this process. */
  env?: Record<string, string>
  /** A command that runs the process somewhere else, such as `ip netns exec NAME`. */
  within?: string[]
}

export class Processes {
  readonly #children = new Set<ChildProcess>()

  constructor() {
    // However this process ends, short of kill -9, none of its children outlives it.
    process.once('exit', () => {
      for (const child of this.#children) child.kill('SIGKILL')
    })
  }

  /** Runs `p2pns ...args` to its end. */
  async run(args: string[], place: Place = {}): Promise<Ran> {
    const { child, output } = this.#spawn(args, place)
    const timer = setTimeout(() => child.kill('SIGKILL'), RUN_LIMIT)
    const [code] = (await once(child, 'close')) as [number | null]
    clearTimeout(timer)
    return { code: code ?? 128, ...output }
  }

  /** Starts a `p2pns ...args` that stays, and waits for its first line. Throws when it ends or says nothing. */
  async start(args: string[], place: Place = {}): Promise<Started> {
    const { child, output } = this.#spawn(args, place)
    const { promise, resolve, reject } = Promise.withResolvers<string>()
    const failed = (why: string): void => {
      reject(
        new P2pnsError('internal', `\`p2pns ${args.join(' ')}\` ${why}: ${`${output.stdout}${output.stderr}`.trim()}`),
      )
    }
    const timer = setTimeout(() => failed('did not become ready'), START_LIMIT)
    child.stdout?.on('data', () => {
      const end = output.stdout.indexOf('\n')
      if (end !== -1) resolve(output.stdout.slice(0, end))
    })
    child.once('close', () => failed('ended'))
    try {
      const firstLine = await promise
      return {
        firstLine,
        async stop() {
          await stop(child)
          return { code: child.exitCode ?? 128, ...output }
        },
        async kill() {
          const closed = once(child, 'close')
          if (child.kill('SIGKILL')) await closed
        },
      }
    } finally {
      clearTimeout(timer)
    }
  }

  async stopAll(): Promise<void> {
    await Promise.all([...this.#children].map(stop))
  }

  #spawn(
    args: string[],
    { cwd, env, within = [] }: Place,
  ): { child: ChildProcess; output: { stdout: string; stderr: string } } {
    const [command = '', ...rest] = [...within, process.execPath, MAIN, ...args]
    const child = spawn(command, rest, {
      cwd,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.#children.add(child)
    child.once('close', () => this.#children.delete(child))
    const output = { stdout: '', stderr: '' }
    for (const name of ['stdout', 'stderr'] as const) {
      child[name].setEncoding('utf8').on('data', (text: string) => {
        output[name] += text
      })
    }
    return { child, output }
  }
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const closed = once(child, 'close')
  child.kill('SIGTERM')
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_LIMIT)
  await closed
  clearTimeout(timer)
}
