import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isError } from '../../node/core/errors.ts'
import { questionFrom } from '../../resolver/upstream.ts'
import { type Received, readResponse } from '../../resolver/upstream-answer.ts'
import { fill, readQuery } from '../../resolver/wire.ts'
import { a, optWith, respond, rr, soa } from './fake-upstream.ts'
import { type Decoded, decode, query } from './harness.ts'

const NAME = 'www.example'
const ASKED = query(NAME)
const QUESTION = questionFrom(`\x01${ASKED.toString('latin1', 12)}`)

function read(response: Buffer): Received {
  return readResponse(QUESTION, response, () => true)
}

/** What a client sees of it. */
function shown(received: Received, name = NAME): Decoded {
  const asked = readQuery(query(name, { edns: 1232 }))
  assert.ok(!('drop' in asked))
  return decode(fill(asked, received.template, 1232))
}

test('the records come through as they are; the OPT, additional records and flags of the server do not', () => {
  const odd = rr(65_280, Buffer.from([0xc0, 12, 1, 2]))
  const response = respond(ASKED, {
    answers: [odd, a('198.51.100.1')],
    authority: [soa(60, 60)],
    additional: [a('198.51.100.53'), optWith(3, 'stale there')],
    flags: 0x87b0,
  })
  const received = read(response)
  const answer = shown(received, 'WWW.example')
  assert.deepEqual(
    [answer.answers?.length, answer.authorities?.length, answer.additionals?.length, answer.flag_aa, answer.flag_ad],
    [2, 1, 1, false, false],
  )
  assert.ok(received.template.wire.includes(odd))
  assert.deepEqual(received.template.ede, { code: 3, text: 'stale there' })
})

test('an answer lives as long as its shortest record, at most a day, and not at all with a TTL above 31 bits', () => {
  const lifetime = (...ttls: number[]): number =>
    read(respond(ASKED, { answers: ttls.map((ttl) => a('198.51.100.1', ttl)) })).lifetime
  assert.deepEqual([lifetime(300, 60), lifetime(1_000_000), lifetime(0), lifetime(0x80000001)], [60, 86_400, 0, 0])
})

test('what is missing lives as its SOA says, and an alias to nothing no longer than either', () => {
  const missing = (flags: number, ttl: number, minimum: number): number =>
    read(respond(ASKED, { flags, authority: [soa(ttl, minimum)] })).lifetime
  assert.deepEqual(
    [missing(0x8183, 900, 60), missing(0x8180, 60, 900), missing(0x8183, 99_999, 99_999)],
    [60, 60, 3600],
  )
  const alias = rr(5, Buffer.from([0xc0, 16]), 20)
  assert.equal(read(respond(ASKED, { answers: [alias], flags: 0x8183, authority: [soa(300, 300)] })).lifetime, 20)
  assert.equal(read(respond(ASKED, { answers: [alias] })).lifetime, 0, 'nobody says how long')
  assert.equal(read(respond(ASKED, { answers: [a('198.51.100.1')], flags: 0x8182 })).lifetime, 0)
})

test('the mixed case of our question is not seen by who asked, also where the name is written out', () => {
  const mixed = query('wWw.ExAmple')
  const response = respond(mixed, { answers: [rr(1, Buffer.from([198, 51, 100, 1]), 60, 'placeholder')] })
  const written = Buffer.concat([mixed.subarray(12, -4), response.subarray(-14)])
  const { template } = read(respond(mixed, { answers: [written] }))
  assert.ok(template.wire.includes('example'))
  assert.ok(!template.wire.includes('ExAmple'))
})

test('what cannot be an answer is none: cut short, pointers that run in circles, a server that knows nothing', () => {
  const whole = respond(ASKED, { answers: [a('198.51.100.1'), a('198.51.100.2')] })
  for (let length = 12 + NAME.length + 6; length < whole.length; length++) {
    assert.throws(
      () => read(whole.subarray(0, length)),
      (error) => isError(error, 'malformed'),
      `${length} bytes`,
    )
  }
  const circle = a('198.51.100.1')
  circle.writeUInt16BE(0xc000 | (12 + NAME.length + 6), 0)
  assert.throws(
    () => read(respond(ASKED, { answers: [circle] })),
    (error) => isError(error, 'malformed'),
  )
  assert.throws(
    () => read(respond(ASKED, { flags: 0x8100 })),
    (error) => isError(error, 'malformed'),
  )
})

test('a set of records is not cut in the middle', () => {
  const answers = [rr(5, Buffer.from([0xc0, 16])), a('198.51.100.1'), a('198.51.100.2')]
  const { template } = read(respond(ASKED, { answers }))
  assert.deepEqual([template.ends.length, template.ends[1], template.ends[2]], [3, Infinity, template.wire.length])
})
