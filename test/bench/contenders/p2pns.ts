/** Our side as a user has it: the real command, an introducer, and a node for each peer, all in one temporary folder. */
import * as path from 'node:path'
import { lineOf, output, start } from '../measure.ts'

/** What `npm run build` made. */
const MAIN = path.join(import.meta.dirname, '../../../dist/cli/main.js')
const ANY = '/ip4/127.0.0.1/tcp/0'

export class P2pnsNetwork {
  readonly #folder: string
  #introducer = ''

  constructor(folder: string) {
    this.#folder = folder
  }

  async begin(): Promise<void> {
    const child = start(process.execPath, [MAIN, 'introducer', '--home', this.#home('introducer'), '--listen', ANY])
    this.#introducer = await lineOf(child)
  }

  /** A running node; `--json` tells when it is ready. */
  async up(home: string, ...options: string[]): Promise<number> {
    const args = ['up', '--json', '--no-dns', '--home', this.#home(home), '--listen', ANY]
    const child = start(process.execPath, [MAIN, ...args, '--introducer', this.#introducer, ...options])
    await lineOf(child, (line) => line.includes('"ready"'))
    return child.pid as number
  }

  /** One command in a home; its result. */
  async run(home: string, ...args: string[]): Promise<Record<string, unknown>> {
    const text = await output(start(process.execPath, [MAIN, '--json', '--home', this.#home(home), ...args]))
    return JSON.parse(text.trim().split('\n').at(-1) ?? '{}') as Record<string, unknown>
  }

  #home(name: string): string {
    return path.join(this.#folder, 'homes', name)
  }
}
