import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readName, readRecords } from '../../node/core/dns.ts'
import { isError } from '../../node/core/errors.ts'
import { AnswerCache } from '../../resolver/cache.ts'
import { padded } from '../../resolver/padding.ts'
import { questionFrom } from '../../resolver/upstream.ts'
import { readResponse } from '../../resolver/upstream-answer.ts'
import { UpstreamCache } from '../../resolver/upstream-cache.ts'
import { readQuery } from '../../resolver/wire.ts'
import { ask, opt, u16, wireName } from './conformance/packet.ts'
import { a, respond, rr } from './fake-upstream.ts'
import { Clock, lookupIn, NOW, overTcp, overUdp, query, startResolver, zoneOf } from './harness.ts'
import { Inside } from './mutants/inside.ts'
import { judged, see } from './mutants/judge.ts'
import { mutated, randomOf } from './mutants/mutate.ts'
import { QUERIES } from './mutants/seeds.ts'

const PACKETS = 20_000
const SEED = 1

test('of 20,000 mutated queries and responses each gets what it deserves, and none is thrown at anybody', async (t) => {
  const inside = new Inside(SEED)
  const crashed = (error: unknown): void => inside.crashed(String(error))
  process.on('unhandledRejection', crashed)
  t.after(() => process.off('unhandledRejection', crashed))
  await inside.run(0, PACKETS)
  const { tally } = inside
  assert.deepEqual(tally.failures.slice(0, 3), [])
  assert.deepEqual([tally.packets, tally.valid], [PACKETS, 2])
  // Everything that may be said was said, and the mutants are neither all good nor all bad.
  for (const rcode of [0, 1, 2, 3, 4, 5, 16, 23]) assert.ok(tally.rcodes.has(rcode), `rcode ${rcode}`)
  assert.ok(tally.silent > PACKETS / 100)
  assert.ok(tally.taken > PACKETS / 20 && tally.refused > PACKETS / 20)
})

test('the same number makes the same packet', () => {
  const packet = (index: number): string => {
    const random = randomOf(SEED, index)
    return mutated(random.pick(QUERIES), random, QUERIES).toString('hex')
  }
  assert.equal(packet(12), packet(12))
  assert.equal(new Set(Array.from({ length: 100 }, (_, index) => packet(index))).size > 90, true)
})

test('the judge sees what is wrong with an answer', () => {
  const packet = ask('alice.p2p', 'A', { records: [opt({ payload: 600 })] })
  const seen = see(packet)
  const good = respond(packet, { additional: [opt()] })
  assert.equal(judged(packet, seen, 'udp', good), 0)
  const changed = (at: number, value: number): Buffer => {
    const other = Buffer.from(good)
    other[at] = value
    return other
  }
  const bad: [RegExp, Buffer][] = [
    [/no message/, good.subarray(0, 11)],
    [/id/, changed(0, 0x55)],
    [/QR/, changed(2, 0x01)],
    [/AD/, changed(3, 0xa0)],
    [/byte for byte/, changed(13, 0x41)],
    [/number of questions/, changed(5, 0)],
    [/cannot be read/, Buffer.concat([good, Buffer.alloc(1)])],
    [/cannot be read.*two OPTs/, respond(packet, { additional: [opt(), opt()] })],
    [/OPT for none/, respond(packet, {})],
    [/BADVERS/, changed(good.length - 6, 1)],
    [
      /bytes over UDP, not 600/,
      respond(packet, { answers: Array.from({ length: 40 }, () => a('192.0.2.1')), additional: [opt()] }),
    ],
  ]
  for (const [why, answer] of bad) assert.match(String(judged(packet, seen, 'udp', answer)), why)
  const response = Buffer.from(packet).fill(0x80, 2, 3)
  assert.match(String(judged(response, see(response), 'udp', good)), /deserved no answer/)
  assert.match(String(judged(packet.subarray(0, 11), see(packet.subarray(0, 11)), 'udp', good)), /deserved no answer/)
})

test('2,000 mutants over UDP, and those over TCP that are queries, leave a server that answers', async (t) => {
  const zone = zoneOf([{ type: 'A', data: '192.0.2.1' }])
  const resolver = await startResolver(t, { lookup: lookupIn({ 'alice.p2p': zone }, () => NOW) })
  const mutants = Array.from({ length: 2_000 }, (_, index) => {
    const random = randomOf(SEED, index)
    return mutated(random.pick(QUERIES), random, QUERIES)
  })
  const deservesOne = (packet: Buffer): boolean => see(packet).kind !== 'silence'
  for (let first = 0; first < mutants.length; first += 100) {
    const packets = mutants.slice(first, first + 100)
    const wanted = packets.filter(deservesOne).length + 1
    const answers = await overUdp(resolver.port, [...packets, query('alice.p2p', { id: 0xfff0 })], wanted)
    assert.ok(answers.some((answer) => answer.readUInt16BE(0) === 0xfff0 && answer.readUInt16BE(6) === 1))
  }
  const queries = mutants.filter((packet) => deservesOne(packet) && packet.length <= 4_096)
  const answers = await overTcp(resolver.port, queries)
  assert.equal(answers.length, queries.length)
})

const ASKED = query('www.example')
const QUESTION = questionFrom(`\x01${ASKED.toString('latin1', 12)}`)
const isMalformed = (error: unknown): boolean => isError(error, 'malformed')

test('an OPT among the answers of others goes to nobody: who asked without one would get it, or two', () => {
  for (const section of ['answers', 'authority'] as const) {
    const response = respond(ASKED, { [section]: [a('198.51.100.1'), opt()] })
    assert.throws(() => readResponse(QUESTION, response, () => true), isMalformed, section)
  }
})

test('data of others that does not have the form of its type goes to nobody', () => {
  const ahead = Buffer.from([0xc0, 0xff])
  const bad = [
    rr(5, ahead),
    rr(15, Buffer.concat([u16(10), ahead])),
    rr(1, Buffer.alloc(3)),
    rr(6, Buffer.alloc(20)),
    rr(16, Buffer.from([9, 0x61])),
  ]
  for (const one of bad) {
    assert.throws(() => readResponse(QUESTION, respond(ASKED, { answers: [one] }), () => true), isMalformed)
    assert.throws(() => readResponse(QUESTION, respond(ASKED, { authority: [one] }), () => true), isMalformed)
  }
})

test('a chain of pointers is not followed to its end by each of thousands of names', () => {
  // Each points to the one before, and the first to the root.
  const links = Array.from({ length: 8_000 }, (_, i) => u16(0xc000 | Math.max(12, 11 + i * 2)))
  const message = Buffer.concat([Buffer.alloc(13), ...links])
  assert.equal(readName(message, 13).name, '')
  assert.equal(readName(message, 13 + 126 * 2).name, '')
  assert.throws(() => readName(message, 13 + 127 * 2), isMalformed)
  assert.throws(() => readName(message, message.length - 2), isMalformed)
})

test('a name that runs on from where its pointer leads, through itself or what comes after it, is refused', () => {
  // The label of 10 bytes that the pointer leads to holds the pointer.
  const through = Buffer.concat([Buffer.alloc(12), Buffer.from([10, 0xc0, 12]), Buffer.alloc(12)])
  assert.throws(() => readName(through, 13), isMalformed)
  // So does one that ends where the pointer stands, and has no end of its own.
  const endless = Buffer.concat([Buffer.alloc(12), Buffer.from([1, 0x61, 0xc0, 12, 0])])
  assert.throws(() => readName(endless, 14), isMalformed)
  const prior = Buffer.concat([Buffer.alloc(12), Buffer.from([1, 0x61, 0, 1, 0x62, 0xc0, 12])])
  assert.equal(readName(prior, 15).name, 'b.a')
})

test('names of others that would change with what is left out, or with a TTL, go to nobody', () => {
  // From the work of mutants: names that run into the OPT, into a TTL of more than a day, into records that are cut off.
  const found: [packet: string, response: string][] = [
    [
      '037032700000010001',
      'c00c000f00010000003c0004000ac00ec00c001400010000003c0006026869026f6b0000290000000000000000',
    ],
    ['0377777705616c696365037032700000050001', 'c00c000f00010010003c0004000ac02cc00c001000010008003c0006026869026f6b'],
  ]
  for (const [asked, records] of found) {
    const wire = Buffer.from(asked, 'hex')
    const response = Buffer.concat([
      u16(0, 0x8180, 1, 2, 0, records.endsWith('0000') ? 1 : 0),
      wire,
      Buffer.from(records, 'hex'),
    ])
    const question = questionFrom(`\x01${wire.toString('latin1')}`)
    assert.throws(() => readResponse(question, response, () => true), isMalformed, asked)
  }
})

test('data that is too long for a record when its name is written out is refused when it is read', () => {
  const long = wireName(`${'a'.repeat(63)}.${'b'.repeat(63)}.${'c'.repeat(63)}.${'d'.repeat(61)}`)
  const alias = Buffer.concat([wireName(''), u16(5, 1, 0, 60, long.length), long])
  const svcb = Buffer.concat([
    wireName(''),
    u16(64, 1, 0, 60, 65_535),
    u16(1, 0xc000 | (12 + 11)),
    Buffer.alloc(65_531),
  ])
  const message = Buffer.concat([Buffer.alloc(12), alias, svcb])
  assert.throws(
    () => readRecords(message, 12, 2, 131_072),
    (error) => isError(error, 'too_large'),
  )
})

test('an answer that is kept has memory of its own, not a piece of what was read and written around it', () => {
  const asked = readQuery(ASKED)
  assert.ok(!('drop' in asked))
  // As small Buffers are: a piece of `Buffer.poolSize` bytes.
  const wire = Buffer.from(Uint8Array.from(ASKED))
  assert.ok(wire.buffer.byteLength > wire.length)
  const template = { wire, ttls: [], ends: [], ede: undefined }
  const clock = new Clock()
  const [ours, others] = [new AnswerCache(clock.now), new UpstreamCache(clock.now)]
  ours.set(asked, template, 60)
  others.set('key', { rcode: 0, template, lifetime: 60 })
  others.fail('failed', { rcode: 2, template, lifetime: 0 })
  const kept = [ours.get(asked), others.get('key')?.template, others.failure('failed')?.template]
  clock.ms += 61_000
  kept.push(others.get('key')?.template)
  for (const one of kept) assert.equal(one?.wire.buffer.byteLength, wire.length)
})

test('counts of records that are not there cost nothing when padding is looked for', () => {
  const packet = ask('alice.p2p', 'A', { counts: [0xffff, 0xffff, 0xffff, 0xffff] })
  const response = Buffer.alloc(12)
  const start = performance.now()
  for (let i = 0; i < 10_000; i++) assert.equal(padded(packet, response), response)
  assert.ok(performance.now() - start < 1_000)
})
