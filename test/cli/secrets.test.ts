import assert from 'node:assert/strict'
import { PassThrough } from 'node:stream'
import { test } from 'node:test'
import { secretsFrom } from '../../cli/secrets.ts'

const ASKED = { what: 'Passphrase', variable: 'P2PNS_PASSPHRASE' }

function terminal(env: Record<string, string> = {}) {
  const stdin = Object.assign(new PassThrough(), { isTTY: true, setRawMode: () => stdin })
  const written = { err: '' }
  const stderr = { write: (text: string) => void (written.err += text) }
  return { stdin, written, secrets: secretsFrom({ env, stdin, stderr }) }
}

test('what is typed is read up to the end of the line and never shown', async () => {
  const { stdin, written, secrets } = terminal()
  const answer = secrets.ask(ASKED)
  stdin.write('correct horsx')
  stdin.write('\x7fe\r')
  assert.equal(await answer, 'correct horse')
  assert.equal(written.err, 'Passphrase: \n')
})

test('a new secret is typed twice, and the two have to agree', async () => {
  for (const [second, isRight] of [
    ['one', true],
    ['two', false],
  ] as const) {
    const { stdin, secrets } = terminal()
    const answer = secrets.ask({ ...ASKED, twice: true })
    stdin.write('one\r')
    setImmediate(() => setImmediate(() => stdin.write(`${second}\r`)))
    if (isRight) assert.equal(await answer, 'one')
    else await assert.rejects(answer, { code: 'usage', message: /differ/ })
  }
})

test('Ctrl-C, Ctrl-D and an interrupt end the question', async () => {
  for (const key of ['\x03', '\x04']) {
    const { stdin, secrets } = terminal()
    const answer = secrets.ask(ASKED)
    stdin.write(key)
    await assert.rejects(answer, { code: 'interrupted' })
  }
  const { secrets } = terminal()
  const leave = new AbortController()
  const answer = secrets.ask({ ...ASKED, signal: leave.signal })
  leave.abort()
  await assert.rejects(answer, { code: 'interrupted' })
})

test('a script gives it in the environment, and where neither is there it is an error that says how', async () => {
  const { secrets } = terminal({ P2PNS_PASSPHRASE: 'from the environment' })
  assert.equal(await secrets.ask({ ...ASKED, twice: true }), 'from the environment')
  const pipe = secretsFrom({ env: { P2PNS_PASSPHRASE: '' }, stdin: new PassThrough(), stderr: { write: () => {} } })
  await assert.rejects(pipe.ask(ASKED), { code: 'usage', message: /set P2PNS_PASSPHRASE, or run this on a terminal/ })
})
