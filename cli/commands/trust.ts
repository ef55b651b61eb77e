import * as fs from 'node:fs/promises'
import * as path from 'node:path'
import type { Command } from 'commander'
import { P2pnsError } from '../../node/core/errors.ts'
import type { KnownOwner, Lie, TrustList } from '../../node/trust.ts'
import { columns, count, formatDay, formatOwner } from '../format.ts'
import { addExamples, addIntroducerOption } from '../options.ts'
import type { OpenSession, Session } from '../session.ts'
import { withNode } from '../with-node.ts'

export function defineTrust(program: Command, open: OpenSession): void {
  const trust = program
    .command('trust')
    .summary('what this home trusts: realms, owners, petnames, proofs')
    .description(
      'The realms of witnesses that this home trusts, the owners of short names that it knows and what conflicts with ' +
        'them, its petnames, and the proofs that a witness lied.',
    )
    .action(async (_options: object, command: Command) => {
      const session = open(command)
      await withNode(
        session,
        undefined,
        (node) => node.trust(),
        (list) => session.output.data(list, trustLines(list)),
      )
    })
  addExamples(trust, [['p2pns trust', 'what is trusted, and is anything wrong?']])
  defineAccept(trust, open)
  defineRemove(trust, open)
  definePetname(trust, open)
  defineReport(trust, open)
  defineExport(trust, open)
}

function defineAccept(trust: Command, open: OpenSession): void {
  const accept = trust
    .command('accept')
    .summary('decide who owns a name')
    .description(
      'Believe the owner that conflicts with the one that this home knows; or, with KEYNAME, that one of the two. ' +
        'Ask the owner by another way first.',
    )
    .argument('<name>', 'a short name')
    .argument('[keyname]', 'the key name of its owner')
    .action(async (name: string, keyName: string | undefined, _options: object, command: Command) => {
      const session = open(command)
      await withNode(
        session,
        undefined,
        (node) => node.acceptOwner(name, keyName),
        (known) => session.output.data(known, [`${known.name} is the name of ${formatOwner(known.owner)}`]),
      )
    })
  addExamples(accept, [
    ['p2pns trust accept alice.p2p', 'the new owner is right'],
    ['p2pns trust accept alice.p2p KEYNAME', 'this one is right'],
  ])
}

function defineRemove(trust: Command, open: OpenSession): void {
  const forgotten = {
    owner: (name: string) => `the owner of ${name} is forgotten; the next one seen counts as the first`,
    petname: (name: string) => `${name} is nobody's petname now`,
    realm: (name: string) => `the realm ${name} is trusted no more`,
  }
  const remove = trust
    .command('remove')
    .summary('forget an owner, a petname or a realm')
    .description('Forget the known owner of a short name, a petname, or a realm of witnesses.')
    .argument('<name>', 'a short name, a petname, or the id of a realm or its first 8 characters')
    .action(async (name: string, _options: object, command: Command) => {
      const session = open(command)
      await withNode(
        session,
        undefined,
        (node) => node.forget(name),
        (gone) => session.output.data(gone, [forgotten[gone.kind](gone.name)]),
      )
    })
  addExamples(remove, [
    ['p2pns trust remove alice.p2p', 'forget who owned it'],
    ['p2pns trust remove 08acf256', 'trust these witnesses no more'],
  ])
}

function definePetname(trust: Command, open: OpenSession): void {
  const petname = trust
    .command('petname')
    .summary('give somebody a name that only this home knows')
    .description('Let PETNAME.pet.p2p lead to a key, whatever becomes of the name that led to it.')
    .argument('<petname>', 'such as bob')
    .argument('[name]', 'a key name, or a short name that is looked up now')
    .option('--remove', 'take the petname back')
    .action(
      async (pet: string, name: string | undefined, options: { remove?: boolean; introducer?: string[] }, command) => {
        if ((name === undefined) !== (options.remove ?? false)) {
          throw new P2pnsError('usage', 'A petname needs a name to lead to, or --remove')
        }
        const session = open(command as Command)
        await withNode(
          session,
          options.introducer,
          (node, { signal }) => node.setPetname(pet, name, { signal }),
          (set) =>
            session.output.data(set, [
              name === undefined ? `${set.name} is nobody's petname now` : `${set.name} is ${set.keyName}`,
            ]),
        )
      },
    )
  addIntroducerOption(petname)
  addExamples(petname, [
    ['p2pns trust petname bob bob-builder.p2p', 'bob.pet.p2p, for ever the same key'],
    ['p2pns trust petname bob --remove', 'take it back'],
  ])
}

function defineReport(trust: Command, open: OpenSession): void {
  const report = trust
    .command('report')
    .summary('take in a proof that a witness lied')
    .description('Check the proof in FILE, say what it proves, and believe that witness no more.')
    .argument('<file>', 'a file that `p2pns trust export` made')
    .action(async (file: string, options: { introducer?: string[] }, command: Command) => {
      const session = open(command)
      const proof = (await readProof(session, file)).toString('hex')
      await withNode(
        session,
        options.introducer,
        (node) => node.reportProof(proof),
        (lie) =>
          session.output.data(lie, [
            ...lieLines(lie),
            lie.counts
              ? 'It counts no more for this home.'
              : 'No realm that this home trusts has this witness, so nothing changes here.',
          ]),
      )
    })
  addIntroducerOption(report)
  addExamples(report, [['p2pns trust report lie.proof', 'a friend sent it']])
}

function defineExport(trust: Command, open: OpenSession): void {
  const command = trust
    .command('export')
    .summary('hand a proof on')
    .description('Write the proof that a witness lied to a file that anybody can check.')
    .argument('<what>', 'the short name that it lied about, or the id of the witness')
    .requiredOption('-o, --out <file>', 'the file to make')
    .action(async (what: string, { out }: { out: string }, command: Command) => {
      const session = open(command)
      const file = path.resolve(session.cwd, out)
      await withNode(
        session,
        undefined,
        async (node) => {
          const { proof, ...lie } = await node.exportProof(what)
          await writeNew(file, Buffer.from(proof, 'hex'))
          return lie
        },
        (lie) => session.output.data({ file, ...lie }, [file, ...lieLines(lie)]),
      )
    })
  addExamples(command, [['p2pns trust export alice.p2p -o lie.proof', 'for everybody who trusts that witness']])
}

async function readProof({ cwd }: Session, file: string): Promise<Buffer> {
  const handle = await fs.open(path.resolve(cwd, file)).catch((cause: unknown) => {
    throw new P2pnsError('file_missing', `${file} cannot be opened`, { cause })
  })
  try {
    // One byte too many is refused with its own error where it is parsed.
    const { MAX_PROOF_BYTES } = await import('../../node/core/proof.ts')
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(MAX_PROOF_BYTES + 1), 0, MAX_PROOF_BYTES + 1, 0)
    return buffer.subarray(0, bytesRead)
  } catch (cause) {
    throw new P2pnsError('file_missing', `${file} cannot be read`, { cause })
  } finally {
    await handle.close()
  }
}

async function writeNew(file: string, bytes: Uint8Array): Promise<void> {
  try {
    await fs.writeFile(file, bytes, { flag: 'wx' })
  } catch (cause) {
    const isThere = (cause as NodeJS.ErrnoException).code === 'EEXIST'
    throw isThere
      ? new P2pnsError('target_exists', `${file} is there already`, { cause })
      : new P2pnsError('disk_error', `${file} cannot be written`, { cause })
  }
}

function trustLines({ realms, names, petnames, proofs }: TrustList): string[] {
  const sections: [string, string[]][] = [
    [
      'Realms',
      realms.flatMap(({ id, quorum, witnesses }) => [
        `${id}  ${quorum} of ${count(witnesses.length, 'witness', 'witnesses')}`,
        ...witnesses.map((witness) => `  ${witness.id}${witness.liar ? '  proven to have lied: does not count' : ''}`),
      ]),
    ],
    ['Names', names.flatMap((known) => [nameLine(known), ...conflictLines(known)])],
    ['Petnames', columns(petnames.map(({ name, keyName }) => [name, keyName]))],
    ['Proofs', proofs.flatMap((lie) => [...lieLines(lie), `  known here since ${formatDay(lie.since)}`])],
  ]
  return sections.flatMap(([title, lines]) => [
    title,
    ...(lines.length > 0 ? lines : ['none']).map((line) => `  ${line}`),
  ])
}

function nameLine({ name, owner, since, until }: KnownOwner): string {
  return `${name}  ${formatOwner(owner)}  known since ${formatDay(since)}, lease until ${formatDay(until)}`
}

const CONFLICTS = {
  lie: 'for the same time, so a witness lied',
  unexplained: 'and its recovery key did not sign that',
  ended: 'after the known lease had ended',
  other_realm: 'by other witnesses, in another realm',
}

function conflictLines({ name, conflict }: KnownOwner): string[] {
  if (conflict === undefined) return []
  const { owner, since, kind, settled } = conflict
  const claim = `a lease seen on ${formatDay(since)} says ${formatOwner(owner)}, ${CONFLICTS[kind]}`
  if (settled) return [`  settled: ${claim}`]
  return [`  conflict: ${claim}`, `  ask its owner by another way; then p2pns trust accept ${name} [KEYNAME]`]
}

/** What a proof proves, in plain words. */
function lieLines({ witness, name, signed }: Omit<Lie, 'realm'>): string[] {
  return [
    `The witness ${witness} lied: it signed two leases of ${name} for the same time.`,
    ...signed.map(
      ({ owner, at, from, until }) =>
        `  at ${at} for ${formatOwner(owner)}, from ${formatDay(from)} to ${formatDay(until)}`,
    ),
  ]
}
