import assert from 'node:assert/strict'
import { test } from 'node:test'
import { nameToWire } from '../../node/core/dns.ts'
import { P2pnsError } from '../../node/core/errors.ts'
import { rrToText, typeNumber } from '../../node/core/rdata.ts'
import type { Zone } from '../../node/core/zone.ts'
import { type Answer, answerQuestion, type FoundZone } from '../../resolver/answer.ts'
import { RCODE } from '../../resolver/wire.ts'
import { NOW, type TextRecords, Z32, zoneOf } from './harness.ts'

const alice: TextRecords = [
  { type: 'A', data: '192.0.2.1' },
  { type: 'A', data: '192.0.2.2', ttl: 60 },
  { label: 'www', type: 'CNAME', data: Z32 },
  { label: 'w3', type: 'CNAME', data: `www.${Z32}` },
  { label: 'deep.er', type: 'TXT', data: 'x' },
  { label: 'loop', type: 'CNAME', data: `loop.${Z32}` },
  { label: 'bob', type: 'CNAME', data: 'bob.p2p' },
  { label: 'nobody', type: 'CNAME', data: 'nobody.p2p' },
  { label: 'off', type: 'CNAME', data: 'off.p2p' },
  { label: 'web', type: 'CNAME', data: 'www.example.org' },
  { label: 'mail', type: 'MX', data: `10 ${Z32}` },
]
const zones: Record<string, Zone> = {
  'alice.p2p': zoneOf(alice),
  'bob.p2p': zoneOf([{ type: 'A', data: '192.0.2.9' }]),
}

async function lookup(apex: string): Promise<FoundZone> {
  const zone = zones[apex]
  if (apex === 'off.p2p') throw new P2pnsError('network_unreachable', 'nobody answers')
  if (!zone) throw new P2pnsError('name_not_found', `${apex} is not registered`)
  return { zone, expiresAt: NOW + 200_500, stale: false }
}

function answer(name: string, type = 'A'): Promise<Answer> {
  return answerQuestion(name, typeNumber(type), lookup, () => NOW)
}

function text(records: Answer['answers']): string[] {
  return records.map((rr) => {
    const { type, ttl, data } = rrToText(rr, '')
    return `${rr.name} ${ttl} ${type} ${data}`
  })
}

test('the records of a name and type are the answer, with one TTL, and none outlives its zone', async () => {
  const { rcode, answers, authority, lifetime } = await answer('alice.p2p')
  assert.equal(rcode, RCODE.NOERROR)
  assert.deepEqual(text(answers), ['alice.p2p 60 A 192.0.2.1', 'alice.p2p 60 A 192.0.2.2'])
  assert.deepEqual([authority, lifetime], [[], 60])
})

test('a missing type and a missing name carry the SOA of their zone', async () => {
  const soa = 'alice.p2p 200 SOA alice.p2p. hostmaster.alice.p2p. 1700000000 3600 600 172800 300'
  for (const [name, rcode] of [
    ['alice.p2p', RCODE.NOERROR],
    ['er.alice.p2p', RCODE.NOERROR],
    ['x.alice.p2p', RCODE.NXDOMAIN],
  ] as const) {
    const found = await answer(name, 'AAAA')
    assert.deepEqual([found.rcode, found.answers, text(found.authority)], [rcode, [], [soa]], name)
  }
})

test('every apex has an SOA, and so has the suffix itself', async () => {
  assert.match(text((await answer('alice.p2p', 'SOA')).answers)[0] ?? '', /^alice\.p2p 200 SOA /)
  assert.match(text((await answer('p2p', 'SOA')).answers)[0] ?? '', /^p2p 30 SOA /)
})

test('the suffix and the parent of petnames exist without data, so that nobody takes what is below for missing', async () => {
  for (const name of ['p2p', 'p2p.alt', 'pet.p2p']) {
    const { rcode, answers, authority } = await answer(name)
    assert.deepEqual([rcode, answers.length, authority[0]?.name], [RCODE.NOERROR, 0, name])
  }
})

test('an unknown name, a bad name and anything else below .alt do not exist, each under an SOA above it', async () => {
  for (const [name, owner] of [
    ['x.nobody.p2p', 'p2p'],
    ['local.p2p', 'p2p'],
    ['no_body.p2p.alt', 'p2p.alt'],
    ['x.gnu.alt', 'alt'],
    ['alt', 'alt'],
  ]) {
    const found = await answer(name as string)
    assert.deepEqual([found.rcode, found.authority[0]?.name, found.lifetime], [RCODE.NXDOMAIN, owner, 30], name)
  }
})

test('aliases are followed inside the zone and shown under the name that was asked', async () => {
  const { rcode, answers } = await answer('w3.alice.p2p')
  assert.equal(rcode, RCODE.NOERROR)
  assert.deepEqual(text(answers), [
    'w3.alice.p2p 200 CNAME www.alice.p2p.',
    'www.alice.p2p 200 CNAME alice.p2p.',
    'alice.p2p 60 A 192.0.2.1',
    'alice.p2p 60 A 192.0.2.2',
  ])
  assert.deepEqual(text((await answer('www.alice.p2p', 'CNAME')).answers), ['www.alice.p2p 200 CNAME alice.p2p.'])
})

test('aliases are followed into other zones, and end where they leave ours', async () => {
  assert.deepEqual(text((await answer('bob.alice.p2p')).answers), [
    'bob.alice.p2p 200 CNAME bob.p2p.',
    'bob.p2p 200 A 192.0.2.9',
  ])
  assert.deepEqual(text((await answer('web.alice.p2p')).answers), ['web.alice.p2p 200 CNAME www.example.org.'])
  const nobody = await answer('nobody.alice.p2p')
  assert.deepEqual([nobody.rcode, nobody.answers.length, nobody.authority[0]?.name], [RCODE.NXDOMAIN, 1, 'p2p'])
})

test('an alias that leads in a circle, or to where nobody answers, is a failure that says so', async () => {
  const loop = await answer('loop.alice.p2p')
  assert.deepEqual([loop.rcode, loop.ede?.code, loop.answers], [RCODE.SERVFAIL, 0, []])
  assert.match(loop.ede?.text ?? '', /aliases/)
  const off = await answer('off.alice.p2p')
  assert.deepEqual([off.rcode, off.ede], [RCODE.SERVFAIL, { code: 22, text: 'nobody answers' }])
})

test('asked under .p2p.alt, everything is shown under .p2p.alt', async () => {
  assert.deepEqual(text((await answer('www.alice.p2p.alt')).answers)[0], 'www.alice.p2p.alt 200 CNAME alice.p2p.alt.')
  assert.deepEqual(text((await answer('mail.alice.p2p.alt', 'MX')).answers), [
    'mail.alice.p2p.alt 200 MX 10 alice.p2p.alt.',
  ])
  assert.equal((await answer('x.alice.p2p.alt')).authority[0]?.name, 'alice.p2p.alt')
})

test('ANY gives one set of what there is at the name', async () => {
  assert.equal((await answer('alice.p2p', 'ANY')).answers.length, 2)
  assert.deepEqual(text((await answer('www.alice.p2p', 'ANY')).answers), ['www.alice.p2p 200 CNAME alice.p2p.'])
})

test('why a lookup failed is told by its extended error', async () => {
  const cases = [
    ['no_introducer', 22],
    ['network_unreachable', 22],
    ['peer_unreachable', 22],
    ['timed_out', 23],
    ['signature_invalid', 0],
    ['lease_expired', 0],
  ] as const
  for (const [code, expected] of cases) {
    const failed = await answerQuestion(
      'a.p2p',
      1,
      () => Promise.reject(new P2pnsError(code, `it is ${code}`)),
      () => NOW,
    )
    assert.deepEqual([failed.rcode, failed.ede], [RCODE.SERVFAIL, { code: expected, text: `it is ${code}` }])
  }
  const bug = await answerQuestion(
    'a.p2p',
    1,
    () => Promise.reject(new TypeError('secret')),
    () => NOW,
  )
  assert.deepEqual(bug.ede, { code: 0, text: 'internal error' })
})

test('a stale zone is answered, marked as stale, for half a minute when it is past its time', async () => {
  const zone = zones['alice.p2p'] as Zone
  const stale = await answerQuestion(
    'alice.p2p',
    1,
    async () => ({ zone, expiresAt: NOW + 30_000, stale: true }),
    () => NOW,
  )
  assert.deepEqual([stale.rcode, stale.ede?.code, stale.lifetime], [RCODE.NOERROR, 3, 30])
  const over = await answerQuestion(
    'alice.p2p',
    1,
    async () => ({ zone, expiresAt: NOW - 1, stale: true }),
    () => NOW,
  )
  assert.deepEqual([over.lifetime, over.answers[0]?.ttl], [30, 30])
  const gone = await answerQuestion(
    'x.alice.p2p',
    1,
    async () => ({ zone, expiresAt: NOW - 1, stale: true }),
    () => NOW,
  )
  assert.deepEqual([gone.rcode, gone.ede?.code], [RCODE.NXDOMAIN, 19])
})

test('a record that stands twice in its zone is answered once', async () => {
  const zone = zoneOf([
    { type: 'A', data: '192.0.2.1' },
    { type: 'A', data: '192.0.2.1' },
  ])
  const found = await answerQuestion(
    'alice.p2p',
    1,
    async () => ({ zone, expiresAt: NOW + 90_000, stale: false }),
    () => NOW,
  )
  assert.equal(found.answers.length, 1)
})

test('an alias to a name of others is followed where they are asked, and back', async () => {
  const asked: string[] = []
  const followed = await answerQuestion(
    'web.alice.p2p',
    1,
    lookup,
    () => NOW,
    async (name) => {
      asked.push(name)
      const alias = { name, type: 5, ttl: 90, rdata: nameToWire('bob.p2p') }
      return {
        rcode: RCODE.NOERROR,
        answers: [alias],
        authority: [],
        ede: undefined,
        lifetime: Infinity,
        next: 'bob.p2p',
      }
    },
  )
  assert.deepEqual(asked, ['www.example.org'])
  assert.deepEqual(text(followed.answers), [
    'web.alice.p2p 200 CNAME www.example.org.',
    'www.example.org 90 CNAME bob.p2p.',
    'bob.p2p 200 A 192.0.2.9',
  ])
})

test('a name that gets too long under the name that was asked is a failure, not a crash', async () => {
  const long = `${'a'.repeat(63)}.${'b'.repeat(63)}.${'c'.repeat(63)}.${'d'.repeat(7)}.${Z32}`
  const zone = zoneOf([{ type: 'CNAME', data: long, label: 'x' }])
  const asked = `x.${'n'.repeat(63)}.p2p`
  const failed = await answerQuestion(
    asked,
    1,
    async () => ({ zone, expiresAt: NOW + 1_000, stale: false }),
    () => NOW,
  )
  assert.deepEqual([failed.rcode, failed.ede?.code], [RCODE.SERVFAIL, 0])
})
