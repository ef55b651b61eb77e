import { type Command, InvalidArgumentError } from 'commander'
import { addExamples, addIntroducerOption } from '../options.ts'
import type { OpenSession } from '../session.ts'
import { withNode } from '../with-node.ts'

interface Options {
  range?: { start?: number; end?: number }
  introducer?: string[]
}

export function defineCat(program: Command, open: OpenSession): void {
  const command = program
    .command('cat')
    .summary('write one file to stdout as it comes')
    .description(
      'Write one file of what a name leads to, or a part of it, to stdout: in order, and verified before it is written.',
    )
    .argument('<target>', 'NAME/PATH, CID/PATH or a p2pns: link')
    .option('--range <bytes>', 'first and last byte as in HTTP: 0-99, 100- or -100 for the last hundred', range)
    .action(async (target: string, options: Options, command: Command) => {
      const session = open(command)
      await withNode(
        session,
        options.introducer,
        async (node, { signal }) => {
          const stream = await node.openRange(target, options.range, { signal })
          try {
            for await (const bytes of stream.bytes) await session.output.bytes(bytes)
          } finally {
            await stream.close()
          }
        },
        () => undefined,
      )
    })
  addIntroducerOption(command)
  addExamples(command, [
    ['p2pns cat alice.p2p/notes.txt', 'read a file without keeping it'],
    ['p2pns cat alice.p2p/film.mkv --range 1000000-1999999', 'its second million bytes'],
  ])
}

/** RFC 9110 section 14.1.2, one range. */
export function range(text: string): { start?: number; end?: number } {
  const [, from, to] = /^(\d{0,15})-(\d{0,15})$/.exec(text) ?? []
  if (from === undefined || to === undefined || from + to === '') {
    throw new InvalidArgumentError('It looks like 0-99, 100- or -100.')
  }
  if (from === '') return { start: -Number(to) }
  if (to === '') return { start: Number(from) }
  if (Number(to) < Number(from)) throw new InvalidArgumentError('The last byte comes before the first.')
  return { start: Number(from), end: Number(to) + 1 }
}
