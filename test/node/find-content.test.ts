import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { sha256 } from '../../node/core/keys.ts'
import { cidOfHash } from '../../node/core/manifest.ts'
import { keyNameOf } from '../../node/core/name.ts'
import { rrFromText } from '../../node/core/rdata.ts'
import { signZone, zoneDhtKey } from '../../node/core/zone.ts'
import { findContent, isCid } from '../../node/find-content.ts'
import { pairOf } from '../helpers/leases.ts'
import { addressOf, Clock, FakeNetwork, startHome } from './harness.ts'

const bob = pairOf(9)
const BOB = keyNameOf(bob.publicKey)
const CID = cidOfHash(sha256(new Uint8Array(1)))
const OTHER = cidOfHash(sha256(new Uint8Array(2)))
const PEER = addressOf(pairOf(8).publicKey)

/** Finds content as somebody who can ask for bob's zone, with these TXT records, each `label text`. */
async function world(...records: string[]) {
  const clock = new Clock()
  const network = new FakeNetwork(clock.now)
  const publish = (...texts: string[]) => {
    network.plant(zoneDhtKey(bob.publicKey), signZone(bob, BigInt(++clock.at) * 1000n, texts.map(recordOf)).bytes)
  }
  publish(...records)
  const { names } = await startHome({ clock, network })
  return {
    network,
    publish,
    find: async (target: string) => {
      const { id, entry, peers } = await findContent(names, target)
      return { id, entry, peers: peers.map(String) }
    },
  }
}

/** `label text` is a TXT record, `!label target` a CNAME. */
function recordOf(record: string) {
  const [label = '', ...data] = record.split(' ')
  return label.startsWith('!')
    ? rrFromText({ label: label.slice(1), type: 'CNAME', data: data.join(' ') })
    : rrFromText({ label, type: 'TXT', data: data.join(' ') })
}

test('a CID, with or without a path, asks nobody', async () => {
  const { find, network } = await world()
  assert.deepEqual(await find(CID), { id: CID, entry: '', peers: [] })
  assert.deepEqual(await find(`${CID}/a/b c?.txt`), { id: CID, entry: 'a/b c?.txt', peers: [] })
  assert.deepEqual(await find(`${CID}//a/`), { id: CID, entry: 'a', peers: [] })
  assert.equal(network.gets.length, 0)
  assert.ok(isCid(CID))
  for (const text of [CID.toUpperCase(), `${CID}a`, CID.slice(1), BOB, '']) assert.equal(isCid(text), false)
})

test('a name leads to the content and the peers that its zone names', async () => {
  const { find } = await world(
    `_dnslink dnslink=/p2pns/${CID}`,
    `_dnslink.www dnslink=/p2pns/${OTHER}/site`,
    `_dnsaddr dnsaddr=${PEER}`,
  )
  assert.deepEqual(await find(BOB), { id: CID, entry: '', peers: [PEER] })
  assert.deepEqual(await find(`${BOB}/photos/1.jpg`), { id: CID, entry: 'photos/1.jpg', peers: [PEER] })
  assert.deepEqual(await find(`www.${BOB}/index.html`), { id: OTHER, entry: 'site/index.html', peers: [PEER] })
  await assert.rejects(find(`mail.${BOB}`), { code: 'content_not_found' })
})

test('the network is asked for a name even when a record of it is cached, which counts when nobody answers', async () => {
  const { find, network, publish } = await world(`_dnslink dnslink=/p2pns/${CID}`)
  assert.equal((await find(BOB)).id, CID)
  publish(`_dnslink dnslink=/p2pns/${OTHER}`)
  assert.equal((await find(BOB)).id, OTHER)
  network.up = false
  assert.equal((await find(BOB)).id, OTHER)
})

test('a link brings its peers along', async () => {
  const { find } = await world(`_dnslink dnslink=/p2pns/${CID}`)
  const query = new URLSearchParams([
    ['name', BOB],
    ['peer', PEER],
    ['peer', 'garbage'],
  ])
  for (const start of ['p2pns:', 'p2pns://']) {
    assert.deepEqual(await find(`${start}${CID}/a?${query.toString()}`), { id: CID, entry: 'a', peers: [PEER] })
    assert.deepEqual(await find(`${start}${CID}`), { id: CID, entry: '', peers: [] })
    assert.deepEqual(await find(`${start}${BOB}`), { id: CID, entry: '', peers: [] })
  }
})

test('what is neither a CID nor a name is refused, and so is a CID that is not of a manifest', async () => {
  const { find } = await world()
  for (const target of ['', '/', 'p2pns:', '../x', 'alice.example/x', '/etc/passwd', `${CID}x`]) {
    await assert.rejects(find(target), { code: 'name_invalid' }, target)
  }
  await assert.rejects(find('bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy'), { code: 'cid_invalid' })
})

test('a zone that names no content, or garbage, has none; a good link beside the garbage counts', async () => {
  const garbage = [
    '_dnslink dnslink=/p2pns/',
    '_dnslink dnslink=/p2pns/../../etc/passwd',
    `_dnslink dnslink=/ipfs/${CID}`,
    `_dnslink DNSLINK=/p2pns/${CID}`,
    `_dnslink dnslink=/p2pns/${CID.toUpperCase()}`,
    `_dnslink x dnslink=/p2pns/${CID}`,
  ]
  for (const records of [[], garbage, [`!_dnslink ${BOB}`]]) {
    const { find } = await world(...records)
    await assert.rejects(find(BOB), { code: 'content_not_found' })
  }
  const { find } = await world(...garbage, `_dnslink dnslink=/p2pns/${CID}`)
  assert.equal((await find(BOB)).id, CID)
})

test('addresses that cannot be read or name no peer are left out, and a zone cannot name more than 16', async () => {
  const bad = [
    '',
    '/',
    'localhost',
    '/ip4/999.1.1.1/tcp/1',
    '/ip4/192.0.2.1/tcp/1',
    '/ip4/192.0.2.1/tcp/1/p2p/garbage',
    '/p2p/x',
  ]
  const link = `_dnslink dnslink=/p2pns/${CID}`
  const one = await world(
    link,
    ...bad.map((text) => `_dnsaddr dnsaddr=${text}`),
    `_dnsaddr dnsaddr=${PEER}`,
    `_dnsaddr ${PEER}`,
  )
  assert.deepEqual((await one.find(BOB)).peers, [PEER])
  const many = Array.from({ length: 50 }, (_, i) => `_dnsaddr dnsaddr=${PEER.replace('4001', String(5000 + i))}`)
  assert.equal((await (await world(link, ...many)).find(BOB)).peers.length, 16)
})

test('whatever a zone or a link says, the answer is content or an error of ours', async () => {
  const text = fc.string({ unit: 'grapheme', maxLength: 60 }).filter((data) => !data.startsWith('"'))
  await fc.assert(
    fc.asyncProperty(text, text, async (link, address) => {
      const { find } = await world(
        `_dnslink dnslink=/p2pns/${link}`,
        `_dnslink dnslink=/p2pns/${CID}/${link}`,
        `_dnsaddr dnsaddr=${address}`,
        `_dnsaddr dnsaddr=/ip4/192.0.2.1/tcp/1/p2p/${address}`,
      )
      assert.equal((await find(BOB)).id, CID)
      await find(`p2pns:${link}?peer=${address}`).catch((error: unknown) => {
        assert.match(String((error as { code?: string }).code), /_(?:invalid|found|introducer)$|^no_introducer$/)
      })
    }),
    { numRuns: 60 },
  )
})
