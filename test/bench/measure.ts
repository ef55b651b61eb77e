/** What benches have in common: figures of a few rounds, processes and what they cost, temporary things that go again. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import * as fs from 'node:fs'
import { createServer } from 'node:net'

export const UNITS: Record<string, number> = { KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 }

/** `128MiB` in bytes. */
export function sizeOf(text: string): number {
  const [, amount = '', unit = ''] = /^(\d+)(KiB|MiB|GiB)$/.exec(text) ?? []
  const size = Number(amount) * (UNITS[unit] ?? Number.NaN)
  if (!(size > 0)) throw new Error(`${text} is no size: it looks like 128MiB`)
  return size
}

export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN
}

/** `median / min / max`. */
export function spread(values: readonly number[], digits: number): string {
  return [median(values), Math.min(...values), Math.max(...values)].map((value) => value.toFixed(digits)).join(' / ')
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  return port
}

/** Fills `file` with `size` bytes that no compression finds anything in. */
export function fillFile(file: string, size: number): void {
  const out = fs.openSync(file, 'w')
  const random = fs.openSync('/dev/urandom', 'r')
  const block = Buffer.alloc(2 ** 20)
  for (let done = 0; done < size; done += block.length) {
    fs.readSync(random, block)
    fs.writeSync(out, block, 0, Math.min(block.length, size - done))
  }
  fs.closeSync(random)
  fs.closeSync(out)
}

const children = new Set<ChildProcess>()

/** A process that ends with the bench at the latest. */
export function start(
  command: string,
  args: string[],
  options: { cwd?: string; env?: NodeJS.ProcessEnv } = {},
): ChildProcess {
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'], ...options })
  children.add(child)
  child.once('exit', () => children.delete(child))
  return child
}

/** Resolves to the first line of stdout that `accept` takes. */
export async function lineOf(child: ChildProcess, accept: (line: string) => boolean = () => true): Promise<string> {
  let text = ''
  for await (const chunk of child.stdout as AsyncIterable<Buffer>) {
    text += chunk.toString()
    const lines = text.split('\n')
    const found = lines.slice(0, -1).find(accept)
    if (found !== undefined) return found
  }
  throw new Error(`it ended before the line came: ${text}`)
}

/** Its stdout; throws unless it exits with 0. */
export async function output(child: ChildProcess): Promise<string> {
  let [text, errors] = ['', '']
  child.stdout?.on('data', (chunk) => (text += chunk))
  child.stderr?.on('data', (chunk) => (errors += chunk))
  const [code] = await once(child, 'exit')
  if (code !== 0) throw new Error(`${child.spawnargs.join(' ')} ended with ${code}: ${(errors + text).slice(-600)}`)
  return text
}

/** Processor seconds so far, and peak resident bytes, of a process that runs. */
export function costOf(pid: number): { cpu: number; peak: number } {
  const stat = fs.readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
  const [, peak] = /VmHWM:\s+(\d+) kB/.exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
  return { cpu: (Number(stat[11]) + Number(stat[12])) / 100, peak: Number(peak) * 1024 }
}

export async function stopAll(): Promise<void> {
  await Promise.all(
    [...children].map(async (child) => {
      child.kill('SIGKILL')
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
    }),
  )
}
