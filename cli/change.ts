/** What the commands that change the lease of a name have in common: the recovery key they take, and what they tell. */
import type { Command } from 'commander'
import type { P2pnsNode } from '../node/contract.ts'
import type { Changed } from '../node/handover.ts'
import { block, count } from './format.ts'
import { addIntroducerOption } from './options.ts'
import type { Secrets } from './secrets.ts'
import type { Session } from './session.ts'
import { type ShownJob, showJob, startVisitor } from './with-node.ts'

export interface ChangeOptions {
  introducer?: string[]
  recovery?: string
}

export function addChangeOptions(command: Command): Command {
  return addIntroducerOption(
    command.option(
      '--recovery <key>',
      'the recovery key, in z-base-32 or as its 24 words in quotes; others can see it here, so rather let it be asked for, ' +
        'or set P2PNS_RECOVERY',
    ),
  )
}

/** As it was typed: the node reads it, and says what is wrong with it. */
export async function recoveryKey(
  { signal }: Session,
  { recovery }: ChangeOptions,
  secrets: Secrets,
  name: string,
): Promise<string> {
  return recovery ?? secrets.ask({ what: `Recovery key of ${name}`, variable: 'P2PNS_RECOVERY', signal })
}

/** Does `work` and tells of it. The node forgets a new recovery key only when it has been told. */
export async function changeName(
  session: Session,
  { introducer: introducers }: ChangeOptions,
  work: (node: P2pnsNode, job: ShownJob) => Promise<Changed>,
): Promise<void> {
  await withChangingNode(session, introducers, async (node) => {
    const changed = await showJob(session, (job) => work(node, job))
    const words = changed.recovery && (await wordsOf(changed.recovery))
    const { name, keyName, version, until, stored, recovery, notes } = changed
    session.output.data(
      { ...changed, ...(words ? { words } : {}) },
      block({
        name,
        'key name': keyName ?? 'none',
        version: String(version),
        until,
        stored: `by ${count(stored, 'node')}`,
        'recovery key': recovery,
        'in words': words,
      }),
    )
    if (recovery !== undefined) session.output.note(`note: ${keepIt(name)}`)
    for (const note of notes) session.output.note(`note: ${note}`)
    if (recovery !== undefined) await node.recoveryShown(name)
  })
}

export function keepIt(name: string): string {
  return `the recovery key of ${name} is shown only now; keep it offline: it alone moves the name, also for a thief`
}

/** Loaded when it is needed: the list of words is of no use to other commands. */
export async function wordsOf(recovery: string): Promise<string> {
  const words = await import('../node/words.ts')
  return words.wordsOf(words.recoverySeed(recovery))
}

/** The running node of the home, or one started for `work` and stopped after it. */
export async function withChangingNode(
  session: Session,
  introducers: string[] | undefined,
  work: (node: P2pnsNode) => Promise<void>,
): Promise<void> {
  const { engine, home, output } = session
  const running = await engine.connectNode(home)
  if (running && introducers) output.note('note: the node that runs in this home has its own introducers')
  const node = running ?? (await startVisitor(session, introducers))
  try {
    await work(node)
  } finally {
    await node.stop()
  }
}
