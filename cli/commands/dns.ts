import { isIP } from 'node:net'
import { type Command, Option } from 'commander'
import { P2pnsError } from '../../node/core/errors.ts'
import { detect, SYSTEMS, type System } from '../dns-setup/detect.ts'
import type { Machine } from '../dns-setup/machine.ts'
import type { Plan } from '../dns-setup/plan.ts'
import { addExamples, formatHostPort, type HostPort, hostPort } from '../options.ts'
import type { OpenSession, Session } from '../session.ts'
import { defineLog } from './dns-log.ts'
import { DNS } from './up.ts'

interface SetupOptions {
  apply?: true
  undo?: true
  system?: System
  dns?: HostPort
}

/** `machine` is the one that is set up. */
export function defineDns(program: Command, open: OpenSession, machine?: Machine): void {
  const dns = program
    .command('dns')
    .summary('let this machine ask for .p2p; see what is asked')
    .description('The DNS of this machine.')
  defineSetup(dns, open, machine)
  defineLog(dns, open)
}

function defineSetup(dns: Command, open: OpenSession, given: Machine | undefined): void {
  const command = dns
    .command('setup')
    .summary('let every program of this machine find .p2p')
    .description(
      'Show how this machine sends its questions for .p2p to our resolver, and those alone where that can be. Nothing is changed without --apply.',
    )
    .addOption(new Option('--apply', 'do it; as administrator').conflicts('undo'))
    .addOption(new Option('--undo', 'put everything back as it was').conflicts(['system', 'dns']))
    .addOption(new Option('--system <name>', 'what to set up (default: what this machine uses)').choices(SYSTEMS))
    .option(
      '--dns <host:port>',
      'where our resolver answers (default: as the running node, else 127.0.0.1:5354)',
      hostPort,
    )
    .action(async (options: SetupOptions, command: Command) => {
      const session = open(command)
      const machine = given ?? (await import('../dns-setup/machine.ts')).realMachine()
      if (options.undo) return undo(session, machine)
      const where = reachable(options.dns ?? (await runningDns(session)) ?? DNS)
      const [{ readFacts }, { planFor }] = [
        await import('../dns-setup/facts.ts'),
        await import('../dns-setup/plans.ts'),
      ]
      const facts = await readFacts(machine)
      const plan = planFor(options.system ?? detect(facts), facts, where)
      return options.apply ? apply(session, machine, plan) : show(session, plan)
    })
  addExamples(command, [
    ['p2pns dns setup', 'what would be done'],
    ['sudo p2pns dns setup --apply', 'do it'],
    ['sudo p2pns dns setup --undo', 'take it back'],
  ])
}

function show({ output }: Session, plan: Plan): void {
  output.data(told(plan, 'planned'), [
    `system  ${plan.system}`,
    `asks    ${formatHostPort(plan.dns)}`,
    ...plan.files.flatMap(({ path, content }) => [`file    ${path}`, ...indented(content)]),
    ...plan.commands.map((command) => `run     ${commandLine(command)}`),
  ])
  for (const note of plan.notes) output.note(`note: ${note}`)
  output.note(
    plan.blocked === undefined
      ? 'Nothing was changed: --apply does it, --undo takes it back.'
      : `This cannot be done: ${plan.blocked}.`,
  )
}

async function apply({ output }: Session, machine: Machine, plan: Plan): Promise<void> {
  const { applySetup } = await import('../dns-setup/apply.ts')
  const isNew = await applySetup(plan, machine)
  output.data(told(plan, isNew ? 'applied' : 'unchanged'), [
    isNew ? `${plan.system} asks ${formatHostPort(plan.dns)} for .p2p now` : 'It is so already.',
    ...plan.files.map(({ path }) => `file    ${path}`),
    ...(isNew ? plan.commands.map((command) => `ran     ${commandLine(command)}`) : []),
  ])
  for (const note of plan.notes) output.note(`note: ${note}`)
  if ((await machine.answersAt(plan.dns)) === 'nothing') {
    output.note(`note: nobody answers there yet: p2pns up --dns ${formatHostPort(plan.dns)}`)
  }
}

async function undo({ output }: Session, machine: Machine): Promise<void> {
  const { undoSetup } = await import('../dns-setup/apply.ts')
  const undone = await undoSetup(machine)
  if (!undone) return output.data({ state: 'unchanged' }, ['Nothing had been set up.'])
  output.data({ state: 'undone', ...undone }, [
    `${undone.system} is as it was`,
    ...undone.restored.map((file) => `file    ${file}`),
    ...undone.changed.map((file) => `file    ${file}  changed by another since: only our lines were taken out`),
  ])
}

/** A plan as --json shows it. */
function told({ system, dns, files, commands, undo, notes, blocked }: Plan, state: string): object {
  const shown = files.map(({ path, content }) => ({ path, content }))
  return { state, system, dns: formatHostPort(dns), files: shown, commands, undo, notes, blocked }
}

async function runningDns({ engine, home }: Session): Promise<HostPort | undefined> {
  const node = await engine.connectNode(home)
  if (!node) return undefined
  try {
    const { dns } = await node.status()
    return dns === undefined ? undefined : hostPort(dns)
  } finally {
    await node.stop()
  }
}

/** Files name addresses, and those that one can send to. */
function reachable({ host, port }: HostPort): HostPort {
  const known: Record<string, string> = { localhost: '127.0.0.1', '0.0.0.0': '127.0.0.1', '::': '::1' }
  const address = known[host] ?? host
  if (!isIP(address)) throw new P2pnsError('usage', `--dns takes an address here, and ${host} is a name`)
  if (port === 0) throw new P2pnsError('usage', '--dns takes the port at which the resolver answers')
  return { host: address, port }
}

function indented(content: string): string[] {
  return content
    .trimEnd()
    .split('\n')
    .map((line) => `        ${line}`)
}

function commandLine(command: string[]): string {
  return command.map((word) => (/[\s'$;]/.test(word) ? `"${word}"` : word)).join(' ')
}
