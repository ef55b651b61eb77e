/** Peers and introducers that reach each other over IPv6, in the lab of network namespaces (lab.ts). */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { test } from 'node:test'
import type { Fetched, Shared } from '../../node/contract.ts'
import { Lab, whyNoLab } from './lab.ts'
import { type Pair, pair, settled, twoPeople } from './pair.ts'
import { introducer, type Remote, remote } from './people.ts'

const skip = whyNoLab() ?? false
const MB = 1_000_000
/** Of introducer 2. */
const IPV6_PLACE = '/ip6/2a0a:50::2/tcp/4001'

function ipv6Introducer(lab: Lab): Promise<Remote> {
  return remote(lab, 'introducer2', 'introducer-host.ts', [path.join(lab.folder, 'introducer2'), IPV6_PLACE])
}

/** What bob fetched of ann's over each path. */
async function transfer(lab: Lab, { ann, bob }: Pair, size: number): Promise<Map<string, number>> {
  const [file, out] = [path.join(lab.folder, 'film'), path.join(lab.folder, 'out')]
  const bytes = randomBytes(size)
  fs.writeFileSync(file, bytes)
  const { cid } = await ann.ask<Shared>({ call: 'share', args: [file] })
  const fetched = await bob.ask<Fetched>({ call: 'fetch', args: [cid, { out, wait: 30 }] })
  assert.ok(fs.readFileSync(out).equals(bytes))
  return new Map(fetched.peers.map((peer) => [peer.path, peer.bytes]))
}

/** Their IPv4 NATs let nobody through to each other, and their IPv6 firewalls only what answers. */
const apart = pair({ kind: 'symmetric', ipv6: true }, { kind: 'symmetric', ipv6: true })

for (const [passes, fails] of [
  ['udp', 'tcp'],
  ['tcp', 'udp'],
] as const) {
  const title = `two peers behind IPv6 firewalls with no IPv4 path to each other are joined directly over ${passes}`
  test(title, { skip }, async () => {
    await using lab = await Lab.create(apart)
    for (const router of ['ann', 'bob'].flatMap((host) => lab.routers(host))) {
      lab.run(router, 'nft', 'insert', 'rule', 'ip6', 'firewall_lab', 'forward', 'meta', 'l4proto', fails, 'drop')
    }
    const by = await transfer(lab, await twoPeople(lab), 10 * MB)
    assert.ok((by.get(`punched-${passes}`) ?? 0) > (by.get('relayed') ?? 0), JSON.stringify([...by]))
  })
}

test('an introducer that is reached over IPv6 only brings two peers together', { skip }, async () => {
  await using lab = await Lab.create(apart)
  const people = await twoPeople(lab, [await ipv6Introducer(lab)])
  const { nat } = await settled(people.ann)
  assert.deepEqual([nat.address, nat.translated, nat.mapping], ['2a0a:50:1::2', false, 'independent'])
  const by = await transfer(lab, people, 5 * MB)
  assert.ok(by.has('punched-tcp') || by.has('punched-udp'), JSON.stringify([...by]))
})

test('one introducer that is reached over IPv6 and one over IPv4 are not taken for a symmetric NAT', {
  skip,
}, async () => {
  const home = { kind: 'port-restricted', ipv6: true } as const
  await using lab = await Lab.create(pair(home, home))
  const places = await Promise.all([ipv6Introducer(lab), introducer(lab, 1)])
  const { ann } = await twoPeople(lab, places)
  const { nat } = await settled(ann)
  assert.deepEqual([nat.address, nat.translated, nat.mapping], ['50.0.1.2', true, 'independent'])
})
