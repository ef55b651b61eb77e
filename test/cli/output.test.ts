import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Output, reportError } from '../../cli/output.ts'
import { P2pnsError } from '../../node/core/errors.ts'

/** Escape and CSI of the two control sets, a bidirectional override, and a format character of two UTF-16 units. */
const HOSTILE = 'a\u001b[31mb\u009b31mc\u202ed\u{e0041}\u007fe'

function collect() {
  let text = ''
  const stream = { write: (part: string) => void (text += part) }
  return { streams: { stdout: stream, stderr: stream }, text: () => text }
}

test('no control or format character leaves as it came, and with --json it reads back the same', () => {
  for (const json of [true, false]) {
    const { streams, text } = collect()
    const output = new Output(streams, { json, quiet: false })
    output.data({ path: HOSTILE }, [HOSTILE])
    output.list([{ path: HOSTILE }], [HOSTILE])
    output.note(HOSTILE)
    reportError(new P2pnsError('path_unsafe', HOSTILE), streams, json)
    const lines = text().trimEnd().split('\n')
    for (const line of lines) assert.doesNotMatch(line, /[\p{Cc}\p{Cf}]/u)
    if (json) for (const line of lines.slice(0, 2)) assert.deepEqual(JSON.parse(line), { path: HOSTILE })
  }
})
