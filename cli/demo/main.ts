/** `npm start`: an introducer and two peers on this machine, one name and one folder; `--once` ends when all is verified. */
import * as fs from 'node:fs/promises'
import * as os from 'node:os'
import * as path from 'node:path'
import { parseArgs } from 'node:util'
import { formatSeconds } from '../format.ts'
import { catchInterrupts, untilAborted } from '../interrupt.ts'
import { reportError } from '../output.ts'
import { realWorld, type World } from '../world.ts'
import { Processes } from './processes.ts'
import { planDemo, type Step } from './steps.ts'

async function demo(world: World, once: boolean, signal: AbortSignal): Promise<void> {
  const say = (line: string): void => void world.stdout.write(`${line}\n`)
  const folder = await fs.mkdtemp(path.join(os.tmpdir(), 'p2pns-demo-'))
  const processes = new Processes()
  try {
    const { steps, next } = planDemo(folder, processes)
    say('\np2pns: an introducer and two peers, each a process of its own on this machine\n')
    const width = Math.max(...steps.map((step) => step.title.length))
    for (const step of steps) {
      signal.throwIfAborted()
      await show(step, width, world)
    }
    say('\nA name was registered, resolved and used to fetch a folder; all of it was verified.')
    if (once) return
    say('\nTry in another terminal, in this folder:\n')
    for (const { what, command } of next()) say(`  # ${what}\n  ${command}\n`)
    say('Ctrl-C stops the three processes and removes their folders.')
    await untilAborted(signal)
  } finally {
    await processes.stopAll()
    await fs.rm(folder, { recursive: true, force: true })
  }
}

/** `✓ title  detail  time` in one line; on a terminal the title stands there while the step runs. */
async function show({ title, run }: Step, width: number, { stdout, now }: World): Promise<void> {
  const head = title.padEnd(width)
  if (stdout.isTTY) stdout.write(`  · ${title} ...`)
  const line = (mark: string, text: string): void => {
    stdout.write(`${stdout.isTTY ? '\r\x1b[K' : ''}  ${mark} ${head}  ${text}\n`)
  }
  const started = now()
  try {
    const detail = await run()
    line('✓', `${detail.padEnd(48)} ${formatSeconds((now() - started) / 1000).padStart(6)}`)
  } catch (error) {
    line('✗', 'failed')
    throw error
  }
}

const world = realWorld()
const interrupt = catchInterrupts(world)
try {
  const { values } = parseArgs({ options: { once: { type: 'boolean', default: false } } })
  await demo(world, values.once, interrupt.signal)
} catch (error) {
  process.exitCode = reportError(interrupt.signal.aborted ? interrupt.signal.reason : error, world, false)
} finally {
  interrupt.release()
}
