import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import * as os from 'node:os'
import * as path from 'node:path'
import { test } from 'node:test'
import { Command } from 'commander'
import { defineTrust } from '../../cli/commands/trust.ts'
import { sessionOpener } from '../../cli/session.ts'
import { P2pnsError } from '../../node/core/errors.ts'
import { MAX_PROOF_BYTES } from '../../node/core/proof.ts'
import type { KnownOwner, Lie, TrustNode } from '../../node/trust.ts'
import { fakeWorld, KEY_NAME } from './fake-world.ts'

const OTHER = 'n34wsxtqn7hnqycb9sakjbdekyxg3bzk3xpwou7td499rnayewey.p2p'
const RID = '08acf2567cc50a3b248e0aff064b8b7fac9275282f78bf265ccf0c5e8f4b6c85'
const [GOOD, BAD] = ['12D3KooWGood', '12D3KooWBad']
const [MONDAY, TUESDAY, END] = ['2026-11-16T08:00:00.000Z', '2026-11-17T09:30:00.000Z', '2027-02-14T08:00:00.000Z']

const known: KnownOwner = { name: 'alice.p2p', owner: KEY_NAME, since: MONDAY, until: END }
const lie: Lie = {
  witness: BAD,
  realm: RID,
  name: 'alice.p2p',
  signed: [
    { owner: KEY_NAME, at: MONDAY, from: MONDAY, until: END },
    { owner: null, at: TUESDAY, from: TUESDAY, until: END },
  ],
}

/** Runs `p2pns ...argv` on a running node with these methods; resolves to what was printed and called. */
async function runTrust(argv: string[], node: Partial<TrustNode>, cwd = '/work') {
  const world = { ...fakeWorld({ running: true, node }), cwd }
  const program = new Command('p2pns').option('--home <dir>').option('--json').option('--quiet').exitOverride()
  defineTrust(program, sessionOpener(world, new AbortController().signal))
  await program.parseAsync(argv, { from: 'user' })
  return { out: world.out(), err: world.err() }
}

test('trust shows realms, owners, petnames and proofs, and says in plain words what is wrong', async () => {
  const conflict = { owner: OTHER, since: TUESDAY, until: END, kind: 'lie', settled: false } as const
  const list = {
    realms: [{ id: RID, quorum: 2, witnesses: [GOOD, BAD].map((id) => ({ id, liar: id === BAD })), bits: 8 }],
    names: [{ ...known, conflict }],
    petnames: [{ name: 'bob.pet.p2p', keyName: OTHER }],
    proofs: [{ ...lie, since: TUESDAY }],
  }
  const { out } = await runTrust(['trust'], { trust: async () => list })
  assert.equal(
    out,
    `Realms
  ${RID}  2 of 2 witnesses
    ${GOOD}
    ${BAD}  proven to have lied: does not count
Names
  alice.p2p  ${KEY_NAME}  known since 2026-11-16, lease until 2027-02-14
    conflict: a lease seen on 2026-11-17 says ${OTHER}, for the same time, so a witness lied
    ask its owner by another way; then p2pns trust accept alice.p2p [KEYNAME]
Petnames
  bob.pet.p2p  ${OTHER}
Proofs
  The witness ${BAD} lied: it signed two leases of alice.p2p for the same time.
    at ${MONDAY} for ${KEY_NAME}, from 2026-11-16 to 2027-02-14
    at ${TUESDAY} for nobody (given up), from 2026-11-17 to 2027-02-14
    known here since 2026-11-17
`,
  )
  const json = await runTrust(['trust', '--json'], { trust: async () => list })
  assert.deepEqual(JSON.parse(json.out), list)
})

test('a home that knows nothing yet says so', async () => {
  const list = { realms: [], names: [], petnames: [], proofs: [] }
  const { out } = await runTrust(['trust'], { trust: async () => list })
  assert.equal(out, 'Realms\n  none\nNames\n  none\nPetnames\n  none\nProofs\n  none\n')
})

test('a conflict that was decided is shown as settled', async () => {
  const conflict = { owner: null, since: TUESDAY, until: END, kind: 'ended', settled: true } as const
  const list = { realms: [], names: [{ ...known, conflict }], petnames: [], proofs: [] }
  const { out } = await runTrust(['trust'], { trust: async () => list })
  assert.match(out, /settled: a lease seen on 2026-11-17 says nobody \(given up\), after the known lease had ended/)
  assert.doesNotMatch(out, /ask its owner/)
})

test('accept, remove and petname hand over what was typed and say what is so now', async () => {
  const calls: unknown[][] = []
  const node: Partial<TrustNode> = {
    async acceptOwner(...args) {
      calls.push(['accept', ...args])
      return { ...known, owner: args[1] ?? OTHER }
    },
    async forget(name) {
      calls.push(['forget', name])
      return name.endsWith('.p2p') ? { kind: 'owner', name } : { kind: 'realm', name: RID }
    },
    async setPetname(pet, target) {
      calls.push(['petname', pet, target])
      return { name: `${pet}.pet.p2p`, keyName: KEY_NAME }
    },
  }
  for (const [argv, said, call] of [
    ['accept alice.p2p', `alice.p2p is the name of ${OTHER}`, ['accept', 'alice.p2p', undefined]],
    [`accept alice.p2p ${KEY_NAME}`, `alice.p2p is the name of ${KEY_NAME}`, ['accept', 'alice.p2p', KEY_NAME]],
    [
      'remove alice.p2p',
      'the owner of alice.p2p is forgotten; the next one seen counts as the first',
      ['forget', 'alice.p2p'],
    ],
    ['remove 08acf256', `the realm ${RID} is trusted no more`, ['forget', '08acf256']],
    ['petname bob alice.p2p', `bob.pet.p2p is ${KEY_NAME}`, ['petname', 'bob', 'alice.p2p']],
    ['petname bob --remove', "bob.pet.p2p is nobody's petname now", ['petname', 'bob', undefined]],
  ] as const) {
    const { out } = await runTrust(['trust', ...argv.split(' ')], node)
    assert.equal(out, `${said}\n`)
    assert.deepEqual(calls.pop(), call)
  }
  for (const argv of ['petname bob', 'petname bob alice.p2p --remove']) {
    await assert.rejects(runTrust(['trust', ...argv.split(' ')], node), { code: 'usage' })
  }
  assert.deepEqual(calls, [])
})

test('a proof is written to a new file and read from one; both say what it proves', async (t) => {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'p2pns-trust-'))
  t.after(() => rm(folder, { recursive: true }))
  const reported: string[] = []
  const node: Partial<TrustNode> = {
    exportProof: async () => ({ ...lie, proof: '8401ff' }),
    async reportProof(proof) {
      reported.push(proof)
      return { ...lie, counts: reported.length === 1 }
    },
  }
  const file = path.join(folder, 'lie.proof')
  const exported = await runTrust(['trust', 'export', 'alice.p2p', '-o', 'lie.proof'], node, folder)
  assert.match(exported.out, new RegExp(`^${file}\nThe witness ${BAD} lied: it signed two leases of alice\\.p2p`))
  assert.deepEqual(await readFile(file), Buffer.from('8401ff', 'hex'))
  await assert.rejects(runTrust(['trust', 'export', 'alice.p2p', '-o', 'lie.proof'], node, folder), {
    code: 'target_exists',
  })
  await assert.rejects(runTrust(['trust', 'export', 'alice.p2p', '-o', 'no/lie.proof'], node, folder), {
    code: 'disk_error',
  })

  const first = await runTrust(['trust', 'report', 'lie.proof'], node, folder)
  assert.match(first.out, /^The witness .* lied: .*\n(.*\n){2}It counts no more for this home\.\n$/)
  const second = await runTrust(['trust', 'report', file, '--json'], node, folder)
  assert.deepEqual(JSON.parse(second.out), { ...lie, counts: false })
  assert.match((await runTrust(['trust', 'report', file], node)).out, /nothing changes here\.\n$/)
  assert.deepEqual(reported, ['8401ff', '8401ff', '8401ff'])
})

test('a file that is none, or far too large, is an error before it fills the memory', async (t) => {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'p2pns-trust-'))
  t.after(() => rm(folder, { recursive: true }))
  const node: Partial<TrustNode> = {
    async reportProof(proof) {
      throw new P2pnsError('too_large', `${proof.length / 2} bytes`)
    },
  }
  for (const missing of ['nothing', '.']) {
    await assert.rejects(runTrust(['trust', 'report', missing], node, folder), { code: 'file_missing' })
  }
  await writeFile(path.join(folder, 'film'), Buffer.alloc(1_000_000))
  await assert.rejects(runTrust(['trust', 'report', 'film'], node, folder), { what: `${MAX_PROOF_BYTES + 1} bytes` })
})
