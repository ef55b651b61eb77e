import * as path from 'node:path'
import type { Command } from 'commander'
import type { ManifestView, Verified } from '../../node/contract.ts'
import { P2pnsError } from '../../node/core/errors.ts'
import { block, columns, count, formatBytes } from '../format.ts'
import { addExamples, addIntroducerOption } from '../options.ts'
import type { OpenSession } from '../session.ts'
import { withNode } from '../with-node.ts'

interface Options {
  all?: boolean
  introducer?: string[]
}

export function defineManifest(program: Command, open: OpenSession): void {
  const manifest = program
    .command('manifest')
    .summary('what a name leads to, without fetching it')
    .description('Look at the list of files that a name or CID stands for, or hold it against a folder.')
  const show = manifest
    .command('show')
    .summary('list the files')
    .description('List the files that TARGET stands for: mode, size, path.')
    .argument('<target>', 'NAME, CID or a p2pns: link')
    .option('--all', 'also more than 10,000 of them')
    .action(async (target: string, options: Options, command: Command) => {
      const { output, ...session } = open(command)
      await withNode(
        { output, ...session },
        options.introducer,
        (node, { signal }) => node.manifest(target, { signal, ...(options.all ? { all: true } : {}) }),
        (view) => {
          output.data(view, [...head(view), '', ...columns(view.entries.map(entryRow))])
          const shown = view.entries.filter(({ type }) => type === 'file').length
          if (shown < view.files) output.note(`${count(view.files - shown, 'file')} more; --all shows them`)
        },
      )
    })
  const verify = manifest
    .command('verify')
    .summary('hold a file or folder against it')
    .description(
      'Hash what stands at PATH and tell what differs from what TARGET stands for. Exit code 4 when something does.',
    )
    .argument('<target>', 'NAME, CID or a p2pns: link')
    .argument('<path>', 'a file or a folder')
    .action(async (target: string, place: string, options: Options, command: Command) => {
      const session = open(command)
      const absolute = path.resolve(session.cwd, place)
      await withNode(
        session,
        options.introducer,
        (node, job) => node.verifyManifest(target, absolute, job),
        (verified) => {
          session.output.data(verified, differences(verified))
          if (!verified.ok) throw new P2pnsError('content_differs', `${verified.path} is not what ${target} stands for`)
        },
      )
    })
  for (const command of [show, verify]) addIntroducerOption(command)
  addExamples(show, [['p2pns manifest show alice.p2p', 'what there is to fetch']])
  addExamples(verify, [['p2pns manifest verify alice.p2p ./alice', 'is my copy still right?']])
}

function head({ cid, publisher, created, hint, bytes, files }: ManifestView): string[] {
  return block({ cid, publisher, created, name: hint, content: `${count(files, 'file')}, ${formatBytes(bytes)}` })
}

function entryRow({ path, type, size, mode }: ManifestView['entries'][number]): string[] {
  return [
    mode.toString(8).padStart(3, '0'),
    type === 'file' ? formatBytes(size) : '-',
    type === 'file' ? path : `${path}/`,
  ]
}

function differences({ ok, files, missing, changed, extra }: Verified): string[] {
  if (ok) return [`all ${count(files, 'file')} are right`]
  return [
    ...missing.map((path) => `missing  ${path}`),
    ...changed.map((path) => `changed  ${path}`),
    ...extra.map((path) => `extra    ${path}`),
  ]
}
