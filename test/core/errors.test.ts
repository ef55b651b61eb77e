import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { test } from 'node:test'
import { ERRORS, type ErrorCode, isError, P2pnsError } from '../../node/core/errors.ts'

const EXITS = new Map([
  [2, 'The command or its arguments are wrong'],
  [3, 'Not found'],
  [4, 'Something failed verification and was refused'],
  [5, 'Conflict: it belongs to somebody else, or something newer is there'],
  [6, 'Nobody could be reached'],
  [1, 'Unexpected'],
  [130, 'Interrupted'],
])

const entries = Object.entries(ERRORS) as [ErrorCode, { exit: number; next: string }][]

/** docs/errors.md as the table has it. */
function page(): string {
  const sections = [...EXITS].map(([exit, title]) => {
    const rows = entries.filter(([, row]) => row.exit === exit).map(([code, { next }]) => `| \`${code}\` | ${next} |`)
    return [`## ${exit}: ${title}`, '', '| code | what to do |', '|---|---|', ...rows].join('\n')
  })
  return `# Errors

Every error has a code that does not change between releases, a message that says what happened and to what, and a next step. With
\`--json\` the command line prints \`{"error":{"code":...,"message":...}}\`; its exit code is the number of the section. The table is \`node/core/errors.ts\`,
and this page is made from it.

${sections.join('\n\n')}
`
}

test('every code has an exit code of the command line and a next step', () => {
  for (const [code, { exit, next }] of entries) {
    assert.match(code, /^[a-z]+(_[a-z]+)*$/)
    assert.ok(EXITS.has(exit), `${code} exits with ${exit}`)
    assert.match(next, /^[A-Z`].*\.$/, `the next step of ${code} is one or more sentences`)
  }
})

test('an error says what happened, to what, and what to do next', () => {
  const cause = new Error('below')
  const error = new P2pnsError('name_taken', '"alice" belongs to somebody else', { cause })
  assert.equal(error.message, '"alice" belongs to somebody else. Choose another name.')
  assert.equal(error.exitCode, 5)
  assert.equal(error.cause, cause)
  assert.deepEqual(JSON.parse(JSON.stringify({ error })), { error: { code: 'name_taken', message: error.message } })
})

test('isError knows our errors, and which', () => {
  const error = new P2pnsError('malformed', 'It is')
  assert.ok(isError(error))
  assert.ok(isError(error, 'too_large', 'malformed'))
  assert.ok(!isError(error, 'too_large'))
  assert.ok(!isError(new Error('malformed'), 'malformed'))
  assert.ok(!isError(undefined))
})

test('docs/errors.md is made from the table', () => {
  const file = new URL('../../docs/errors.md', import.meta.url)
  if (process.env.UPDATE_DOCS) writeFileSync(file, page())
  assert.equal(readFileSync(file, 'utf8'), page(), 'update it: UPDATE_DOCS=1 npx node --test test/core/errors.test.ts')
})
