/** The one way out: data to stdout (text, or one JSON object per line), notes and errors to stderr. */
import { debuglog } from 'node:util'
import { P2pnsError } from '../node/core/errors.ts'
import type { TextStream } from './world.ts'

export interface Streams {
  stdout: TextStream
  stderr: TextStream
}

/** `NODE_DEBUG=p2pns` shows the stack of an error. */
const debug = debuglog('p2pns')

/** Names, paths and records come from strangers: a control character among them must not reach the terminal. */
const CONTROL = /[\p{Cc}\p{Cf}]/gu

function printable(line: string): string {
  return line.replace(CONTROL, (c) => `\\u{${c.codePointAt(0)?.toString(16)}}`)
}

/** One line of JSON that reads back as `value`; JSON itself escapes only what lies below U+0020 (RFC 8259 section 7). */
function jsonLine(value: unknown): string {
  const escaped = (c: string): string =>
    [...Array(c.length).keys()].map((i) => `\\u${c.charCodeAt(i).toString(16).padStart(4, '0')}`).join('')
  return `${JSON.stringify(value).replace(CONTROL, escaped)}\n`
}

export class Output {
  readonly json: boolean
  /** Where a progress bar may be drawn: a terminal, and nobody asked for silence. */
  readonly progressStream: TextStream | undefined
  readonly #streams: Streams

  constructor(streams: Streams, options: { json: boolean; quiet: boolean }) {
    this.#streams = streams
    this.json = options.json
    this.progressStream = streams.stderr.isTTY && !options.json && !options.quiet ? streams.stderr : undefined
  }

  /** What the command was asked for: `value` with --json, else `lines`. */
  data(value: unknown, lines: string[]): void {
    if (this.json) this.#streams.stdout.write(jsonLine(value))
    else for (const line of lines) this.#streams.stdout.write(`${printable(line)}\n`)
  }

  /** Bytes as they are; resolves when there is room for more. */
  async bytes(bytes: Uint8Array): Promise<void> {
    const { stdout } = this.#streams
    if (stdout.write(bytes) === false && stdout.once)
      await new Promise<void>((resolve) => stdout.once?.('drain', resolve))
  }

  /** The same for a list: with --json one object per line. */
  list(values: readonly unknown[], lines: string[]): void {
    if (this.json) for (const value of values) this.data(value, [])
    else this.data(values, lines)
  }

  /** A remark for a person; with --json the object already says it. */
  note(line: string): void {
    if (!this.json) this.#streams.stderr.write(`${printable(line)}\n`)
  }
}

/** Tells of `error` in one line, or in one object `{"error":{code,message}}` on stdout, and gives the exit code. */
export function reportError(error: unknown, streams: Streams, json: boolean): number {
  const ours = error instanceof P2pnsError ? error : new P2pnsError('internal', plainMessage(error), { cause: error })
  if (json) streams.stdout.write(jsonLine({ error: ours }))
  else streams.stderr.write(`error: ${printable(ours.message)}\n`)
  debug('%o', error)
  return ours.exitCode
}

function plainMessage(error: unknown): string {
  const text = error instanceof Error ? error.message || error.name : String(error)
  return text.trim().replace(/\s+/g, ' ').replace(/\.$/, '')
}
