import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isSealed, seal, unseal } from '../../node/seal.ts'

/** Base-2 logarithm of scrypt's N: quick. */
const QUICK = 2

test('what is locked comes back with its passphrase, whatever letters it has', async () => {
  for (const passphrase of ['correct horse', 'Zürich 東京 ', '\u0000']) {
    const sealed = await seal('the seed\n', passphrase, QUICK)
    assert.ok(isSealed(sealed))
    assert.doesNotMatch(sealed, /the seed/)
    assert.equal(await unseal(sealed, passphrase), 'the seed\n')
    assert.equal(await unseal(sealed.replaceAll('\n', '\r\n'), passphrase), 'the seed\n')
  }
})

test('a wrong passphrase is said to be, and no passphrase locks nothing', async () => {
  const sealed = await seal('the seed', 'right', QUICK)
  for (const wrong of ['', 'Right', 'right ']) {
    await assert.rejects(unseal(sealed, wrong), { code: 'passphrase_wrong' })
  }
  await assert.rejects(seal('the seed', '', QUICK), { code: 'usage' })
})

test('the same seed is locked differently each time', async () => {
  assert.notEqual(await seal('x', 'p', QUICK), await seal('x', 'p', QUICK))
})

test('a damaged file is an error, at whatever character', async () => {
  const sealed = await seal('the seed', 'right', QUICK)
  for (let at = 0; at < sealed.trimEnd().length; at += 5) {
    const wrong = sealed.slice(0, at) + (sealed[at] === 'A' ? 'B' : 'A') + sealed.slice(at + 1)
    await assert.rejects(unseal(wrong, 'right'), (error: { code?: string }) =>
      ['malformed', 'passphrase_wrong'].includes(error.code ?? ''),
    )
  }
  await assert.rejects(unseal(sealed.slice(0, 100), 'right'), { code: 'malformed' })
  await assert.rejects(unseal('', 'right'), { code: 'malformed' })
})

test('a file that asks for work without end is refused', async () => {
  const lines = (await seal('x', 'p', QUICK)).split('\n')
  const file = Buffer.from(lines.slice(1, -2).join(''), 'base64')
    .toString('latin1')
    .replace(/(-> scrypt \S+) 2\n/, '$1 63\n')
  const armored = [
    lines[0],
    ...(Buffer.from(file, 'latin1')
      .toString('base64')
      .match(/.{1,64}/g) ?? []),
    lines.at(-2),
  ]
  await assert.rejects(unseal(`${armored.join('\n')}\n`, 'p'), { code: 'malformed' })
})
