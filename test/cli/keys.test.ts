import assert from 'node:assert/strict'
import * as fs from 'node:fs/promises'
import * as path from 'node:path'
import { type TestContext, test } from 'node:test'
import { Command } from 'commander'
import { defineKeys } from '../../cli/commands/keys.ts'
import type { Secrets } from '../../cli/secrets.ts'
import { sessionOpener } from '../../cli/session.ts'
import { fromHex, toHex } from '../../node/core/encoding.ts'
import { readSeed, seedText } from '../../node/seed.ts'
import { wordsOf } from '../../node/words.ts'
import { temporaryFolder } from '../helpers/folder.ts'
import { fakeWorld } from './fake-world.ts'

const SEED = 'a5'.repeat(32)
const WORDS = wordsOf(fromHex(SEED))

/** A home with a seed, and a command line for it that is told `answers` to what it asks. */
async function homeFor(t: TestContext, seed: string | undefined = SEED) {
  const home = await temporaryFolder(t)
  if (seed !== '') await fs.writeFile(path.join(home, 'seed'), `${seed}\n`, { mode: 0o600 })
  return {
    home,
    run: async (argv: string[], answers: string[] = []) => {
      const world = fakeWorld({ running: true })
      const asked: string[] = []
      const secrets: Secrets = {
        async ask({ what, twice }) {
          asked.push(`${what}${twice ? ', twice' : ''}`)
          return answers.shift() ?? assert.fail(`${what} was not expected`)
        },
      }
      const program = new Command('p2pns').option('--home <dir>').option('--json').exitOverride()
      defineKeys(program, sessionOpener({ ...world, cwd: home }, new AbortController().signal), secrets)
      await program.parseAsync(['keys', ...argv, '--home', home], { from: 'user' })
      return { out: world.out(), err: world.err(), asked }
    },
  }
}

test('the seed is printed as words, to stdout alone, with a warning on stderr', async (t) => {
  const { run } = await homeFor(t)
  for (const argv of [['export'], ['export', '--words']]) {
    const { out, err } = await run(argv)
    assert.equal(out, `${WORDS}\n`)
    assert.match(err, /whoever has this has every name/)
    assert.ok(!err.includes(WORDS))
  }
  assert.deepEqual(JSON.parse((await run(['export', '--json'])).out), { words: WORDS })
})

test('the seed is copied to a new file for its owner only, and replaces none', async (t) => {
  const { run, home } = await homeFor(t)
  const { out } = await run(['export', '--file', 'copy'])
  const copy = path.join(home, 'copy')
  assert.equal(out, `${copy}\n`)
  assert.equal(await fs.readFile(copy, 'utf8'), `${SEED}\n`)
  assert.equal((await fs.stat(copy)).mode & 0o777, 0o600)
  await assert.rejects(run(['export', '--file', 'copy']), { code: 'target_exists' })
  await assert.rejects(run(['export', '--file', 'no/such/folder']), { code: 'disk_error' })
  await assert.rejects(run(['export', '--file', 'x', '--words']), { code: 'usage' })
})

test('a home without a seed has none to export, and gets none by it', async (t) => {
  const { run, home } = await homeFor(t, '')
  await assert.rejects(run(['export']), { code: 'file_missing' })
  assert.deepEqual(await fs.readdir(home), [])
})

test('a seed comes back from words, given or typed, and from a file, into a home that has none', async (t) => {
  const source = await homeFor(t)
  await source.run(['export', '--file', 'copy'])
  const ways: [string[], string[]][] = [
    [WORDS.split(' '), []],
    [[WORDS], []],
    [[], [` ${WORDS.toUpperCase()} `]],
    [['--file', path.join(source.home, 'copy')], []],
  ]
  for (const [args, answers] of ways) {
    const { run, home } = await homeFor(t, '')
    const { out, err } = await run(['import', ...args], answers)
    assert.equal(out, `${home}\n`)
    assert.match(err, /p2pns register NAME/)
    assert.equal(toHex(await readSeed(home)), SEED)
    await assert.rejects(run(['import', ...args], [WORDS]), { code: 'seed_exists' })
  }
})

test('wrong words, and a file that is no seed, bring nothing into a home', async (t) => {
  const { run, home } = await homeFor(t, '')
  const file = path.join(home, 'file')
  await assert.rejects(run(['import', ...WORDS.split(' ').with(3, 'zoo')]), { code: 'words_invalid' })
  await assert.rejects(run(['import', 'zoo']), { code: 'words_invalid' })
  await assert.rejects(run(['import', '--file', file]), { code: 'file_missing' })
  await fs.writeFile(file, 'x'.repeat(5000))
  await assert.rejects(run(['import', '--file', file]), { code: 'too_large' })
  await fs.writeFile(file, 'not a seed')
  await assert.rejects(run(['import', '--file', file]), { code: 'seed_unreadable' })
  await assert.rejects(run(['import', 'zoo', '--file', file]), { code: 'usage' })
  assert.deepEqual(await fs.readdir(home), ['file'])
})

test('a seed that is locked is asked for its passphrase, copied as it is, and unlocked', async (t) => {
  const { run, home } = await homeFor(t)
  const { asked, out } = await run(['lock'], ['correct horse'])
  assert.deepEqual(asked, [`Passphrase of ${home}, twice`])
  assert.equal(out, 'the seed is locked\n')
  assert.doesNotMatch(await seedText(home), new RegExp(SEED))

  await assert.rejects(run(['export'], ['wrong horse']), { code: 'passphrase_wrong' })
  assert.equal((await run(['export'], ['correct horse'])).out, `${WORDS}\n`)
  assert.deepEqual((await run(['export', '--file', 'copy'])).asked, [])
  const other = await homeFor(t, '')
  await other.run(['import', '--file', path.join(home, 'copy')])
  assert.equal(await seedText(other.home), await seedText(home))

  assert.deepEqual(JSON.parse((await run(['unlock', '--json'], ['correct horse'])).out), { locked: false })
  assert.equal(await seedText(home), `${SEED}\n`)
})

test('p2pns keys alone still lists the public keys', async (t) => {
  const { run } = await homeFor(t)
  assert.match((await run([])).out, /^zone  alice\.p2p  /)
})
