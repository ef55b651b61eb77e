import { randomBytes } from 'node:crypto'
import * as fs from 'node:fs/promises'
import * as path from 'node:path'
import type { Command } from 'commander'
import { P2pnsError } from '../../node/core/errors.ts'
import { columns } from '../format.ts'
import { addExamples } from '../options.ts'
import { type Secrets, secretsFrom } from '../secrets.ts'
import type { OpenSession, Session } from '../session.ts'
import { withNode } from '../with-node.ts'

/** Bytes; a seed that is locked has some 500. */
const MAX_FILE_BYTES = 4096

export function defineKeys(program: Command, open: OpenSession, secrets: Secrets = secretsFrom(process)): void {
  const keys = program
    .command('keys')
    .summary('the keys of this home: list, back up, restore, lock')
    .description(
      'The public keys of this home: its names and the key names that always lead to them. ' +
        'All grow from the file `seed` in the home; keep a copy of it in a safe place. With --json one object per key.',
    )
    .action(async (_options: object, command: Command) => {
      const session = open(command)
      await withNode(
        session,
        undefined,
        (node) => node.keys(),
        (keys) => session.output.list(keys, columns(keys.map(({ use, name, keyName }) => [use, name, keyName]))),
      )
    })
  addExamples(keys, [
    ['p2pns keys', 'whose names are these?'],
    ['p2pns keys export', 'the seed as 24 words, for paper'],
    ['p2pns keys lock', 'let a copy of the disk be of no use to a thief'],
  ])
  defineExport(keys, open, secrets)
  defineImport(keys, open, secrets)
  defineLock(keys, open, secrets)
  defineUnlock(keys, open, secrets)
}

function defineExport(keys: Command, open: OpenSession, secrets: Secrets): void {
  const command = keys
    .command('export')
    .summary('print or copy the seed, for a backup')
    .description(
      'Print the seed of this home as 24 words, or copy its file. It brings back every key of this home, but no recovery ' +
        'key. A locked seed is copied as it is; for its words the passphrase is asked for.',
    )
    .option('--words', 'print 24 words (the default)')
    .option('--file <file>', 'copy it to a new file that only you can read')
    .action(async ({ words, file }: { words?: boolean; file?: string }, command: Command) => {
      if (words && file) throw new P2pnsError('usage', '--words and --file are two ways; choose one')
      const session = open(command)
      const { readSeed, seedText } = await import('../../node/seed.ts')
      if (file !== undefined) {
        const target = path.resolve(session.cwd, file)
        await writeNew(target, await seedText(session.home))
        session.output.data({ file: target }, [target])
      } else {
        const seed = await readSeed(session.home, () => askPassphrase(session, secrets))
        const { wordsOf } = await import('../../node/words.ts')
        session.output.data({ words: wordsOf(seed) }, [wordsOf(seed)])
      }
      session.output.note('note: whoever has this has every name of this home; keep it offline, and clear the screen')
    })
  addExamples(command, [
    ['p2pns keys export', '24 words to write down'],
    ['p2pns keys export --file /mnt/usb/p2pns-seed', 'a copy of the file'],
  ])
}

function defineImport(keys: Command, open: OpenSession, secrets: Secrets): void {
  const command = keys
    .command('import')
    .summary('bring a seed back into a new home')
    .description(
      'Bring a seed back into a home that has none; a seed is never replaced. Without WORDS and --file the words are asked ' +
        'for, which keeps them out of the history of the shell. The names come back with `p2pns register NAME`.',
    )
    .argument('[words...]', 'the 24 words that `p2pns keys export` printed')
    .option('--file <file>', 'what `p2pns keys export --file` wrote')
    .action(async (words: string[], { file }: { file?: string }, command: Command) => {
      if (words.length > 0 && file) throw new P2pnsError('usage', 'WORDS and --file are two ways; choose one')
      const session = open(command)
      const { importSeed } = await import('../../node/seed.ts')
      const text = file
        ? await readText(path.resolve(session.cwd, file))
        : await fromWords(words.length > 0 ? words.join(' ') : await askWords(session, secrets))
      await importSeed(session.home, text, randomBytes)
      session.output.data({ home: session.home }, [session.home])
      session.output.note('note: bring each name back with: p2pns register NAME')
    })
  addExamples(command, [
    ['p2pns keys import --home ./restored', 'asks for the words without showing them'],
    ['p2pns keys import --file /mnt/usb/p2pns-seed', 'from a copy of the file'],
  ])
}

function defineLock(keys: Command, open: OpenSession, secrets: Secrets): void {
  const command = keys
    .command('lock')
    .summary('lock the seed with a passphrase')
    .description(
      'Lock the seed of this home with a passphrase (age, scrypt): whoever copies the disk has no key. Every start of a node ' +
        'asks for it then, or reads P2PNS_PASSPHRASE. Nobody can bring a forgotten passphrase back: keep the 24 words.',
    )
    .action(async (_options: object, command: Command) => {
      const session = open(command)
      const { lockSeed } = await import('../../node/seed.ts')
      const passphrase = await askPassphrase(session, secrets, true)
      await lockSeed(session.home, passphrase, randomBytes)
      session.output.data({ locked: true }, ['the seed is locked'])
    })
  addExamples(command, [['p2pns keys lock', 'asks for a new passphrase, twice']])
}

function defineUnlock(keys: Command, open: OpenSession, secrets: Secrets): void {
  const command = keys
    .command('unlock')
    .summary('keep the seed without a passphrase again')
    .description('Keep the seed of this home in the clear again, in a file that only you can read.')
    .action(async (_options: object, command: Command) => {
      const session = open(command)
      const { unlockSeed } = await import('../../node/seed.ts')
      await unlockSeed(session.home, await askPassphrase(session, secrets), randomBytes)
      session.output.data({ locked: false }, ['the seed is not locked any more'])
    })
  addExamples(command, [['p2pns keys unlock', 'asks for the passphrase']])
}

function askPassphrase({ home, signal }: Session, secrets: Secrets, twice = false): Promise<string> {
  return secrets.ask({ what: `Passphrase of ${home}`, variable: 'P2PNS_PASSPHRASE', twice, signal })
}

function askWords({ signal }: Session, secrets: Secrets): Promise<string> {
  return secrets.ask({ what: 'The 24 words', variable: 'P2PNS_WORDS', signal })
}

async function fromWords(words: string): Promise<string> {
  const { seedFromWords } = await import('../../node/words.ts')
  return Buffer.from(seedFromWords(words)).toString('hex')
}

async function readText(file: string): Promise<string> {
  try {
    await using handle = await fs.open(file, 'r')
    const { bytesRead, buffer } = await handle.read({ buffer: Buffer.alloc(MAX_FILE_BYTES + 1) })
    if (bytesRead > MAX_FILE_BYTES) throw new P2pnsError('too_large', `${file} is too large for a seed`)
    return buffer.toString('utf8', 0, bytesRead)
  } catch (cause) {
    if (cause instanceof P2pnsError) throw cause
    throw new P2pnsError('file_missing', `${file} cannot be read (${(cause as Error).message})`, { cause })
  }
}

async function writeNew(file: string, text: string): Promise<void> {
  try {
    await using handle = await fs.open(file, 'wx', 0o600)
    await handle.writeFile(text)
    await handle.sync()
  } catch (cause) {
    const isThere = (cause as NodeJS.ErrnoException).code === 'EEXIST'
    if (isThere) throw new P2pnsError('target_exists', `${file} is there already`, { cause })
    throw new P2pnsError('disk_error', `${file} cannot be written (${(cause as Error).message})`, { cause })
  }
}
