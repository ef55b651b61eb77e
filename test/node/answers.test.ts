import assert from 'node:assert/strict'
import { test } from 'node:test'
import { resolveText } from '../../node/answers.ts'
import { keyNameOf } from '../../node/core/name.ts'
import { rrFromText } from '../../node/core/rdata.ts'
import { signZone, zoneDhtKey } from '../../node/core/zone.ts'
import { pairOf, START } from '../helpers/leases.ts'
import { Clock, FakeNetwork, startHome } from './harness.ts'

const bob = pairOf(9)
const BOB = keyNameOf(bob.publicKey)

/** A reader who calls `bob` what has these records, each `label type data`. */
async function world(...records: string[]) {
  const clock = new Clock()
  const network = new FakeNetwork(clock.now)
  const rrs = records.map((record) => {
    const [label = '', type = '', ...data] = record.split(' ')
    return rrFromText({ label, type, data: data.join(' ') })
  })
  network.plant(zoneDhtKey(bob.publicKey), signZone(bob, BigInt(clock.at) * 1000n, rrs).bytes)
  const { names } = await startHome({ clock, network })
  await names.setPetname('bob', BOB)
  return { clock, resolve: (name: string, type = 'ANY') => resolveText(names, name, type, { now: clock.now }) }
}

test('a name answers with the records of the type asked for, under the name by which it was asked', async () => {
  const { resolve, clock } = await world(
    '@ A 192.0.2.7',
    '@ TXT hi',
    'www A 192.0.2.8',
    '_s._tcp SRV 0 0 80 www.bob.p2p',
  )
  const answer = await resolve('BOB.pet.p2p', 'a')
  assert.deepEqual(answer, {
    name: 'bob.pet.p2p',
    type: 'A',
    records: [{ name: 'bob.pet.p2p', type: 'A', ttl: 300, data: '192.0.2.7' }],
    ttl: 300,
    keyName: BOB,
    seq: `${START}000000`,
    known: { kind: 'petname', stale: false, source: 'dht' },
  })
  clock.at += 100_400
  const all = await resolve(`www.${BOB}`)
  assert.deepEqual([all.type, all.ttl, all.known.source], ['ANY', 200, 'cache'])
  assert.deepEqual(all.records, [{ name: `www.${BOB}`, type: 'A', ttl: 300, data: '192.0.2.8' }])
})

test('an alias is followed within the zone, whether it names the key or the name that was asked', async () => {
  const { resolve } = await world(`www CNAME web.${BOB}`, 'old CNAME www.bob.pet.p2p', 'web A 192.0.2.7')
  const { records } = await resolve('old.bob.pet.p2p', 'A')
  assert.deepEqual(
    records.map(({ name, type, data }) => `${name} ${type} ${data}`),
    ['old.bob.pet.p2p CNAME www.bob.pet.p2p.', `www.bob.pet.p2p CNAME web.${BOB}.`, 'web.bob.pet.p2p A 192.0.2.7'],
  )
  assert.equal((await resolve('old.bob.pet.p2p', 'CNAME')).records.length, 1)
})

test('an alias that leads out of the zone, or to nothing, is all there is to say', async () => {
  const { resolve } = await world('www CNAME example.com', 'old CNAME gone.bob.pet.p2p')
  for (const name of ['www.bob.pet.p2p', 'old.bob.pet.p2p']) {
    assert.deepEqual(
      (await resolve(name, 'A')).records.map(({ type }) => type),
      ['CNAME'],
    )
  }
})

test('aliases in a circle, or without end, are refused', async () => {
  const chain = Array.from({ length: 10 }, (_, i) => `w${i} CNAME w${i + 1}.bob.pet.p2p`)
  const { resolve } = await world('a CNAME b.bob.pet.p2p', 'b CNAME a.bob.pet.p2p', ...chain, 'w10 A 192.0.2.7')
  await assert.rejects(resolve('a.bob.pet.p2p', 'A'), { code: 'malformed' })
  await assert.rejects(resolve('w1.bob.pet.p2p', 'A'), { code: 'malformed' })
  assert.equal((await resolve('w2.bob.pet.p2p', 'A')).records.length, 9)
})

test('a name that the zone does not have, a type that the name does not have and a type that is none differ', async () => {
  const { resolve } = await world('@ A 192.0.2.7', 'a.b TXT hi')
  await assert.rejects(resolve('www.bob.pet.p2p', 'A'), { code: 'name_not_found' })
  await assert.rejects(resolve('bob.pet.p2p', 'AAAA'), { code: 'type_not_found' })
  await assert.rejects(resolve('b.bob.pet.p2p'), { code: 'type_not_found' })
  await assert.rejects(resolve('bob.pet.p2p', 'NOTYPE'), { code: 'record_data_invalid' })
  await assert.rejects(resolve('bob.example', 'A'), { code: 'name_invalid' })
  await assert.rejects(resolve('carol.pet.p2p', 'A'), { code: 'name_not_found' })
})
