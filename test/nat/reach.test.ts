/** Who reaches whom, and how, in network namespaces with real NATs (lab.ts): whole nodes that share and fetch. */
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import type { Fetched, PeerStatus, Probed, Shared } from '../../node/contract.ts'
import { Lab, whyNoLab } from './lab.ts'
import { assertNear, pair, pathsOf, settled, twoPeople } from './pair.ts'
import { introducer, person, type Remote } from './people.ts'

const skip = whyNoLab() ?? false
const MB = 1_000_000
const NEAR = new Set(['lan', 'reversed-tcp', 'punched-udp'])

async function shareFile(lab: Lab, who: Remote, bytes: Buffer, name = 'film'): Promise<Shared> {
  const file = path.join(lab.folder, name)
  fs.writeFileSync(file, bytes)
  return who.ask<Shared>({ call: 'share', args: [file] })
}

function isSame(file: string, bytes: Buffer): boolean {
  const hash = (data: Buffer): string => createHash('sha256').update(data).digest('hex')
  return hash(fs.readFileSync(file)) === hash(bytes)
}

/** Seconds in which the one who has it is found, also where messages that say so get lost. */
const PATIENCE = 60

/** Shares `size` bytes at ann's, and has bob fetch them. */
async function transfer(
  lab: Lab,
  ann: Remote,
  bob: Remote,
  size: number,
  during?: () => Promise<void>,
): Promise<Fetched> {
  const bytes = randomBytes(size)
  const { cid } = await shareFile(lab, ann, bytes)
  const out = path.join(lab.folder, 'out')
  const fetching = bob.ask<Fetched>({ call: 'fetch', args: [cid, { out, wait: PATIENCE }] })
  await during?.()
  const fetched = await fetching
  assert.ok(isSame(out, bytes))
  return fetched
}

test('two peers behind port-restricted NATs are joined directly', { skip }, async () => {
  await using lab = await Lab.create(pair({ kind: 'port-restricted' }, { kind: 'port-restricted' }))
  const { ann, bob } = await twoPeople(lab)
  const paths = pathsOf(await transfer(lab, ann, bob, 5 * MB))
  assert.ok(
    paths.every((one) => one === 'punched-tcp' || one === 'punched-udp'),
    paths.join(),
  )
})

test('a transfer to a peer behind a symmetric NAT starts relayed and becomes direct', { skip }, async () => {
  await using lab = await Lab.create(pair({ kind: 'port-restricted' }, { kind: 'symmetric' }))
  const { ann, bob } = await twoPeople(lab)
  const fetched = await transfer(lab, ann, bob, 200 * MB)
  const by = new Map(fetched.peers.map((peer) => [peer.path, peer.bytes]))
  assert.ok((by.get('relayed') ?? 0) > 0)
  assert.ok((by.get('punched-udp') ?? 0) > (by.get('relayed') ?? 0))
})

test('two peers behind symmetric NATs are joined by a relay, and told why', { skip }, async () => {
  await using lab = await Lab.create(pair({ kind: 'symmetric' }, { kind: 'double-symmetric' }))
  const { ann, bob } = await twoPeople(lab)
  let rows: PeerStatus[] = []
  const fetched = await transfer(lab, ann, bob, 20 * MB, async () => {
    while (rows.length === 0) {
      rows = (await bob.ask<PeerStatus[]>({ call: 'peers', args: [] })).filter(({ use }) => use === 'fetching')
      await setTimeout(50)
    }
  })
  assert.deepEqual(pathsOf(fetched), ['relayed'])
  assert.match(rows[0]?.why ?? '', /symmetric/)
})

test('peers in networks without UDP are joined over TCP', { skip }, async () => {
  await using lab = await Lab.create(pair({ kind: 'udp-blocked' }, { kind: 'udp-blocked' }))
  const { ann, bob } = await twoPeople(lab)
  assert.deepEqual(pathsOf(await transfer(lab, ann, bob, 5 * MB)), ['punched-tcp'])
})

test('two peers behind one NAT are joined without leaving home', { skip }, async () => {
  const home = { kind: 'port-restricted', lan: 'home' } as const
  await using lab = await Lab.create({ hosts: { ann: home, bob: home } })
  const { ann, bob } = await twoPeople(lab)
  const probed = await bob.ask<Probed>({ call: 'probe', args: [ann.id, { size: MB }] })
  assertNear(probed)
})

test('peers on a LAN that leads nowhere find each other with no introducer', { skip }, async () => {
  const home = { kind: 'port-restricted', lan: 'home' } as const
  await using lab = await Lab.create({ hosts: { ann: home, bob: home } })
  for (const host of ['ann', 'bob']) lab.run(host, 'ip', 'route', 'del', 'default')
  const [ann, bob] = await Promise.all([person(lab, 'ann', []), person(lab, 'bob', [])])
  const paths = pathsOf(await transfer(lab, ann, bob, MB))
  assert.ok(
    paths.every((one) => NEAR.has(one)),
    paths.join(),
  )
})

test('a peer whose address changes in mid-transfer goes on within five seconds', { skip }, async () => {
  await using lab = await Lab.create(pair({ kind: 'port-restricted' }, { kind: 'port-restricted' }))
  const { ann, bob } = await twoPeople(lab)
  let pause = 0
  const progress = async (): Promise<number> => {
    const [transfer] = await bob.ask<{ done: number }[]>({ call: 'transfers', args: [] })
    return transfer?.done ?? 0
  }
  await transfer(lab, ann, bob, 150 * MB, async () => {
    while ((await progress()) < 5 * MB) await setTimeout(50)
    lab.run('ann', 'ip', 'address', 'flush', 'dev', 'eth0')
    lab.run('ann', 'ip', 'address', 'add', '192.168.1.77/24', 'dev', 'eth0')
    lab.run('ann', 'ip', 'route', 'add', 'default', 'via', '192.168.1.1')
    const started = performance.now()
    // What was on the way still comes.
    await setTimeout(500)
    const before = await progress()
    while ((await progress()) <= before + MB) await setTimeout(50)
    pause = performance.now() - started
  })
  assert.ok(pause < 5_000, `${pause} ms`)
})

test('a transfer ends right where a fifth of all packets is lost', { skip }, async () => {
  await using lab = await Lab.create(pair({ kind: 'port-restricted' }, { kind: 'port-restricted' }))
  const { ann, bob } = await twoPeople(lab)
  lab.lose(0.2)
  await transfer(lab, ann, bob, 2 * MB)
})

test('an introducer that restarts in mid-transfer is missed by nobody, and found again', { skip }, async () => {
  await using lab = await Lab.create(pair({ kind: 'port-restricted' }, { kind: 'symmetric' }))
  const place = await introducer(lab, 1)
  const [ann, bob] = await Promise.all([person(lab, 'ann', [place]), person(lab, 'bob', [place])])
  await Promise.all([ann, bob].map(settled))
  await transfer(lab, ann, bob, 30 * MB, async () => {
    await setTimeout(1_000)
    place.child.kill('SIGKILL')
    await setTimeout(1_000)
    await introducer(lab, 1)
  })
  await Promise.all([ann, bob].map(settled))
})
